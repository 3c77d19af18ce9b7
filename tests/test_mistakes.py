"""A mistake in a file is told by the names that its author gave, with what may stand there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import LineConfig, read_line
from edge.errors import ConfigError
from edge.mistakes import explain

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
        ('bundle = "b"', 'bundle = "b/c"', "judges.bottle.bundle: write a name: letters, digits"),
        ("judges.pill.regions.cap", 'judges.pill.regions."left cap"', 'judges.pill.regions."left cap": write a name'),
        ("bundles =", '"x - at `$.judges[3]" = 1\nbundles =', "unknown key x - at `$.judges[3]; known are line"),
        ("bundles =", '"threa\\nds" = 1\nbundles =', "unknown key threa\nds; did you mean threads?"),
        ("bundles =", f"{'.'.join('k' * 600)} = 1\nbundles =", ""),
        (
            "[judges.bottle]",
            '[parts]\nframes = 2\ncameras = { a = 1, b = "1" }\n[judges.bottle]',
            "parts.cameras.b: Exp",
        ),
        ("bundles =", "journal = { folder = 3 }\nbundles =", "journal.folder: Expected a text, got a whole number"),
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


KEYS = st.text(max_size=6) | st.sampled_from(["", "a.b", "[...]", "key", "`", "x - at `$.judges[3]", "y - at `$[1]"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


def places(table: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    inner = [place for value in table.values() if isinstance(value, dict) for place in places(value)]
    return [*((table, key) for key in table), *inner]


@given(st.data())
def test_whatever_stands_anywhere_in_a_file_is_told_and_never_raises(data: st.DataObject) -> None:
    line = tomllib.loads(LINE)
    table, key = data.draw(st.sampled_from(places(line)))
    table[data.draw(KEYS | st.just(key))] = data.draw(VALUES)
    told = "right"
    try:
        msgspec.convert(line, LineConfig)
    except msgspec.ValidationError as error:
        told = explain(error, line, LineConfig)
    assert told
