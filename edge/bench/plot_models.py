"""What models are worth: accuracy against milliseconds, and their share of the machine's ceiling."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from edge.bench.accuracy import Point, front
from edge.bench.given import Ceiling, Given, GivenRow
from edge.bench.plot_style import canvas, colour, cut, milliseconds_axis, shown
from edge.bench.report import short


def accuracy(points: Sequence[Point], palette: dict[str, str]) -> Figure:
    """Image AUROC against a frame's milliseconds at p50; the Pareto front joined by steps. A name, and a line up to
    p99, for the fastest row of each bundle and for all of the front."""
    figure, (axis,) = canvas(5.0, palette)
    best = sorted(front(points), key=lambda point: point.p50_ms)
    fastest = [min((p for p in points if p.bundle == name), key=lambda p: p.p50_ms) for name in bundles(points)]
    named = list(dict.fromkeys([*best, *fastest]))
    low, high = min(p.p50_ms for p in points) / 1.25, max(p.p99_ms for p in points) * 1.6
    milliseconds_axis(axis, low, high)
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
    figure, (axis,) = canvas(1.3 + 0.42 * len(rows), palette)
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
    for value, name, ink, below in (
        (ceiling.fp32_gflops, "FP32", palette["c1"], 2),
        (ceiling.int8_gops, "INT8", palette["c0"], 13),
    ):
        if value:
            axis.axvline(value, color=ink, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)
            axis.annotate(
                f"{name} ceiling {short(value)}",
                (value, -0.9),
                (-4, -below),
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
