"""What the doctor says: one row for each thing that was looked at."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "note", "warning", "problem"]

UNKNOWN = "unknown"


class Diagnosis(msgspec.Struct, frozen=True):
    """One thing that was looked at. found: the fact, or `unknown` where the box does not tell. advice: what to do about
    it, empty where nothing is to be done."""

    check: str
    state: State
    found: str
    advice: str = ""


def unknown(check: str, where: str) -> Diagnosis:
    """A fact that this box does not tell. where: what was read for it."""
    return Diagnosis(check, "note", f"{UNKNOWN}: {where} does not tell")
