"""The README's camera and subscriber, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import Line
from tests.lines import daemon_on, write_line

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def program(readme: str, word: str, folder: Path) -> str:
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if word in block)
    return str(block).replace("ipc:///tmp/edge-demo/", f"ipc://{folder}/")


def test_the_camera_and_the_subscriber_of_the_readme_work(readme: str, small_line: Line, tmp_path: Path) -> None:
    config = write_line(tmp_path, small_line.bundles, name="demo")
    cv2.imwrite(str(tmp_path / "part.png"), np.full((64, 64), 51, np.uint8))
    with daemon_on(config):
        subscriber = subprocess.Popen(
            [sys.executable, "-c", program(readme, "zmq.SUB", tmp_path)], stdout=subprocess.PIPE, text=True
        )
        try:
            camera = program(readme, "zmq.XPUB", tmp_path).replace('"p0"', '"p%d"')
            for number in range(3):  # the subscriber may still be connecting at the first
                subprocess.run([sys.executable, "-c", camera % number], cwd=tmp_path, check=True, timeout=60)
            assert subscriber.stdout is not None
            assert re.fullmatch(r"p\d+ pass ok \[\]\n", subscriber.stdout.readline())
        finally:
            subscriber.kill()


def test_the_examples_are_ten_lines_each(readme: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL):
        assert len([line for line in block.splitlines() if line]) <= 10


def test_every_command_of_the_readme_exists(readme: str) -> None:
    from edge.bench.cli import main as bench
    from edge.cli import main

    assert set(re.findall(r"^\| `edge (\w+)", readme, re.MULTILINE)) == set(main.commands)
    assert bench.name
