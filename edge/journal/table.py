"""The journal as a table: one row for each verdict, written as CSV, Parquet or JSON lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import DataError
from edge.journal.entries import Entry, Lost
from edge.records import Evaluation, PartVerdict

# Column and type; the types are Parquet's (pyarrow's) names.
COLUMNS = {
    "journal": "int64",
    "kind": "string",
    "time": "timestamp",
    "line": "string",
    "session": "string",
    "seq": "int64",
    "verdict_id": "string",
    "camera": "string",
    "trigger_id": "string",
    "part_id": "string",
    "evaluation": "int8",
    "evaluation_name": "string",
    "reason": "string",
    "detail": "string",
    "fail_safe": "bool",
    "durable": "bool",
    "simulated": "bool",
    "surface": "string",
    "surface_score": "float64",
    "score": "float64",
    "threshold": "float64",
    "defects": "int64",
    "boxes": "string",
    "frames": "string",
    "worst": "string",
    "total_ms": "float64",
    "engine": "string",
    "config_sha256": "string",
    "version": "string",
}
ROWS = 10_000  # in one Parquet row group

Row = dict[str, Any]


def row_of(entry: Entry) -> Row:
    """Every column. time: aware, UTC. boxes: the defects as JSON. frames: of a part, their verdict_ids as JSON. A lost
    range is one row of the kind `lost`, at its first position."""
    row: Row = dict.fromkeys(COLUMNS)
    if isinstance(entry, Lost):
        last = f"positions {entry.first} to {entry.last}: {entry.why}"
        return row | {"journal": entry.first, "kind": "lost", "line": entry.line, "detail": last}
    fields = msgspec.structs.asdict(entry)
    row |= {name: fields[name] for name in COLUMNS if name in fields and name not in ("defects", "frames")}
    row["time"] = datetime.fromtimestamp(entry.t_verdict_ns / 1e9, UTC)
    row["evaluation_name"] = Evaluation(entry.evaluation).name
    if isinstance(entry, PartVerdict):
        return row | {"kind": "part", "frames": _json(entry.frames), "total_ms": entry.span_ns / 1e6}
    return row | {
        "kind": "frame",
        "threshold": entry.thresholds.get("score"),
        "defects": len(entry.defects),
        "boxes": _json(entry.defects),
        "total_ms": entry.times_ns.get("total", 0) / 1e6,
    }


def export(entries: Iterable[Entry], path: Path) -> int:
    """Write CSV, Parquet or JSON lines, by the file's ending; the file appears whole or not at all. Returns the rows.

    JSON lines hold the verdicts as they were published, the others the columns above. Raises DataError where the ending
    is another or the file cannot be written.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise DataError(f"{path}: the ending says what to write; name it .csv, .parquet or .jsonl")
    part = path.with_name(f"{path.name}.part")
    try:
        count = write(entries, part)
        part.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _write_csv(entries: Iterable[Entry], path: Path) -> int:
    count = 0
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        for count, entry in enumerate(entries, 1):  # noqa: B007  # how many there were is the answer
            row = row_of(entry)
            writer.writerow(row | {"time": row["time"].isoformat() if row["time"] else None})
    return count


def _write_jsonl(entries: Iterable[Entry], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for count, entry in enumerate(entries, 1):  # noqa: B007  # as above
            file.write(msgspec.json.encode(entry) + b"\n")
    return count


def _write_parquet(entries: Iterable[Entry], path: Path) -> int:
    import pyarrow
    from pyarrow import parquet

    kinds = {name: getattr(pyarrow, kind)() for name, kind in _arrow_kinds()}
    schema = pyarrow.schema([(name, kinds.get(name) or pyarrow.timestamp("us", "UTC")) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(map(row_of, entries)):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def _arrow_kinds() -> Iterator[tuple[str, str]]:
    return ((name, "bool_" if kind == "bool" else kind) for name, kind in COLUMNS.items() if kind != "timestamp")


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    for first in rows:
        yield list(chain([first], islice(rows, ROWS - 1)))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


WRITERS: dict[str, Callable[[Iterable[Entry], Path], int]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
}
