"""The checkout's own environment, made and kept up to date with nothing but Python's standard library.

    python3 tools/environment.py EXTRA ...     makes it where needed and prints the path of its Python

It is `.venv` in the checkout, or the folder that $EDGE_VENV names. A stamp in it says what was installed, from which
pins; while that holds, nothing is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
OLDEST, NEWEST = (3, 11), (3, 13)
STAMP = "edge-stamp.json"
# One of pip's lines: a package's name, its version, its size where it had to be fetched.
WHEEL = re.compile(
    r"\s*(?:Downloading|Using cached|Processing) (?:\S*/)?([^/\s-]+)-([^-\s]+)-\S+\.whl(?!\.metadata)"
    r"(?:.*(\([\d.]+ .B\)))?"
)


def ensure(
    extras: Iterable[str], constraints: Path = CONSTRAINTS, home: Path | None = None, also: tuple[str, ...] = ()
) -> Path:
    """The Python of an environment that has the package, editable, with these extras at least, under these pins.

    home: its folder where it is another than the checkout's own. also: packages that no extra names. What was installed
    before stays. Ends the process with a sentence where the environment cannot be made.
    """
    home = (home or Path(os.environ.get("EDGE_VENV") or ROOT / ".venv")).absolute()
    python, stamp = home / "bin" / "python", home / STAMP
    digest = _digest(constraints, also)
    old = _read(stamp)
    if python.exists() and old.get("digest") == digest and set(extras) <= set(old["extras"]):
        return python
    wanted = sorted({*extras, *old.get("extras", ())})
    stamp.unlink(missing_ok=True)  # an install cut short is begun anew
    _say(f"installing edge with {', '.join(wanted)} into {home}; the first time takes a minute or two")
    _make(home)
    requirement = f"{ROOT}[{','.join(wanted)}]"
    _pip(python, "--constraint", str(constraints), "--editable", requirement, *also)
    stamp.write_text(json.dumps({"digest": digest, "extras": wanted}))
    return python


def enter(extras: Iterable[str], packages: Iterable[str]) -> None:
    """Start the running script anew in the environment where one of these packages is missing here."""
    if any(find_spec(package) is None for package in packages):
        python = ensure(extras)
        os.execv(python, [str(python), *sys.argv])


def _digest(constraints: Path, also: tuple[str, ...]) -> str:
    """Of all that an environment hangs on: the checkout's place, what it asks for, the pins."""
    digest = hashlib.sha256(" ".join([str(ROOT), *also]).encode())
    for path in (ROOT / "pyproject.toml", constraints):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(stamp: Path) -> dict[str, str | list[str]]:
    try:
        content: dict[str, str | list[str]] = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return {}
    return content


def _make(home: Path) -> None:
    base = _interpreter()
    made = subprocess.run([base, "-m", "venv", home], capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{base} cannot make {home}:\n{made.stdout}{made.stderr}")


def _interpreter() -> str:
    """This Python where it will do, or else the newest one of the machine that does."""
    fitting = [sys.executable] if OLDEST <= sys.version_info[:2] <= NEWEST else []
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    fitting += [found for found in map(shutil.which, names) if found]
    for python in fitting:
        if subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
            return python
    if fitting:
        sys.exit(
            f"{fitting[0]} cannot make environments (Debian, Ubuntu: apt install python3-venv); then run this again"
        )
    sys.exit(f"edge needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]}; this is {sys.version.split()[0]} and no other is here")


def _pip(python: Path, *arguments: str) -> None:
    """Run pip, showing a line for each package it brings; all that it said where it fails."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None  # stdout=PIPE
        for line in pip.stdout:
            said.append(line)
            wheel = WHEEL.match(line)
            if wheel:
                _say(" ".join(filter(None, wheel.groups())))
            elif line.startswith("Installing collected packages"):
                _say(f"unpacking {line.count(',') + 1} packages")
    if pip.returncode:
        sys.exit("".join(said[-40:]) + "pip could not install it; is there a network?")


def _say(line: str) -> None:
    print(f"environment: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    print(ensure(sys.argv[1:]))
