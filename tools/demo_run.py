"""The demo's run: daemon and camera as processes, the subscriber here, then the pictures and the closing table."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.bench.child import Child, Ended, daemon, running, wait_ready, write_line
from edge.bus.verdicts import Continuity, subscribe
from edge.command import end_as_by_ctrl_c
from edge.config import EngineName, Line, read_line
from edge.errors import ConfigError, EdgeError
from edge.records import Evaluation, Verdict
from edge.terminal import HEADINGS, NAMES, Tally, verdict_row
from tools.demo_parts import SOLAR, Part, cut_unseen, mix, photographs, solar_cells, unseen_among

SILENCE_S = 5  # after the camera's end: what has not come by then is lost


@dataclass
class Group:
    """Parts that should get the same verdict, and what they got."""

    parts: int = 0
    hits: int = 0
    tally: Tally = field(default_factory=Tally)

    def add(self, part: Part, verdict: Verdict, milliseconds: float) -> None:
        self.tally.add(verdict, milliseconds)
        self.hits += verdict.evaluation == part.expected

    def figures(self) -> dict[str, Any]:
        answered = bool(self.tally.parts)
        return {
            "parts": self.parts,
            "evaluations": {name: self.tally.evaluations[evaluation] for evaluation, name in NAMES.items()},
            "hits": self.hits,
            "p50_ms": self.tally.percentile(50) if answered else None,
            "p99_ms": self.tally.percentile(99) if answered else None,
        }


class Record:
    """Which verdict each frame got. Frames are numbered by the camera in the order of `parts`."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self.answers: dict[int, Verdict] = {}
        self.repeated = 0
        self.continuity = Continuity()
        self.total = Group(parts=len(parts))
        self.groups = {name: Group() for name in sorted({part.group for part in parts})}
        for part in parts:
            self.groups[part.group].parts += 1

    def add(self, verdict: Verdict, milliseconds: float) -> Part | None:
        """The part that it is about; None for a frame that has its verdict already or that nobody sent."""
        self.continuity.check(verdict)
        number = verdict.frame_seq
        if number is None or number in self.answers or number >= len(self.parts):
            self.repeated += 1
            return None
        part = self.parts[number]
        self.answers[number] = verdict
        for group in (self.total, self.groups[part.group]):
            group.add(part, verdict, milliseconds)
        return part

    @property
    def unanswered(self) -> int:
        return len(self.parts) - len(self.answers)

    @property
    def exact(self) -> bool:
        """Every frame got exactly one verdict."""
        return not (self.unanswered or self.repeated or self.continuity.lost)

    def rejected(self) -> list[Path]:
        """In the order in which they were sent."""
        found = [number for number, answer in self.answers.items() if answer.evaluation == Evaluation.NOT_OK]
        return [self.parts[number].path for number in sorted(found)]

    def figures(self) -> dict[str, Any]:
        graphs: dict[str, str] = {}
        for verdict in self.answers.values():
            graphs |= verdict.graphs
        return self.total.figures() | {
            "unanswered": self.unanswered,
            "repeated": self.repeated,
            "lost": self.continuity.lost,
            "graphs": graphs,
            "groups": {name: group.figures() for name, group in self.groups.items()},
        }


