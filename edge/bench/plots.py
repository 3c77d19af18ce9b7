"""The figures of a report, by matplotlib: from data to a Figure, and from a Figure to SVG or PNG. No files.

Every colour of an SVG is a variable of the page, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from edge.bench.accuracy import Point, front
from edge.bench.compare import Floats, as_turns
from edge.bench.given import Ceiling, Given, GivenRow
from edge.bench.statistics import percentile

# Okabe and Ito's colours, darkened until text in them reads on white (contrast 4.5), and lightened for dark pages.
LIGHT = {
    "ink": "#1d2329",
    "soft": "#5b6670",
    "rule": "#d9dee3",
    "page": "#ffffff",
    "alarm": "#a3161d",
    "c0": "#0068a8",
    "c1": "#b04a00",
    "c2": "#00735a",
    "c3": "#8f3f7d",
    "c4": "#7d6200",
    "c5": "#3d5f80",
}
DARK = {
    "ink": "#e8ebee",
    "soft": "#a3adb7",
    "rule": "#363e46",
    "page": "#14181c",
    "alarm": "#ff8a86",
    "c0": "#5cb6f2",
    "c1": "#f59a56",
    "c2": "#43cba4",
    "c3": "#e39bcb",
    "c4": "#dfbf55",
    "c5": "#a9c4de",
}
SERIES = [name for name in LIGHT if name.startswith("c")]
# Stand for the variables while matplotlib draws; no drawing has them by chance.
STANDS = {name: f"#fe01{index:02x}" for index, name in enumerate(LIGHT)}
DASHES = ("-", (0, (5, 2)), (0, (1, 1.3)))
WIDTH = 9.0  # inches; the page scales them
MOST_DOTS = 700  # of a row over time: more are thinned, the slowest kept
LEAST_FRAMES = 8


Draw = Callable[[dict[str, str]], Figure]


@dataclass(frozen=True)
class Plot:
    """name: of its file. says: how to read it. draw: in the colours that it is given."""

    name: str
    title: str
    says: str
    draw: Draw

    def svg(self) -> str:
        """One <svg> element whose colours are variables of the page and that refers to nothing outside."""
        with styled():
            return _to_svg(self.draw(STANDS))

    def png(self) -> bytes:
        with styled():
            return _to_png(self.draw(LIGHT))


@contextmanager
def styled() -> Iterator[None]:
    settings = {
        "font.family": ["DejaVu Sans"],
        "font.size": 9.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "edge",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "xtick.major.width": 0.8,
        "ytick.major.width": 0.8,
        "text.parse_math": False,
        "path.simplify": False,
    }
    with matplotlib.rc_context(settings):  # type: ignore[arg-type]  # its keys are a Literal of all names
        yield


def _to_svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'<svg ([^>]*?)height="[^"]*pt"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*pt"', r"<svg \1", text, count=1)
    for name, stand in STANDS.items():
        text = text.replace(stand, f"var(--{name})")
    return text


def _to_png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160, facecolor=LIGHT["page"])
    return out.getvalue()


def colour(palette: dict[str, str], index: int) -> str:
    return palette[SERIES[index % len(SERIES)]]


def dash(index: int) -> str | tuple[int, tuple[float, ...]]:
    return DASHES[index // len(SERIES) % len(DASHES)]


def _canvas(height: float, palette: dict[str, str], rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(rows, 1, squeeze=False, sharex=True)
    axes = [axis for line in grid for axis in line]
    for axis in axes:
        axis.set_facecolor("none")
        axis.tick_params(colors=palette["soft"], labelcolor=palette["soft"], which="both")
        axis.xaxis.label.set_color(palette["ink"])
        axis.yaxis.label.set_color(palette["ink"])
        for spine in axis.spines.values():
            spine.set_color(palette["soft"])
    return figure, axes


def short(value: float) -> str:
    """Three digits that count."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def _milliseconds_axis(axis: Axes, low: float, high: float) -> None:
    """Logarithmic, with as many plain numbers as there is room for."""
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    decades = np.log10(high / low)
    few, some, many = (
        (1.0, 2.0, 5.0),
        (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
        (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    )
    subs = (1.0,) if decades > 3 else few if decades > 1.6 else some if decades > 0.9 else many
    if decades < 0.25:
        axis.xaxis.set_major_locator(MaxNLocator(6))
    else:
        axis.xaxis.set_major_locator(LogLocator(10, subs))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def timed(report: Given) -> list[GivenRow]:
    return [row for row in report.rows if len(row.frame_ms) >= LEAST_FRAMES]


def target_of(report: Given) -> float | None:
    """The frame's, of the first row that has one."""
    return next((c.target_ms for row in report.rows for c in row.checks if c.stage == "frame"), None)


def tail(report: Given, palette: dict[str, str]) -> Figure:
    """The share of frames that took longer than so many milliseconds, both logarithmic, with p50, p99 and target."""
    rows, target = timed(report), target_of(report)
    figure, (axis,) = _canvas(4.3, palette)
    samples = [np.sort(row.frame_ms) for row in rows]
    most = max(len(values) for values in samples)
    marks = [target] if target else []
    low = min([float(values[0]) for values in samples] + marks) / 1.06
    high = max([float(values[-1]) for values in samples] + marks) * 1.06
    floor = 0.6 / most
    _milliseconds_axis(axis, low, high)
    axis.set_yscale("log")
    axis.set_ylim(floor, 1.25)
    for share, name in ((0.5, "p50"), (0.01, "p99"), (0.001, "p99.9")):
        if share > floor:
            axis.axhline(share, color=palette["rule"], linewidth=0.9, zorder=0)
            axis.annotate(
                name,
                (1, share),
                (-3, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                color=palette["soft"],
                fontsize=8.5,
            )
    for index, (row, values) in enumerate(zip(rows, samples, strict=True)):
        longer = 1 - np.arange(len(values)) / len(values)
        ink, width = colour(palette, index), 2.2 if row.chosen else 1.4
        axis.step(values, longer, where="post", color=ink, linewidth=width, linestyle=dash(index), zorder=3)
        for q in (0.5, 0.99):
            axis.plot(percentile(row.frame_ms, q), max(1 - q, 1 / len(values)), "o", color=ink, markersize=5, zorder=4)
    if target:
        axis.axvline(target, color=palette["alarm"], linewidth=1.2, linestyle=(0, (4, 2)))
        axis.annotate(
            f"target {target:g} ms at p99",
            (target, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=palette["alarm"],
            fontsize=9,
        )
    axis.set_xlabel("frame, ms")
    axis.set_ylabel("share of frames that took longer")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axis.yaxis.set_minor_locator(NullLocator())
    _key(axis, rows, palette)
    return figure


def _key(axis: Axes, rows: Sequence[GivenRow], palette: dict[str, str]) -> None:
    """Beside the plot: name and figures in the line's own colour, the fastest at p99 first."""
    order = sorted(range(len(rows)), key=lambda index: percentile(rows[index].frame_ms, 0.99))
    for place, index in enumerate(order):
        row, ink, y = rows[index], colour(palette, index), 0.97 - place * min(0.15, 0.97 / len(rows))
        axis.plot(
            [1.03, 1.065],
            [y, y],
            color=ink,
            linewidth=2.2,
            linestyle=dash(index),
            transform=axis.transAxes,
            clip_on=False,
        )
        p50, p99 = (short(percentile(row.frame_ms, q)) for q in (0.5, 0.99))
        for text, offset, weight, tint in (
            (shown(row), 5, "bold", ink),
            (f"p50 {p50}  p99 {p99} ms", -7, "normal", palette["soft"]),
        ):
            axis.annotate(
                text,
                (1.08, y),
                (0, offset),
                xycoords="axes fraction",
                textcoords="offset points",
                va="center",
                color=tint,
                fontsize=9 if weight == "bold" else 8.5,
                fontweight=weight,
                annotation_clip=False,
            )


def shown(row: GivenRow, most: int = 30) -> str:
    """Its name; the star marks what the line would run."""
    return f"{cut(row.name, most)}{' *' if row.chosen else ''}"


def cut(name: str, most: int = 30) -> str:
    """On one line that has room for so many letters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def over_time(report: Given, palette: dict[str, str]) -> Figure:
    """Every row's frames as they came, the median of each turn, and how far the halves lie apart."""
    rows, target = timed(report), target_of(report)
    figure, axes = _canvas(0.55 + 1.35 * len(rows), palette, len(rows))
    for index, (axis, row) in enumerate(zip(axes, rows, strict=True)):
        at, ms = np.asarray(row.at_s), np.asarray(row.frame_ms)
        top = float(np.quantile(ms, 0.995)) * 1.08
        bottom = float(ms.min())
        bottom -= 0.06 * (top - bottom)
        if target and bottom < target < 1.3 * top:
            top = max(top, 1.05 * target)
        axis.set_ylim(bottom, top)
        ink = colour(palette, index)
        kept = thinned(ms)
        inside = kept[ms[kept] <= top]
        _dots(axis, at[inside], ms[inside], ink)
        above = np.flatnonzero(ms > top)
        if len(above):  # an empty line that is not clipped spoils the layout
            axis.plot(
                at[above], np.full(len(above), top), "^", color=ink, markersize=5, clip_on=False, markeredgewidth=0
            )
        _turns(axis, at, as_turns(row.frame_ms, report.turn), ink)
        if target and target < top:
            axis.axhline(target, color=palette["alarm"], linewidth=1.1, linestyle=(0, (4, 2)))
        axis.set_title(shown(row, 60), loc="left", color=ink, fontsize=9.5, fontweight="bold", pad=4)
        axis.set_title(_drift(ms, len(above)), loc="right", color=palette["soft"], fontsize=8.5, pad=4)
        axis.set_ylabel("ms")
        axis.yaxis.set_major_locator(MaxNLocator(3))
        axis.margins(x=0.01)
    axes[-1].set_xlabel("seconds since the first frame")
    return figure


def _dots(axis: Axes, x: Floats, y: Floats, ink: str) -> None:
    """As one path of very short strokes: a page of markers would weigh megabytes."""
    gap, hair = np.full(len(x), np.nan), 1e-4 * max(float(x.max(initial=0.0)), 1e-6)
    strokes = np.stack([x, x + hair, gap], axis=1).ravel(), np.stack([y, y, gap], axis=1).ravel()
    axis.plot(*strokes, color=ink, alpha=0.5, linewidth=2.2, solid_capstyle="round")


def _turns(axis: Axes, at: Floats, turns: Floats, ink: str) -> None:
    if len(turns) > 1:
        starts = at[: turns.size : turns.shape[1]]
        axis.plot(starts, np.median(turns, axis=1), color=ink, linewidth=1.5)


def _drift(ms: Floats, above: int) -> str:
    middle = len(ms) // 2
    moved = 100 * (np.median(ms[middle:]) / np.median(ms[:middle]) - 1)
    beyond = f"   ▲ {above} above, up to {short(float(ms.max()))} ms" if above else ""
    return f"second half {moved:+.1f} %{beyond}"


def thinned(ms: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Which frames to draw: evenly chosen where there are many, and of those the slowest hundredth in any case."""
    if len(ms) <= MOST_DOTS:
        return np.arange(len(ms))
    even = np.linspace(0, len(ms) - 1, MOST_DOTS).round().astype(np.intp)
    return np.union1d(even, np.argsort(ms)[-min(MOST_DOTS, len(ms) // 100) :])


def accuracy(points: Sequence[Point], palette: dict[str, str]) -> Figure:
    """Image AUROC against a frame's milliseconds at p50; the Pareto front joined by steps. A name, and a line up to
    p99, for the fastest row of each bundle and for all of the front."""
    figure, (axis,) = _canvas(5.0, palette)
    best = sorted(front(points), key=lambda point: point.p50_ms)
    fastest = [min((p for p in points if p.bundle == name), key=lambda p: p.p50_ms) for name in bundles(points)]
    named = list(dict.fromkeys([*best, *fastest]))
    low, high = min(p.p50_ms for p in points) / 1.25, max(p.p99_ms for p in points) * 1.6
    _milliseconds_axis(axis, low, high)
    bottom = min(p.accuracy for p in points)
    room = max(0.02, 1 - bottom)
    axis.set_ylim(bottom - 0.14 * room, 1 + 0.2 * room)
    stairs = [p.accuracy for p in best]
    axis.step(
        [p.p50_ms for p in best] + [high],
        [*stairs, stairs[-1]],
        where="post",
        color=palette["soft"],
        linewidth=1.2,
        linestyle=(0, (1, 1.5)),
        zorder=1,
    )
    tints = {name: colour(palette, index) for index, name in enumerate(bundles(points))}
    for point in points:
        ink = tints[point.bundle]
        if point in named:
            axis.plot([point.p50_ms, point.p99_ms], [point.accuracy] * 2, color=ink, linewidth=1.4, alpha=0.6, zorder=2)
        face, size = (ink, 7.5) if point in best else (palette["page"], 5.5)
        axis.plot(point.p50_ms, point.accuracy, "o", color=ink, markerfacecolor=face, markersize=size, zorder=3)
    axis.set_xlabel("frame, ms: p50, with a line up to p99")
    axis.set_ylabel("image AUROC")
    axis.yaxis.set_major_locator(FixedLocator([tick for tick in axis.get_yticks() if tick <= 1.0001]))
    _label(figure, axis, named, points, tints)
    return figure


def bundles(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.bundle for point in points))


def _label(figure: Figure, axis: Axes, named: Sequence[Point], points: Sequence[Point], tints: dict[str, str]) -> None:
    """A name near each dot, at the nearest height that keeps clear of dots and of other names; a thread leads to it."""
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    spot = {point: axis.transData.transform((point.p50_ms, point.accuracy)) * scale for point in points}
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spot.values()]
    floor, roof = axis.bbox.y0 * scale + 6, axis.bbox.y1 * scale
    for point in sorted(named, key=lambda point: (-point.accuracy, point.p50_ms)):
        x, y = spot[point]
        text = f"{cut(point.bundle)}  {cut(point.row)}"
        wide = 5.1 * len(text)
        left = min(x - 4, axis.bbox.x1 * scale - wide)
        for lift in sorted(range(-260, 261, 4), key=abs):
            box = (left, y + lift - 5.5, left + wide, y + lift + 5.5)
            if abs(lift) >= 12 and floor < box[1] and box[3] < roof and not any(_meet(box, other) for other in taken):
                break
        taken.append(box)
        thread = {"arrowstyle": "-", "color": tints[point.bundle], "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        label = axis.annotate(
            text,
            (point.p50_ms, point.accuracy),
            (left - x, lift),
            textcoords="offset points",
            va="center",
            color=tints[point.bundle],
            fontsize=8.5,
            annotation_clip=False,
            arrowprops={**thread, "relpos": (0.02, 0.0 if lift > 0 else 1.0)} if abs(lift) > 16 else None,
        )
        label.set_in_layout(False)


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def counted(report: Given) -> list[tuple[GivenRow, float]]:
    """The rows whose operations were counted, with the 10^9 operations a second that their networks reach."""
    return [
        (row, row.gops / row.stages["run"].p50_ms * 1e3)
        for row in report.rows
        if row.gops and "run" in row.stages and row.stages["run"].p50_ms > 0
    ]


def roofline(report: Given, ceiling: Ceiling, palette: dict[str, str]) -> Figure:
    """What each row's networks reach of what the machine does with a large matrix product in their precision."""
    rows = counted(report)
    figure, (axis,) = _canvas(1.3 + 0.42 * len(rows), palette)
    most = max([reached for _, reached in rows] + [ceiling.fp32_gflops or 0, ceiling.int8_gops or 0])
    axis.set_xlim(0, 1.12 * most)
    axis.set_ylim(len(rows) - 0.4, -0.9)
    for place, (row, reached) in enumerate(rows):
        roof = roof_of(row, ceiling)
        ink = palette["c0"] if row.graphs and row.graphs[0].precision == "int8" else palette["c1"]
        if roof:
            axis.plot([0, roof], [place, place], color=palette["rule"], linewidth=9, solid_capstyle="butt", zorder=1)
        axis.plot([0, reached], [place, place], color=ink, linewidth=9, solid_capstyle="butt", zorder=2)
        told = f"{short(reached)}" + (f"   {100 * reached / roof:.0f} % of the ceiling" if roof else "")
        inside = reached > 0.55 * most
        axis.annotate(
            told,
            (reached, place),
            (-6 if inside else 6, 0),
            textcoords="offset points",
            va="center",
            ha="right" if inside else "left",
            color=palette["page" if inside else "ink"],
            fontsize=8.5,
            zorder=4,
        )
    for value, name, ink in (
        (ceiling.fp32_gflops, "FP32", palette["c1"]),
        (ceiling.int8_gops, "INT8", palette["c0"]),
    ):
        if value:
            axis.axvline(value, color=ink, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)
            axis.annotate(
                f"{name} ceiling {short(value)}",
                (value, -0.9),
                (-4, -2),
                textcoords="offset points",
                va="top",
                ha="right",
                color=ink,
                fontsize=9,
            )
    axis.set_yticks(range(len(rows)), [shown(row) for row, _ in rows])
    axis.tick_params(axis="y", length=0, labelcolor=palette["ink"])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("10⁹ operations a second, networks alone")
    return figure


def roof_of(row: GivenRow, ceiling: Ceiling) -> float | None:
    """The ceiling of its first graph's precision."""
    return ceiling.int8_gops if row.graphs and row.graphs[0].precision == "int8" else ceiling.fp32_gflops
