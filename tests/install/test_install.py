"""`edge install` into the root of an image: what is put in place, what is refused, what goes again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge.bus.keys import make_pair
from edge.config import Line, read_line
from edge.inspection.assemble import line_bundles
from edge.install.checks import notes
from edge.install.plan import Ask
from tests.lines import DARK, called, edit

UNITS = "etc/systemd/system"


@pytest.fixture
def config(small_line: Line, tmp_path: Path) -> Path:
    """A line's file as it is to lie on the box; its bundles are still elsewhere."""
    return write(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def write(folder: Path, *tables: str, name: str = "small") -> Path:
    path = folder / f"{name}.toml"
    sockets = f'frames = "ipc:///run/edge/{name}/frames"\nverdicts = "ipc:///run/edge/{name}/verdicts"\n'
    head = f'line = "{name}"\n{sockets}bundles = "/opt/edge/models"\ngate = "gate"\nengine = "onnx"\nthreads = 1\n'
    path.write_text(head + "".join(tables) + DARK)
    return path


def install(config: Path, root: Path, *more: object) -> tuple[int, dict[str, Any]]:
    code, out, err = called("install", "--config", config, "--root", root, "--json", *more)
    assert out, err
    return code, json.loads(out)


def states(told: dict[str, Any]) -> set[str]:
    return {file["state"] for file in told["files"]}


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_line_is_put_in_place_once_and_a_second_time_nothing_changes(
    config: Path, root: Path, small_line: Line, repository: Path
) -> None:
    code, told = install(config, root, "--bundles", small_line.bundles, "--gpu", "--selfbench")
    assert code == 0 and states(told) == {"written"} and "enable edge@small" in told["next"][0]
    found = files(root)
    assert found["etc/edge/small.toml"] == config.read_bytes()
    for name in ("edge@.service", "edge-selfbench@.service", "edge-selfbench@.timer"):
        assert found[f"{UNITS}/{name}"] == (repository / "systemd" / name).read_bytes()
    assert {f"{UNITS}/{unit}@small.service.d/gpu.conf" for unit in ("edge", "edge-selfbench")} <= found.keys()
    assert found["etc/sysusers.d/edge.conf"]
    code, told = install(config, root, "--bundles", small_line.bundles, "--gpu", "--selfbench")
    assert code == 0 and states(told) == {"same"} and files(root) == found


def test_the_copied_bundles_are_those_of_the_line_to_the_bit(config: Path, root: Path, small_line: Line) -> None:
    install(config, root, "--bundles", small_line.bundles)
    copied = edit(config, "/opt/edge/models", str(root / "opt/edge/models"))
    assert {name: bundle.sha256 for name, bundle in line_bundles(read_line(copied)).items()} == {
        name: bundle.sha256 for name, bundle in line_bundles(small_line).items() if name in ("gate", "smoother")
    }
    assert not (root / "opt/edge/models/brittle").exists()


def test_a_dry_run_writes_nothing(config: Path, root: Path, small_line: Line) -> None:
    code, told = install(config, root, "--bundles", small_line.bundles, "--dry-run")
    assert code == 0 and states(told) == {"would write"} and not files(root)


def test_a_file_that_differs_is_shown_and_keeps_all_others_from_being_written(
    config: Path, root: Path, small_line: Line
) -> None:
    install(config, root, "--bundles", small_line.bundles)
    unit = root / UNITS / "edge@.service"
    edit(unit, "WatchdogSec=10", "WatchdogSec=60")
    before = files(root)
    code, told = install(config, root, "--gpu")
    (row,) = (file for file in told["files"] if file["state"] == "differs")
    assert code == 1 and row["path"] == str(unit) and row["found"] == "-WatchdogSec=60\n+WatchdogSec=10"
    assert files(root) == before
    code, told = install(config, root, "--gpu", "--force")
    assert code == 0 and "WatchdogSec=10" in unit.read_text() and states(told) == {"same", "replaced", "written"}


def test_a_bundle_that_was_altered_is_not_installed(config: Path, root: Path, small_line: Line, tmp_path: Path) -> None:
    bundles = Path(shutil.copytree(small_line.bundles, tmp_path / "altered"))
    with (bundles / "smoother" / "model.onnx").open("ab") as graph:
        graph.write(b"\0")
    code, _, err = called("install", "--config", config, "--root", root, "--bundles", bundles)
    assert code == 11 and "smoother/model.onnx was altered" in err and not files(root)


def test_bundles_that_are_not_on_the_box_are_missed(config: Path, root: Path) -> None:
    code, _, err = called("install", "--config", config, "--root", root)
    assert code == 11 and "the bundle gate" in err and str(root / "opt/edge/models") in err and not files(root)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("/run/edge/small/frames", "/tmp/frames", "its sockets to /run/edge/small alone"),
        ("/opt/edge/models", "/home/me/models", "does not see /home/me/models"),
        ("/opt/edge/models", "../../tmp/models", "does not see /tmp/models"),
        ("[judges]", '[journal]\nfolder = "/srv/journal"\n[judges]', "write to /var/lib/edge/small alone"),
        ("[judges]", '[security]\nkey = "small.key"\n[judges]', "edge keys new small"),
    ],
)
def test_what_the_service_could_not_do_is_told_before_anything_is_written(
    old: str, new: str, told: str, config: Path, root: Path, small_line: Line
) -> None:
    code, found = install(edit(config, old, new), root, "--bundles", small_line.bundles)
    assert code == 1 and told in found["problems"][0] and not files(root)


