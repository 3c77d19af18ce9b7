"""What may fail, as a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edge.doctor.diagnosis import Diagnosis
from edge.errors import EdgeError

Found = TypeVar("Found")


def attempt(check: str, rows: list[Diagnosis], work: Callable[..., Found], *given: object) -> Found | None:
    """What the work makes of what it is given; where it fails, None and a problem among the rows."""
    try:
        return work(*given)
    except EdgeError as error:
        rows.append(Diagnosis(check, "problem", str(error)))
        return None
