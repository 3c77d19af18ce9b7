"""How long frames took: the tail of each row, and its course over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from edge.bench.compare import Floats, as_turns
from edge.bench.given import Given, GivenRow
from edge.bench.plot_style import canvas, colour, dash, milliseconds_axis, shown
from edge.bench.report import short
from edge.bench.statistics import percentile

MOST_DOTS = 700  # of a row over time: more are thinned, the slowest kept
LEAST_FRAMES = 8


def timed(report: Given) -> list[GivenRow]:
    return [row for row in report.rows if len(row.frame_ms) >= LEAST_FRAMES]


def target_of(report: Given) -> float | None:
    """The frame's, of the first row that has one."""
    return next((c.target_ms for row in report.rows for c in row.checks if c.stage == "frame"), None)


def tail(report: Given, palette: dict[str, str]) -> Figure:
    """The share of frames that took longer than so many milliseconds, both logarithmic, with p50, p99 and target."""
    rows, target = timed(report), target_of(report)
    figure, (axis,) = canvas(4.3, palette)
    samples = [np.sort(row.frame_ms) for row in rows]
    most = max(len(values) for values in samples)
    marks = [target] if target else []
    low = min([float(values[0]) for values in samples] + marks) / 1.06
    high = max([float(values[-1]) for values in samples] + marks) * 1.06
    floor = 0.6 / most
    milliseconds_axis(axis, low, high)
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


def over_time(report: Given, palette: dict[str, str]) -> Figure:
    """Every row's frames as they came, the median of each turn, and how far the halves lie apart."""
    rows, target = timed(report), target_of(report)
    figure, axes = canvas(0.55 + 1.35 * len(rows), palette, len(rows))
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
