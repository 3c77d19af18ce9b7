"""Everything that can go wrong, as one tree; each leaf names the thing and says what to do.

    EdgeError                    1
    ├── ConfigError              10   line.toml: an unknown key, a wrong value, a file that is not there
    ├── BundleError              11   a model bundle: missing, altered or contradicting its manifest
    ├── EngineError              12   an engine: not installed, cannot open a graph, failed while running
    ├── BusError                 13   a socket: address in use, nobody there
    ├── FrameError               14   a frame message or an image: malformed, oversized, lying, undecodable
    │   └── FrameTooLarge        14
    ├── ScoreError               15   a model answered with something that is no score (NaN, wrong shape)
    ├── DataError                16   a folder of images to evaluate or to train on; a certificate or key that is none
    ├── MissingExtra             17   an optional package that this command needs
    └── JournalError             18   the journal: in use, of another line, or its disk full or failing

The number is the exit code of the command that ended with it. 2 is click's own (wrong usage); 1 also means that the
work was done and its answer is no (a rejected part in `edge inspect`, a missed target in `edge-bench`).
"""

from __future__ import annotations


class EdgeError(Exception):
    """Root of the tree. `str(error)` is one or two sentences for a person: what, where, what to do."""

    exit_code = 1


class ConfigError(EdgeError):
    exit_code = 10


class BundleError(EdgeError):
    exit_code = 11


class EngineError(EdgeError):
    exit_code = 12


class BusError(EdgeError):
    exit_code = 13


class FrameError(EdgeError):
    exit_code = 14


class FrameTooLarge(FrameError):
    pass


class ScoreError(EdgeError):
    exit_code = 15


class DataError(EdgeError):
    exit_code = 16


class MissingExtra(EdgeError):
    exit_code = 17

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        command = f"pip install '.[{extra}]' in edge's checkout"
        super().__init__(f"{purpose} needs the package {package}, which is not here: {command}")


class JournalError(EdgeError):
    exit_code = 18