def cores_of_the_box(root: Path, online: str) -> None:
    folder = root / "sys/devices/system/cpu"
    folder.mkdir(parents=True)
    (folder / "online").write_text(f"{online}\n")


def test_a_line_gets_cores_of_its_own_and_gives_them_back(config: Path, root: Path, small_line: Line) -> None:
    cores_of_the_box(root, "0-3")
    code, told = install(config, root, "--bundles", small_line.bundles, "--cores", "2-3", "--selfbench")
    assert code == 0 and told["notes"] == []
    for unit in ("edge", "edge-selfbench"):
        drop_in = root / UNITS / f"{unit}@small.service.d/cores.conf"
        assert drop_in.read_text().splitlines()[1:] == ["[Service]", "AllowedCPUs=2-3"]
    code, _ = install(config, root, "--remove")
    assert code == 0 and not drop_in.exists()


@pytest.mark.parametrize(
    ("cores", "told"),
    [("two", "write a list like 0-1"), ("2-5", "the box has 0-3"), ("1", "threads = 2 on --cores 1")],
)
def test_cores_that_cannot_be_given_are_told_before_anything_is_written(
    cores: str, told: str, config: Path, root: Path, small_line: Line
) -> None:
    cores_of_the_box(root, "0-3")
    edit(config, "threads = 1", "threads = 2")
    before = files(root)
    code, found = install(config, root, "--bundles", small_line.bundles, "--cores", cores)
    assert code == 1 and told in found["problems"][0] and files(root) == before


def test_lines_that_want_more_threads_than_there_are_cores_are_told_so(
    root: Path, small_line: Line, tmp_path: Path
) -> None:
    cores_of_the_box(root, "0-1")
    for name in ("first", "second"):
        code, told = install(write(tmp_path, name=name), root, "--bundles", small_line.bundles)
        assert code == 0 and told["notes"] == [], "one thread each"
    code, told = install(write(tmp_path, name="third"), root, "--bundles", small_line.bundles)
    assert code == 0 and "first, second and third want 3 threads of 2 cores" in told["notes"][0]
    install(write(tmp_path, name="first"), root, "--bundles", small_line.bundles, "--cores", "0")
    _, told = install(write(tmp_path, name="third"), root, "--bundles", small_line.bundles, "--cores", "1", "--force")
    assert "second and third want 2 threads" not in str(told["notes"]), "each has one"


def test_a_line_that_is_awake_has_no_self_check(root: Path, small_line: Line, tmp_path: Path) -> None:
    awake = edit(write(tmp_path, name="first"), "threads = 1\n", "threads = 1\nawake = true\n")
    code, told = install(awake, root, "--bundles", small_line.bundles, "--selfbench")
    assert code == 1 and "awake = true leaves the self check no time" in told["problems"][0]


def test_a_line_that_is_awake_beside_another_on_its_cores_is_told_so(
    root: Path, small_line: Line, tmp_path: Path
) -> None:
    cores_of_the_box(root, "0-1")
    assert install(write(tmp_path, name="first"), root, "--bundles", small_line.bundles)[1]["notes"] == []
    awake = edit(write(tmp_path, name="second"), "threads = 1\n", "threads = 1\nawake = true\n")
    assert (
        "one that is awake wants all of its own" in install(awake, root, "--bundles", small_line.bundles)[1]["notes"][0]
    )
    install(write(tmp_path, name="first"), root, "--bundles", small_line.bundles, "--cores", "0", "--force")
    assert install(awake, root, "--bundles", small_line.bundles, "--cores", "1", "--force")[1]["notes"] == []


