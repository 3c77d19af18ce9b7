"""What `edge quantize` shows: which layers INT8 hurts, and which stay in float."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge.offline.int8 import Made

SHOWN = 12


def layers_table(made: Made) -> Table:
    """The worst layers first; empty where all of INT8 was within what is allowed."""
    title = f"error of the outputs: {made.search.whole:.2%} in INT8, {made.search.left:.2%} with these layers in float"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("layer")
    for heading in ("alone in INT8", "left without it", "stays in float"):
        table.add_column(heading, justify="right")
    for layer in made.search.layers[:SHOWN]:
        after = "-" if layer.after is None else f"{layer.after:.2%}"
        table.add_row(layer.name, f"{layer.alone:.2%}", after, "yes" if layer.kept else "no")
    return table


def notes(made: Made) -> list[str]:
    """Each engine's layers in float, and sizes."""
    told = [f"{engine}: in float {', '.join(layers) or 'no layer'}" for engine, layers in made.float_layers.items()]
    if made.left_out:
        left = ", ".join(made.left_out)
        told.append(f"left out, and gone: {left}; without VNNI this processor cannot say what they answer")
    if made.unnamed:
        told.append(f"{made.unnamed} layers were not found in the TFLite file; they are rounded to the nearest there")
    return [*told, *(f"{name}: {len(data) / 1e6:.1f} MB" for name, data in made.files.items())]
