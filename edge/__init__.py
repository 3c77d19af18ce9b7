"""Inspection beside the line: a gate that knows its surfaces, a judge for each, one verdict for every frame."""

__version__ = "0.1.0"
