"""`edge teach`: from good images to a judge and a place in the gate, on the line PC."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edge.bundle import MANIFEST, open_bundle
from edge.cli import main
from edge.config import read_line
from edge.engines.session import installed
from edge.errors import BundleError
from edge.inspection.assemble import open_pipeline
from edge.inspection.files import read_frame
from edge.inspection.nearest import NearestJudge
from edge.offline.verify import verify_bundle
from edge.records import Evaluation
from tests.lines import edit
from tests.small_gate import write_line

pytest.importorskip("onnx", reason="pip install onnx: the test makes a graph")
pytestmark = pytest.mark.usefixtures("own_cache")
needs_onnx = pytest.mark.skipif(not installed("onnx"), reason="pip install onnxruntime: the test runs real graphs")


def good(seed: int) -> NDArray[np.uint8]:
    """A light surface with a little grain, some lighter than others."""
    rng = np.random.default_rng(seed)
    light = 160 + seed % 20 * 2
    return rng.integers(light - 10, light + 10, (64, 64), np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(20):
        cv2.imwrite(str(folder / f"{seed}.png"), good(seed))
    broken = good(110)
    broken[16:40, 32:56] = 20
    cv2.imwrite(str(tmp_path / "broken.png"), broken)
    cv2.imwrite(str(tmp_path / "whole.png"), good(130))
    cv2.imwrite(str(tmp_path / "other.png"), np.full((64, 64), 120, np.uint8))
    return folder


def teach(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["teach", *map(str, words)])
    return result.exit_code, result.output


@needs_onnx
def test_a_surface_taught_from_good_images_is_admitted_and_judged(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    code, said = teach("light", images, "--config", path, "--json")
    assert code == 0, said
    assert json.loads(said)["admitted"] == 1.0
    pipeline = open_pipeline(read_line(path))
    whole, broken, other = (pipeline.inspect(read_frame(tmp_path / f"{n}.png")) for n in ("whole", "broken", "other"))
    pipeline.close()
    assert (whole.evaluation, whole.surface) == (Evaluation.OK, "light")
    assert (broken.evaluation, broken.surface) == (Evaluation.NOT_OK, "light")
    assert other.evaluation == Evaluation.NOT_DECIDABLE
    assert broken.finding is not None
    x, y, w, h = broken.finding.defects[0].bbox
    assert x <= 44 < x + w and y <= 28 < y + h


@needs_onnx
def test_the_judge_looks_through_the_gates_own_run(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    pipeline = open_pipeline(read_line(path))
    assert pipeline.gate is not None
    judge = pipeline.judges["light"]
    assert judge.model.session is pipeline.gate.model.session
    frame = read_frame(tmp_path / "broken.png")
    through_the_gate = pipeline.inspect(frame).finding
    assert judge.model.began == judge.model.ended, "the network ran once, for the gate"
    alone = judge.inspect(frame)
    assert judge.model.began < judge.model.ended, "asked again, it looks again"
    assert through_the_gate is not None and alone.score == through_the_gate.score
    pipeline.close()


@needs_onnx
def test_a_judge_that_looks_in_tiles_runs_no_more_than_its_cells_and_leaves_the_gates_answer(
    tmp_path: Path, images: Path
) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path, "--tiles", 2, 2)
    pipeline = open_pipeline(read_line(path))
    gate, judge = pipeline.gate, pipeline.judges["light"]
    assert gate is not None
    frame = read_frame(tmp_path / "broken.png")
    assert pipeline.inspect(frame).evaluation == Evaluation.NOT_OK
    tiles = np.zeros((4, 1, 64, 64), np.float32)
    assert len(judge.model.session.run(tiles)) == 1 and len(gate.model.session.run(tiles)) == 2
    assert [seen for seen, _ in gate.model.looked.answers] == [frame], "who names the defects need not look again"
    pipeline.close()


@needs_onnx
def test_what_stood_in_the_line_and_in_the_gate_stays(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    before = open_bundle(tmp_path / "line" / "gate")
    assert before.manifest.arrays is not None
    old = before.read_arrays(before.manifest.arrays)
    teach("light", images, "--config", path)
    assert path.read_text().startswith("# kept as it is\n")
    gate = open_bundle(tmp_path / "line" / "gate")
    assert gate.manifest.surfaces == ("dark", "light")
    assert gate.manifest.arrays is not None
    new = gate.read_arrays(gate.manifest.arrays)
    for name in ("centres", "whiteners", "thresholds"):
        assert np.array_equal(new[name][0], old[name][0])
    taught = open_bundle(tmp_path / "line" / "nearest-light")
    assert all(check.ok for bundle in (gate, taught) for check in verify_bundle(bundle))


@needs_onnx
def test_a_surface_taught_again_has_a_new_judge_and_the_gate_as_it_was(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    path.write_text(path.read_text() + "threshold = 3.0\n")
    text, gate = path.read_text(), open_bundle(tmp_path / "line" / "gate").sha256
    code, said = teach("light", images, "--config", path, "--pass-good", 0.5)
    assert code == 0 and "has a threshold of its own for light" in said
    assert path.read_text() == text
    assert open_bundle(tmp_path / "line" / "gate").sha256 == gate
    code, said = teach("light", images, "--config", path, "--name", "other", "--gate")
    assert code == 0 and "name other there to use the new one" in said
    assert open_bundle(tmp_path / "line" / "gate").manifest.surfaces == ("dark", "light")
    assert all(check.ok for check in verify_bundle(open_bundle(tmp_path / "line" / "nearest-light")))


@needs_onnx
def test_defects_in_folders_inside_are_never_learnt(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    (images / "bad").mkdir()
    cv2.imwrite(str(images / "bad" / "1.png"), good(1))
    code, said = teach("light", images, "--config", path)
    assert code == 16 and f"{images / 'bad'} is a folder inside the one given" in said
    assert not (tmp_path / "line" / "nearest-light").exists()


@needs_onnx
@pytest.mark.parametrize(
    ("pixels", "name", "complaint"),
    [(good(50), "1_mask.png", "is a mask by its name"), (good(50)[:8, :8], "small.png", "is 8 x 8 pixels")],
)
def test_what_is_no_good_image_is_refused_by_name(
    tmp_path: Path, images: Path, pixels: NDArray[np.uint8], name: str, complaint: str
) -> None:
    cv2.imwrite(str(images / name), pixels)
    code, said = teach("light", images, "--config", write_line(tmp_path / "line"))
    assert code == 16 and name in said and complaint in said


@needs_onnx
def test_one_picture_given_often_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "same"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.png"), good(1))
    code, said = teach("light", folder, "--config", write_line(tmp_path / "line"))
    assert code == 16 and "1 different good images" in said


@needs_onnx
def test_a_surface_that_the_gate_knows_by_another_name_is_told(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    code, said = teach("dark", images, "--config", path)
    assert code == 1 and "takes the others for light" in said


@needs_onnx
def test_a_name_with_a_dot_is_quoted_and_another_surfaces_bundle_is_left_alone(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    code, said = teach("fab.04", images, "--config", path)
    assert code == 0, said
    assert read_line(path).config.judges["fab.04"].bundle == "nearest-fab.04"
    code, said = teach("light", images, "--config", path, "--name", "nearest-fab.04")
    assert code == 10 and "is a nearest of fab.04; give another --name" in said


@needs_onnx
def test_a_line_that_takes_no_further_table_is_left_as_it_was(tmp_path: Path, images: Path) -> None:
    path = edit(write_line(tmp_path / "line"), "[judges]", "judges = {}")
    text = path.read_text()
    code, said = teach("light", images, "--config", path)
    assert code == 10 and "does not take a further [judges.light]" in said
    assert path.read_text() == text and not (tmp_path / "line" / "nearest-light").exists()


@needs_onnx
def test_the_lines_file_keeps_its_mode_and_stays_behind_its_link(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    path.chmod(0o640)
    link = tmp_path / "line" / "link.toml"
    link.symlink_to(path)
    assert teach("light", images, "--config", link)[0] == 0
    assert link.is_symlink() and "light" in path.read_text() and path.stat().st_mode & 0o777 == 0o640
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in (tmp_path / "line" / "nearest-light").iterdir())


@needs_onnx
def test_what_a_killed_try_left_behind_is_put_right(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    old = tmp_path / "line" / ".nearest-light.old"
    (tmp_path / "line" / "nearest-light").rename(old)
    assert teach("light", images, "--config", path)[0] == 0
    assert not old.exists() and open_bundle(tmp_path / "line" / "nearest-light").manifest.kind == "nearest"


@needs_onnx
def test_more_worst_cells_than_there_are_is_undefined_not_the_daemons_end(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    edit(tmp_path / "line" / "nearest-light" / MANIFEST, "worst = 10", "worst = 500")
    pipeline = open_pipeline(read_line(path))
    inspection = pipeline.inspect(read_frame(tmp_path / "whole.png"))
    pipeline.close()
    assert (inspection.evaluation, inspection.reason) == (Evaluation.UNDEFINED, "bad_score")


@needs_onnx
def test_the_gate_is_left_alone_where_that_is_wanted_and_it_knows_the_surface(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    before = open_bundle(tmp_path / "line" / "gate").sha256
    code, said = teach("light", images, "--config", path, "--no-gate")
    assert code == 10 and "does not know light" in said
    code, said = teach("dark", images, "--config", path, "--no-gate")
    assert code == 1 and "calls the others unseen" in said
    assert open_bundle(tmp_path / "line" / "gate").sha256 == before


@needs_onnx
def test_too_few_images_or_none_are_refused_before_anything_is_written(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    few = sorted(images.iterdir())[:3]
    code, said = teach("light", *few, "--config", path)
    assert code == 16 and "3 different good images" in said
    code, said = teach("../light", images, "--config", path)
    assert code == 10 and "../light" in said
    assert not (tmp_path / "line" / "nearest-light").exists()


@needs_onnx
def test_a_network_that_its_lender_lost_is_missed_by_name(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    (tmp_path / "line" / "gate" / "model.onnx").write_bytes(b"another")
    result = CliRunner().invoke(main, ["verify", str(tmp_path / "line" / "nearest-light")])
    assert result.exit_code == 11 and "make or teach nearest-light again" in result.output


@needs_onnx
def test_tiles_find_what_is_too_small_for_the_gates_own_size(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(20):
        cv2.imwrite(str(folder / f"{seed}.png"), np.tile(good(seed), (4, 2)))
    broken = np.tile(good(110), (4, 2))
    broken[152:176, 92:116] = 20
    cv2.imwrite(str(tmp_path / "broken.png"), broken)
    path = write_line(tmp_path / "line")
    code, said = teach("light", folder, "--config", path, "--tiles", 2, 4, "--worst", 1, "--even", 0)
    assert code == 0, said
    assert open_bundle(tmp_path / "line" / "nearest-light").manifest.input.tiles == (2, 4)
    pipeline = open_pipeline(read_line(path))
    inspection = pipeline.inspect(read_frame(tmp_path / "broken.png"))
    pipeline.close()
    assert inspection.evaluation == Evaluation.NOT_OK and inspection.finding is not None
    assert inspection.finding.score_map.shape == (4 * 8 * 4, 2 * 8 * 4)
    x, y, w, h = inspection.finding.defects[0].bbox
    assert x <= 104 < x + w and y <= 164 < y + h


@needs_onnx
def test_a_judge_taught_by_one_graph_is_not_run_by_another(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path)
    pipeline = open_pipeline(read_line(path))
    model = pipeline.judges["light"].model
    pipeline.close()
    rounded = msgspec.structs.replace(model.graph, file="model.int8.onnx", precision="int8", cut=None)
    other = replace(model, graph=rounded)
    with pytest.raises(BundleError, match=r"lacks the array 'model\.int8\.onnx/memory'"):
        NearestJudge(other)


@needs_onnx
def test_the_manifest_says_how_to_teach_it_again(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    teach("light", images, "--config", path, "--even", 1, "--worst", 2, "--cells", 100)
    training = open_bundle(tmp_path / "line" / "nearest-light").manifest.training
    assert training.command == "edge teach light --tiles 1 1 --worst 2 --even 1 --cells 100 --pass-good 0.98"
    assert "100 cells" in training.note


@needs_onnx
def test_more_tiles_than_the_memory_holds_are_refused(tmp_path: Path, images: Path) -> None:
    path = write_line(tmp_path / "line")
    code, said = teach("light", images, "--config", path, "--tiles", 16, 16, "--worst", 1)
    assert code == 0, said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.offline.teach_line.MOST_TILES", 100)
        code, said = teach("light", images, "--config", path, "--tiles", 16, 16)
    assert code == 16 and "too many to learn from" in said
