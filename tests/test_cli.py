"""The commands as people and scripts meet them: help, output, exit codes, and never a traceback."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

from edge.bench.cli import main as bench
from edge.cli import main as edge
from edge.config import Line
from edge.records import Evaluation
from tests.bus.test_frames import png_bomb
from tests.lines import called, daemon_on, edit, ended, start, write_line

SIDE = 64
REASONS = ("ok", "defect", "unseen_surface")
pytestmark = pytest.mark.usefixtures("own_cache")


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for below, inner in command.commands.items():
            yield from commands(inner, f"{name} {below}")


EVERY = dict([*commands(edge, "edge"), *commands(bench, "edge-bench")])


@pytest.mark.parametrize("name", EVERY)
def test_every_command_and_every_option_explains_itself(name: str) -> None:
    command = EVERY[name]
    assert command.help and "." in command.help, f"{name} has no sentence of help"
    assert command.help.strip()[0].isupper()
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help and option.help[0] != "[", f"{name} {option.opts[0]} has no help"
            assert option.help.rstrip().endswith((".", "]")), f"{name} {option.opts[0]}: a sentence ends in a full stop"


def test_every_command_of_the_design_is_there() -> None:
    assert set(edge.commands) >= {"run", "camera", "watch", "inspect", "evaluate", "verify"}


def write(path: Path, level: int, spot: int | None = None) -> Path:
    pixels = np.full((SIDE, SIDE), level, np.uint8)
    if spot is not None:
        pixels[20:28, 30:38] = spot
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good: passes. spotted: rejected. strange: of no surface that the gate knows."""
    folder = tmp_path_factory.mktemp("parts")
    write(folder / "good.png", 51)
    write(folder / "spotted.png", 51, 255)
    write(folder / "strange.png", 128)
    return folder


