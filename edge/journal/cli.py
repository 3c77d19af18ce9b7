"""The commands that read a line's journal; a daemon may be writing it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import HELP, JSON, Group, need, to_json

if TYPE_CHECKING:
    from edge.journal.entries import Entry

FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
FROM = click.option("--from", "start", type=click.IntRange(min=0), default=0, help="The first position. [default: 0]")
TO = click.option("--to", "stop", type=click.IntRange(min=0), help="The position after the last. [default: the end]")


@click.group(cls=Group, context_settings=HELP)
def journal() -> None:
    """Read, verify and export what a line published, and tell one part's story.

    FOLDER is the one that the line's [journal] names. A daemon may be writing it.
    """


@journal.command()
@FOLDER
@FROM
@TO
@click.option(
    "--evaluation",
    type=click.Choice(["ok", "not_ok", "not_decidable", "undefined"]),
    help="Only verdicts that came out so.",
)
@click.option("--surface", help="Only this surface's.")
@click.option("--part", help="Only those of this part_id.")
@click.option("--trigger", help="Only the frame of this trigger_id.")
@JSON
def read(
    folder: Path,
    start: int,
    stop: int | None,
    evaluation: str | None,
    surface: str | None,
    part: str | None,
    trigger: str | None,
    as_json: bool,
) -> None:
    """Print the verdicts, one a row; with --json one JSON object a line, as it was published."""
    from edge.journal.entries import Lost
    from edge.records import Evaluation
    from edge.terminal import HEADINGS, row_of, screen

    number = Evaluation[evaluation.upper()] if evaluation else None
    wanted = {"surface": surface, "part_id": part, "trigger_id": trigger, "evaluation": number}
    asked = {name: value for name, value in wanted.items() if value is not None}
    console = screen()
    if not as_json:
        console.print(f"{'journal':>9}  {HEADINGS}", style="bold", soft_wrap=True)
    for entry in _entries(folder, start, stop):
        if any(getattr(entry, name, None) != value for name, value in asked.items()):
            continue
        if as_json:
            click.echo(to_json(entry))
        elif isinstance(entry, Lost):
            console.print(f"{entry.first:>9}  lost up to {entry.last}: {entry.why}", style="yellow", soft_wrap=True)
        else:
            console.print(f"{entry.journal:>9} ", row_of(entry), soft_wrap=True)


@journal.command()
@FOLDER
@JSON
def verify(folder: Path, as_json: bool) -> None:
    """Check every byte: lengths, checksums, the hash chain. Exit code 1 where anything is damaged or missing."""
    from edge.journal.verify import verify_journal

    checked = verify_journal(folder)
    if as_json:
        click.echo(to_json(checked))
    else:
        range_ = f"{_time(checked.from_ns)} to {_time(checked.to_ns)}" if checked.to_ns else "no time"
        click.echo(f"{checked.records} records in {checked.segments} segments, {range_}")
        click.echo(f"positions {checked.first} to before {checked.next}; {checked.lost} were lost on a failing disk")
        for name in checked.torn:
            click.echo(f"{name}: a torn tail, cut off when the daemon started again")
        for fault in checked.faults:
            record = "-" if fault.record is None else fault.record
            click.echo(f"{fault.segment}, record {record}, byte {fault.offset}: {fault.what}", err=True)
    if checked.faults:
        raise SystemExit(1)


@journal.command()
@FOLDER
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.csv|OUT.parquet|OUT.jsonl")
@FROM
@TO
def export(folder: Path, out: Path, start: int, stop: int | None) -> None:
    """Write the verdicts as a table (CSV, Parquet) or as they were published (JSON lines)."""
    from edge.journal.table import export as write

    if out.suffix.lower() == ".parquet":
        need("parquet", "exporting Parquet", "pyarrow")
    click.echo(f"{write(_entries(folder, start, stop), out)} rows in {out}")


@journal.command()
@FOLDER
@click.argument("name", metavar="PART|TRIGGER")
@click.option("--pictures", type=click.Path(path_type=Path), help="Draw the boxes into copies of its pictures there.")
@JSON
def show(folder: Path, name: str, pictures: Path | None, as_json: bool) -> None:
    """Tell one part's story: each frame's verdict, times, scores, boxes, pictures, and what decided.

    PART|TRIGGER: a part_id, a trigger_id or a verdict_id. Exit code 1 where the journal knows none.
    """
    from edge.journal.pictures import picture_of
    from edge.journal.story import draw_kept, story, tell
    from edge.records import Verdict

    found = list(story(_entries(folder, 0, None), name))
    for verdict in found:
        head, *lines = tell(verdict, folder)
        click.echo(to_json(verdict) if as_json else "\n  ".join([head, *lines]))
        kept = picture_of(folder, verdict.verdict_id) if isinstance(verdict, Verdict) else None
        if pictures and kept and isinstance(verdict, Verdict):
            target = pictures / f"{verdict.verdict_id}.png"
            draw_kept(verdict, kept, target)
            click.echo(f"  drawn {target}", err=as_json)
    if not found:
        click.echo(f"nothing in {folder} names {name!r} as its part, trigger or verdict", err=True)
        raise SystemExit(1)


def _check_journal(folder: Path) -> None:
    """A journal that nothing was written to yet is one."""
    from edge.errors import JournalError
    from edge.journal.segments import segments

    if not segments(folder) and not (folder / "lock").exists():
        raise JournalError(f"{folder} holds no journal; give the folder that the line's [journal] names")


def _entries(folder: Path, start: int, stop: int | None) -> Iterator[Entry]:
    """Records that this edge does not read are said and passed over."""
    from edge.errors import JournalError
    from edge.journal.entries import read_entry
    from edge.journal.reader import END, read_records

    _check_journal(folder)
    for record in read_records(folder, start, END if stop is None else stop):
        try:
            yield read_entry(record)
        except JournalError as error:
            click.echo(str(error), err=True)


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(" ", "milliseconds")
