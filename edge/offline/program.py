"""A torch.export program (.pt2): what was trained, before any engine has touched it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from edge.engines.session import Floats
from edge.errors import DataError


def load_program(path: Path) -> ExportedProgram:
    """Raises DataError where the file is no torch.export archive; a pickled module is never opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a torch.export archive (.pt2): {error}") from error
    if any(name.endswith("data.pkl") for name in names):
        raise DataError(f"{path} is a pickle (torch.save), which could run code; save it with torch.export.save")
    if not any(name.endswith("models/model.json") for name in names):
        raise DataError(f"{path} holds no exported program; save it with torch.export.save")
    try:
        return torch.export.load(path)
    except Exception as error:  # torch names no base for what a damaged archive raises
        raise DataError(f"{path} cannot be read as a torch.export program: {error}") from error


class TorchSession:
    """A program behind the engines' protocol, for `edge parity`."""

    engine = "torch"
    device = "cpu"

    def __init__(self, program: ExportedProgram) -> None:
        self._module = program.module()

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        """See Session.run."""
        with torch.no_grad():
            answer = self._module(torch.from_numpy(np.ascontiguousarray(batch)))
        outputs = answer if isinstance(answer, tuple | list) else (answer,)
        return tuple(np.asarray(out.float().numpy()) for out in outputs)

    def close(self) -> None:
        del self._module