def test_inspect_prints_a_row_for_each_part_and_writes_pictures(small_line: Line, parts: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "new" / "pictures"
    code, out, _ = called("inspect", "--config", small_line.path, parts, "--pictures", pictures)
    assert code == 1
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["good"][1:3] == ["dark", "OK"] and rows["spotted"][1:3] == ["dark", "NotOK"]
    assert rows["strange"][1:3] == ["-", "NotDecidable"]
    assert "3 parts" in out and "NotOK 1" in out
    written = sorted(pictures.iterdir())
    assert [path.name for path in written] == ["0000-good.png", "0001-spotted.png", "0002-strange.png"]
    for path in written:
        picture = cv2.imread(str(path))
        assert picture is not None and min(picture.shape[:2]) >= SIDE


def test_inspect_ends_with_0_where_all_is_ok_and_prints_verdicts_as_json(
    small_line: Line, parts: Path, tmp_path: Path
) -> None:
    again = shutil.copy(parts / "good.png", tmp_path)
    code, out, _ = called("inspect", "--config", small_line.path, parts / "good.png", again, "--json")
    assert code == 0
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert [(v["evaluation"], v["seq"], v["surface"]) for v in verdicts] == [(1, 0, "dark"), (1, 1, "dark")]
    assert [v["part_id"] for v in verdicts] == [f"{parts.name}/good", f"{tmp_path.name}/good"]
    assert verdicts[0]["config_sha256"] == small_line.sha256 and set(verdicts[0]["bundles"]) == {"gate", "smoother"}


def test_files_that_are_no_image_are_undefined_and_the_others_are_judged(
    small_line: Line, parts: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "bomb.png").write_bytes(png_bomb(50_000))
    cv2.imwrite(str(tmp_path / "float.tiff"), np.ones((SIDE, SIDE), np.float32))
    bad = sorted(tmp_path.iterdir())
    code, out, _ = called("inspect", "--config", small_line.path, *bad, parts / "good.png", "--json")
    assert code == 1
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert [v["evaluation"] for v in verdicts] == [Evaluation.UNDEFINED] * 4 + [Evaluation.OK]
    for path, verdict in zip(bad, verdicts, strict=False):
        assert verdict["reason"] == "bad_frame" and verdict["fail_safe"] and str(path) in verdict["detail"]


def test_inspect_ends_with_the_code_of_what_is_wrong(small_line: Line, parts: Path, tmp_path: Path) -> None:
    def inspect(config: Path, *more: object) -> tuple[int, str]:
        code, _, err = called("inspect", "--config", config, parts / "good.png", *more)
        return code, err

    code, err = inspect(tmp_path / "nowhere.toml")
    assert code == 10 and "nowhere.toml" in err
    code, err = inspect(edit(write_line(tmp_path, small_line.bundles), "threads", "treads"))
    assert code == 10 and "treads" in err and "line.toml" in err
    code, err = inspect(edit(write_line(tmp_path, small_line.bundles), '"smoother"', '"nowhere"'))
    assert code == 11 and "nowhere" in err
    code, err = inspect(small_line.path, "--pictures", parts / "good.png")
    assert code == 16 and "good.png" in err
    (tmp_path / "empty").mkdir()
    code, _, err = called("inspect", "--config", small_line.path, tmp_path / "empty")
    assert code == 16 and "no image" in err
    code, _, err = called("inspect", "--config", small_line.path, tmp_path / "nothing.png")
    assert code == 2 and "nothing.png" in err


def test_an_altered_or_missing_file_of_a_bundle_is_named(small_line: Line, parts: Path, tmp_path: Path) -> None:
    bundles = Path(shutil.copytree(small_line.bundles, tmp_path / "line"))
    with (bundles / "smoother" / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    code, _, err = called("inspect", "--config", bundles / "line.toml", parts / "good.png")
    assert code == 11 and "smoother/model.onnx was altered" in err
    code, _, err = called("verify", bundles / "smoother")
    assert code == 11 and "smoother/model.onnx was altered" in err
    (bundles / "smoother" / "model.onnx").unlink()
    code, _, err = called("verify", bundles / "smoother")
    assert code == 11 and "smoother/model.onnx" in err


def test_verify_tells_every_graph_on_every_engine(small_line: Line) -> None:
    code, out, _ = called("verify", small_line.bundles / "smoother", "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows and all(row["ok"] and row["bundle"] == "smoother" and row["graph"] == "model.onnx" for row in rows)
    code, out, _ = called("verify", small_line.bundles / "smoother", small_line.bundles / "gate")
    assert code == 0 and "gate" in out and "as expected" in out


def test_a_daemon_two_cameras_and_two_subscribers(small_line: Line, parts: Path, tmp_path: Path) -> None:
    """Every process real and started in any order: what was sent, answered and seen is the same number."""
    config = write_line(tmp_path, small_line.bundles)
    camera = ["camera", "--to", f"ipc://{tmp_path}/frames", "--line", "small", "--patience", 60, "--camera"]
    watch = ["watch", "--from", f"ipc://{tmp_path}/verdicts", "--line", "small"]
    machine, person = start(*watch, "--json"), start(*watch, "--count", 9)
    looping = start(*camera, "first", parts / "good.png", "--loop", "--rate", 10)
    with daemon_on(config) as daemon:
        seen = [json.loads(next_line(machine))]
        heard = [next_line(person), next_line(person)]
        looping.send_signal(signal.SIGINT)
        code, _, err = ended(looping)
        assert code == 0
        sent = int(err.split()[0])
        code, _, err = called(*camera, "second", *[parts] * 9, "--rate", 0, "--shuffle", 1, "--encoding", "png")
        assert code == 0 and err == "27 frames sent\n"
        while sum(verdict["camera"] == "second" for verdict in seen) < 27:
            seen.append(json.loads(next_line(machine)))
        machine.send_signal(signal.SIGINT)
        assert ended(machine)[0] == 0
        code, out, _ = ended(person)
        assert code == 0 and heard[0].startswith("part") and "OK" in heard[1] and "verdicts" in out
    assert f"{sent + 27} verdicts, 0 frames missing" in ended(daemon)[2]
    assert [verdict["seq"] for verdict in seen] == list(range(seen[0]["seq"], sent + 27))
    assert Counter(v["reason"] for v in seen if v["camera"] == "second") == dict.fromkeys(REASONS, 9)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_camera_without_a_daemon_gives_up_when_its_patience_ends(parts: Path, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody"
    code, _, err = called("camera", parts, "--to", address, "--line", "small", "--patience", 0.3)
    assert code == 13 and address in err and "within 0.3 s" in err


def test_a_camera_of_another_line_is_told_whose_daemon_is_there(
    small_line: Line, own_cache: Path, tmp_path: Path, parts: Path
) -> None:
    config = write_line(tmp_path, small_line.bundles)
    with daemon_on(config):
        send = ["camera", parts, "--to", f"ipc://{tmp_path}/frames", "--patience", 2, "--line"]
        code, _, err = called(*send, "smal")
        assert code == 13 and "line 'smal'" in err and "frame/small/" in err and "sent" not in err
        assert called(*send, "small")[0] == 0


def test_watch_ends_when_nothing_comes_and_says_so(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody"
    code, out, err = called("watch", "--from", address, "--timeout", 0.2, "--json")
    assert code == 0 and out == "" and f"nothing came from {address}" in err


def test_a_reload_of_a_line_that_does_not_run_says_so_soon(small_line: Line, tmp_path: Path) -> None:
    config = write_line(tmp_path, small_line.bundles)
    edit(config, "threads = ", f'control = "ipc://{tmp_path}/control"\nthreads = ')
    began = time.monotonic()
    code, _, err = called("reload", "--config", config)
    assert code == 13 and "does the daemon run" in err and time.monotonic() - began < 20


def test_an_address_that_is_none_is_named(tmp_path: Path, parts: Path) -> None:
    code, _, err = called("watch", "--from", "nonsense", "--timeout", 1)
    assert code == 13 and "nonsense" in err
    code, _, err = called("camera", parts, "--to", "nonsense", "--line", "small")
    assert code == 13 and "nonsense" in err
