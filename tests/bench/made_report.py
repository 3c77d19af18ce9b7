"""Reports with a known course of the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TURN = 8


def course(
    seed: int,
    turns: int = 84,
    base: float = 10.0,
    frame: float = 0.05,
    ar: float = 0.0,
    phi: float = 0.0,
    step: float = 0.0,
) -> list[float]:
    """Milliseconds of turns * TURN frames. frame: deviation of single frames; ar, phi: of turns, as AR(1); step: the
    machine is faster or slower by so much from some turn on. All as logarithms."""
    rng = np.random.default_rng(seed)
    level = np.zeros(turns)
    level[0] = rng.normal(0, ar)
    for turn in range(1, turns):
        level[turn] = phi * level[turn - 1] + rng.normal(0, ar * np.sqrt(1 - phi**2))
    level[rng.integers(turns) :] += step * rng.choice([-1, 1])
    return [float(ms) for ms in (base * np.exp(level[:, None] + rng.normal(0, frame, (turns, TURN)))).ravel()]


def row(name: str, frame_ms: list[float], **fields: Any) -> dict[str, Any]:
    at = np.concatenate([[0.0], np.cumsum(frame_ms)])[: len(frame_ms)] / 1e3
    return {"name": name, "frames": len(frame_ms), "frame_ms": frame_ms, "at_s": at.tolist(), **fields}


def report(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    same = {"subject": "bundle", "kind": "segdec", "version": "1", "box": "a box", "system": "Linux"}
    return same | {"threads": 2, "images": 1, "turn": TURN, "rows": list(rows), "ratios": [], "answer": None} | fields


def write(path: Path, made: dict[str, Any]) -> Path:
    path.write_text(json.dumps(made))
    return path