def run(
    *,
    parts: int,
    rate: float,
    seed: int,
    engine: EngineName | None,
    pictures: int,
    out: Path,
    config: Path,
    as_json: bool,
) -> int:
    """The exit code. What people read goes to stdout, or with JSON to stderr."""
    end_as_by_ctrl_c()
    console = Console(stderr=as_json, highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="edge-demo-") as name:
            folder = Path(name)
            line = read_line(config)
            chosen = choose(line, parts, seed, folder, console)
            own = read_line(write_line(line, folder, judged(line), engine))
            record = inspect(own, folder, chosen, rate, console)
            with console.status("drawing pictures"):
                drawn = draw(folder, record.rejected()[:pictures], out)
        close(record, drawn, out, console, as_json)
    except EdgeError as error:
        Console(stderr=True, highlight=False).print(f"tools/demo: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    return 0 if record.exact else 1


def judged(line: Line) -> list[str]:
    """The solar surfaces that the line has a judge for. Raises ConfigError where it has none."""
    surfaces = [surface for surface in SOLAR if surface in line.config.judges]
    if not surfaces:
        raise ConfigError(f"line {line.config.line} has no judge for {' or '.join(SOLAR)}; the demo shows those")
    return surfaces


def choose(line: Line, count: int, seed: int, folder: Path, console: Console) -> list[Part]:
    with console.status("laying the solar cells out"):
        cells = solar_cells(judged(line))
        crops = cut_unseen(photographs(console.print), unseen_among(count), seed, folder)
    chosen = mix(cells, crops, count, seed)
    console.print(f"{count - len(crops)} solar cells kept back from training, {len(crops)} crops of unseen surfaces")
    return chosen


def inspect(line: Line, folder: Path, parts: list[Part], rate: float, console: Console) -> Record:
    """Play the parts onto the line's bus and print what comes back. Raises Ended."""
    record = Record(parts)
    with daemon(folder / "line.toml", folder) as (server, notified):
        verdicts = subscribe(line.config.verdicts, line.config.line)
        with console.status("the daemon opens its models"):
            next(verdicts)  # listens from here on, before there can be a verdict
            wait_ready(server, notified, lambda said: console.print(said, markup=False, soft_wrap=True))
        console.print(f"\n{len(parts)} parts at {rate:g} a second, about {len(parts) / rate:.0f} s; Ctrl-C ends it\n")
        console.print(HEADINGS, style="bold", soft_wrap=True)
        files = [str(part.path) for part in parts]
        play = ["camera", *files, "--to", line.config.frames, "--line", line.config.line, "--rate", str(rate)]
        with running("camera", play, folder) as camera:
            watch(verdicts, server, camera, record, console)
    return record


def watch(verdicts: Iterator[Verdict | None], server: Child, camera: Child, record: Record, console: Console) -> None:
    """Until every frame has its verdict, or none has come for a while after the camera's end. Raises Ended."""
    silent = 0
    with Live(console=console, refresh_per_second=4) as live:
        for verdict in verdicts:
            arrived_ns = time.time_ns()
            if verdict is None:
                server.check()
                camera.check()
                silent += camera.process.poll() is not None
            else:
                silent = 0
                show(verdict, (arrived_ns - (verdict.t_capture_ns or arrived_ns)) / 1e6, record, live)
            if not record.unanswered or silent >= SILENCE_S:
                return


def show(verdict: Verdict, milliseconds: float, record: Record, live: Live) -> None:
    lost = record.continuity.lost
    part = record.add(verdict, milliseconds)
    row = verdict_row(verdict, milliseconds=milliseconds)
    if part is None:
        row.append("  a second verdict for its frame", "bold red")
    elif verdict.evaluation != part.expected:
        row.append(f"  but it is {part.label}", "bold red")
    if record.continuity.lost > lost:
        live.console.print(f"{record.continuity.lost - lost} verdicts lost", style="bold red")
    live.console.print(row, soft_wrap=True)
    live.update(Text.assemble(record.total.tally.line(), f"  hits {record.total.hits}"))


def draw(folder: Path, paths: list[Path], out: Path) -> int:
    """Inspect these files once more, for the score maps that verdicts do not carry; how many pictures that made."""
    if not paths:
        return 0
    again = ["inspect", "--config", str(folder / "line.toml"), "--pictures", str(out.absolute()), *map(str, paths)]
    with running("inspection", again, folder) as inspection:
        if inspection.process.wait() > 1:  # 1: not all of them are OK
            raise Ended(inspection)
    return len(paths)


def close(record: Record, drawn: int, out: Path, console: Console, as_json: bool) -> None:
    if as_json:
        print(json.dumps(record.figures() | {"pictures": drawn, "folder": str(out) if drawn else None}, indent=2))
        return
    console.print()
    console.print(table(record))
    if record.exact:
        console.print("every frame got exactly one verdict")
    else:
        trouble = f"{record.unanswered} frames without a verdict, {record.repeated} verdicts too many"
        console.print(f"{trouble}, {record.continuity.lost} lost on the bus", style="bold red")
    if drawn:
        console.print(f"{drawn} pictures of the first rejected parts, inspected once more, in {out}", soft_wrap=True)


def table(record: Record) -> Table:
    headings = ("", "parts", *NAMES.values(), "hits", "p50 ms", "p99 ms")
    shown = Table(*headings, box=box.SIMPLE_HEAD, padding=0, title="from capture to verdict")
    for column in shown.columns[1:]:
        column.justify = "right"
    for name, group in [*record.groups.items(), ("all", record.total)]:
        if name == "all":
            shown.add_section()
        figures = group.figures()
        times = ("-" if figures[key] is None else f"{figures[key]:.1f}" for key in ("p50_ms", "p99_ms"))
        counts = (str(count) for count in figures["evaluations"].values())
        shown.add_row(name, str(group.parts), *counts, f"{group.hits / group.parts:.1%}", *times)
    return shown
