"""How every figure of a report looks, and its way from matplotlib to SVG or PNG. No files.

Every colour of an SVG is a variable of the page, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from edge.bench.given import GivenRow

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


def canvas(height: float, palette: dict[str, str], rows: int = 1) -> tuple[Figure, list[Axes]]:
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


def milliseconds_axis(axis: Axes, low: float, high: float) -> None:
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


def shown(row: GivenRow, most: int = 30) -> str:
    """Its name; the star marks what the line would run."""
    return f"{cut(row.name, most)}{' *' if row.chosen else ''}"


def cut(name: str, most: int = 30) -> str:
    """On one line that has room for so many letters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
