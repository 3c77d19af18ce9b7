"""`edge journal` as people and scripts meet it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.cli import main
from edge.journal.pictures import Pictures
from edge.journal.segments import segments
from edge.records import Evaluation, PartVerdict, Verdict
from tests.journal.journals import LINE, fill, message, open_journal, verdict

COUNT = 12


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["journal", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def part(position: int, frames: Sequence[Verdict]) -> PartVerdict:
    return PartVerdict(
        verdict_id=f"s0-part-{position}",
        seq=0,
        session="s0",
        line=LINE,
        part_id=frames[0].part_id,
        evaluation=int(Evaluation.NOT_OK),
        reason="defect",
        fail_safe=False,
        frames=tuple(frame.verdict_id for frame in frames),
        expected=3,
        worst=frames[0].verdict_id,
        score=0.75,
        t_verdict_ns=1_700_000_001_000_000_000,
        journal=position,
        durable=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames of four parts, then the first part's own verdict, and the picture of its first frame."""
    folder = tmp_path / "journal"
    journal = open_journal(folder)
    fill(journal, COUNT)
    whole = part(COUNT, [verdict(position) for position in range(3)])
    journal.append(f"part/{LINE}/-/2".encode(), msgspec.msgpack.encode(whole))
    journal.close()
    pictures = Pictures(folder, 1 << 20)
    pictures.keep("s0-0", np.full((40, 60), 700, np.uint16), "raw")
    pictures.close()
    return folder


def test_read_prints_a_row_for_each(folder: Path) -> None:
    rows = call("read", folder).stdout.splitlines()
    assert len(rows) == COUNT + 2 and rows[0].split()[:2] == ["journal", "part"]
    assert rows[1].split()[:4] == ["0", "p0", "pill", "NotOK"] and rows[-1].split()[1:3] == ["=", "p0"]


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        (["--from", 10], [10, 11, 12]),
        (["--from", 3, "--to", 5], [3, 4]),
        (["--evaluation", "not_ok"], [0, 3, 6, 9, 12]),
        (["--part", "p0"], [0, 1, 2, 12]),
        (["--trigger", "t7"], [7]),
        (["--surface", "pill", "--from", 11], [11]),
        (["--surface", "metal"], []),
    ],
)
def test_read_gives_what_was_published_and_was_asked_for(
    folder: Path, options: list[object], positions: list[int]
) -> None:
    result = call("read", folder, "--json", *options)
    rows = [json.loads(row) for row in result.stdout.splitlines()]
    assert [row["journal"] for row in rows] == positions
    for row in rows[:1]:
        if "frames" not in row:
            assert msgspec.convert(row, Verdict) == verdict(row["journal"])


def test_verify_says_yes_or_names_the_damage(folder: Path) -> None:
    result = call("verify", folder)
    assert result.exit_code == 0 and "13 records in 1 segments, 2023-11-14" in result.stdout
    (segment,) = segments(folder)
    data = bytearray(segment.path.read_bytes())
    data[2000] ^= 4
    segment.path.write_bytes(data)
    result = call("verify", folder, "--json")
    assert result.exit_code == 1
    (fault,) = json.loads(result.stdout)["faults"]
    assert fault["segment"] == segment.path.name and fault["offset"] <= 2000 and fault["record"] == 3
    assert f"record {fault['record']}, byte {fault['offset']}" in call("verify", folder).stderr
    assert len(call("read", folder, "--json").stdout.splitlines()) == COUNT


@pytest.mark.parametrize("asked", [["verify"], ["read"], ["read", "--json"], ["show", "p0"], ["export", "out.csv"]])
def test_a_folder_that_holds_no_journal_is_said(tmp_path: Path, asked: list[str]) -> None:
    command, *more = asked
    result = call(command, tmp_path, *more)
    assert result.exit_code == 18 and "no journal" in result.stderr


def test_csv_has_a_row_for_each(folder: Path, tmp_path: Path) -> None:
    assert call("export", folder, tmp_path / "out.csv").exit_code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["journal"]) for row in rows] == list(range(COUNT + 1))
    assert rows[0]["evaluation_name"] == "NOT_OK" and json.loads(rows[0]["boxes"])[0]["bbox"] == [2, 3, 8, 8]
    assert rows[-1]["kind"] == "part" and json.loads(rows[-1]["frames"]) == ["s0-0", "s0-1", "s0-2"]
    assert rows[0]["time"].startswith("2023-11-14T") and float(rows[1]["score"]) == 0.25


def test_json_lines_hold_what_was_published(folder: Path, tmp_path: Path) -> None:
    assert call("export", folder, tmp_path / "out.jsonl", "--to", 3).exit_code == 0
    rows = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(row, type=Verdict) for row in rows] == [verdict(position) for position in range(3)]


def test_parquet_has_types(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not here (extra `parquet`)")
    assert call("export", folder, tmp_path / "out.parquet").exit_code == 0
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["journal"] for row in rows] == list(range(COUNT + 1))
    assert rows[0]["score"] == 0.75 and rows[0]["time"].year == 2023 and rows[0]["fail_safe"] is False


def test_an_export_to_nowhere_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    assert call("export", folder, tmp_path / "out.xls").exit_code == 16
    assert call("export", folder, tmp_path / "none" / "out.csv").exit_code == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]


def test_show_tells_a_parts_story_with_its_pictures(folder: Path, tmp_path: Path) -> None:
    result = call("show", folder, "p0", "--pictures", tmp_path / "looked-at")
    assert result.exit_code == 0
    for said in ("defect crack 0.75 at [2, 3, 8, 8]", "decided by s0-0", "3 of 3 frames", "pictures/s0-0.png", "NotOK"):
        assert said in result.stdout
    assert result.stdout.count("no picture is kept") == 2
    drawn = cv2.imread(str(tmp_path / "looked-at" / "s0-0.png"))
    assert drawn is not None and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 3
    assert "s0-7" in call("show", folder, "t7").stdout
    assert call("show", folder, "p99").exit_code == 1


def test_a_record_of_a_later_edge_is_said_and_passed_over(folder: Path) -> None:
    journal = open_journal(folder)
    journal.append(b"weather/l1", b"\x80")
    journal.append(*message(verdict(14)))
    journal.close()
    result = call("read", folder, "--json", "--from", 12)
    assert [json.loads(row)["journal"] for row in result.stdout.splitlines()] == [12, 14]
    assert "record 13" in result.stderr
