"""A mistake in a file is told by the names that its author gave, with what may stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import read_line
from edge.errors import ConfigError

LINE = """line = "l1"
frames = "ipc:///tmp/f"
verdicts = "ipc:///tmp/v"
gate = "gate"
bundles = "."
[judges.bottle]
bundle = "b"
[judges.pill]
bundle = "p"
[judges.pill.regions.cap]
boxes = [[0, 0, 8, 8]]
"""


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("bundles =", "threds = 2\nbundles =", "unknown key threds; did you mean threads?"),
        ('bundle = "p"', 'bundel = "p"', "judges.pill: unknown key bundel; did you mean bundle?"),
        ('bundle = "p"', 'bundle = "p"\nmode = "safe"', "judges.pill.mode: Invalid enum value 'safe'; write "),
        ("bundles =", 'engine = "openvno"\nbundles =', "engine: Invalid enum value 'openvno'; write "),
        ("bundles =", 'threads = "two"\nbundles =', "threads: Expected a whole number, got a text"),
        ("[[0, 0, 8, 8]]", "[[0, 0, 0, 8]]", "judges.pill.regions.cap.boxes[0][2]: Expected a whole number >= 1"),
        ('bundle = "b"', "", "judges.bottle: the key is missing: bundle"),
        ("[judges.bottle]", "zzz = 1\n[judges.bottle]", "unknown key zzz; known are line, "),
        ('"ipc:///tmp/f"', '"ipc:/tmp/f"', "frames = ipc:/tmp/f is no address; write ipc:///"),
    ],
)
def test_the_key_is_named_in_full_with_what_may_stand_there(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    path = tmp_path / "line.toml"
    path.write_text(LINE)
    read_line(path)
    path.write_text(LINE.replace(right, wrong))
    with pytest.raises(ConfigError) as raised:
        read_line(path)
    assert str(raised.value).startswith(f"{path}: {told}")