def test_the_key_becomes_a_credential_that_only_its_owner_reads(small_line: Line, root: Path, tmp_path: Path) -> None:
    secret, _ = make_pair("daemon", tmp_path)
    config = write(tmp_path, '[security]\nkey = "small.key"\n')
    code, told = install(config, root, "--bundles", small_line.bundles, "--key", secret)
    assert code == 0 and "edge keys allow" in told["notes"][0]
    stored = root / "etc/credstore/small.key"
    assert stored.read_bytes() == secret.read_bytes()
    assert (stored.stat().st_mode & 0o777, stored.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "LoadCredential=%i.key" in (root / UNITS / "edge@.service").read_text().splitlines()
    make_pair("other", tmp_path)
    code, told = install(config, root, "--key", tmp_path / "other.key")
    (row,) = (file for file in told["files"] if file["state"] == "differs")
    assert code == 1 and row["found"] == "another key" and stored.read_bytes() == secret.read_bytes()


def test_a_key_that_is_none_and_one_that_nobody_would_read_are_refused(
    config: Path, root: Path, small_line: Line, tmp_path: Path
) -> None:
    secret, public = make_pair("daemon", tmp_path)
    code, told = install(config, root, "--key", secret)
    assert code == 1 and "no [security]" in told["problems"][0]
    secured = write(tmp_path, '[security]\nkey = "small.key"\n')
    code, _, err = called("install", "--config", secured, "--root", root, "--key", public)
    assert code == 16 and str(public) in err and not files(root)
    code, told = install(edit(secured, "small.key", "other.key"), root, "--key", secret)
    assert code == 1 and "write that" in told["problems"][0] and not files(root)


def test_a_systemd_that_knows_no_credential_store_is_told_the_path(config: Path) -> None:
    ask = Ask(read_line(config), "small", key=config)
    assert not notes(ask, 252) and not notes(ask, None)
    assert "LoadCredential=small.key:/etc/credstore/small.key" in notes(ask, 249)[0]


def test_another_user_has_a_cache_of_its_own(config: Path, root: Path, small_line: Line) -> None:
    install(config, root, "--bundles", small_line.bundles, "--user", "vision")
    lines = (root / UNITS / "edge@small.service.d/user.conf").read_text().splitlines()
    assert {"User=vision", "Group=vision", "CacheDirectory=edge-vision"} <= set(lines)
    assert not (root / "etc/sysusers.d").exists()


def test_the_files_that_the_line_names_beside_itself_come_along(small_line: Line, root: Path, tmp_path: Path) -> None:
    config = write(tmp_path, '[drift]\nreference = "good.toml"\n')
    code, _, err = called("install", "--config", config, "--root", root, "--bundles", small_line.bundles)
    assert code == 10 and "good.toml" in err and not files(root)
    (tmp_path / "good.toml").write_text("v = 1\n")
    code, _ = install(config, root, "--bundles", small_line.bundles)
    assert code == 0 and files(root)["etc/edge/good.toml"] == b"v = 1\n"


def test_removing_leaves_what_was_changed_what_others_need_and_what_the_line_wrote(
    config: Path, root: Path, small_line: Line, tmp_path: Path
) -> None:
    other = write(tmp_path, name="other")
    for line in (config, other):
        assert install(line, root, "--bundles", small_line.bundles, "--openvino-gpu", "--selfbench")[0] == 0
    code, told = install(config, root, "--remove", "--dry-run")
    assert code == 0 and "would delete" in states(told) and (root / "etc/edge/small.toml").exists()
    assert install(config, root, "--remove")[0] == 0
    found = files(root)
    assert "etc/edge/other.toml" in found and f"{UNITS}/edge@.service" in found
    assert not any("small" in name for name in found) and not (root / UNITS / "edge@small.service.d").exists()
    edit(root / "etc/edge/other.toml", "threads = 1", "treads = 2")
    assert install(config, root)[0] == 0 and install(config, root, "--remove")[0] == 0
    assert f"{UNITS}/edge@.service" in files(root), "a line with a mistake in its file is a line"
    code, told = install(other, root, "--remove")
    assert [file["path"] for file in told["files"] if "changed" in file["found"]] == [str(root / "etc/edge/other.toml")]
    left = files(root)
    assert not any(name.startswith((UNITS, "etc/sysusers.d")) for name in left)
    assert "etc/edge/other.toml" in left and "opt/edge/models/gate/manifest.toml" in left


def test_an_enabled_line_is_not_removed(config: Path, root: Path, small_line: Line) -> None:
    install(config, root, "--bundles", small_line.bundles)
    if shutil.which("systemctl") is None:
        pytest.skip("systemctl is not here")
    subprocess.run(["systemctl", f"--root={root}", "enable", "edge@small"], check=True, capture_output=True)
    code, told = install(config, root, "--remove")
    assert code == 1 and "disable --now edge@small" in told["problems"][0]
    subprocess.run(["systemctl", f"--root={root}", "disable", "edge@small"], check=True, capture_output=True)
    assert install(config, root, "--remove")[0] == 0


@pytest.mark.parametrize("more", [["--name", "../passwd"], ["--user", "a b"], ["--name", "%i"]])
def test_a_name_that_is_no_units_is_refused_in_both_directions(more: list[str], config: Path, root: Path) -> None:
    for way in ([], ["--remove"]):
        code, told = install(config, root, *more, *way)
        assert code == 1 and any(repr(more[1]) in problem for problem in told["problems"]) and not files(root)


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs this box")
def test_a_box_that_systemd_does_not_run_is_left_alone(config: Path) -> None:
    code, out, _ = called("install", "--config", config, "--dry-run")
    assert code == 1 and "systemd does not run this box" in out and not Path("/etc/edge/small.toml").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_without_the_right_to_write_the_folder_is_named(config: Path, root: Path, small_line: Line) -> None:
    root.chmod(0o500)
    code, _, err = called("install", "--config", config, "--root", root, "--bundles", small_line.bundles)
    assert code == 16 and str(root) in err and "run it as root" in err
