"""A torch.export program (.pt2): what was trained, before any engine has touched it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch.export import ExportedProgram

from edge.bundle import Manifest
from edge.engines.session import Floats, in_turns
from edge.errors import DataError
from edge.vision.image import InputRule


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


def trained_rule(manifest: Manifest) -> InputRule:
    """The input's rule with the mean and std that the program was trained with."""
    mean, std = manifest.folded or (manifest.input.mean, manifest.input.std)
    return msgspec.structs.replace(manifest.input, mean=mean, std=std)


class TorchSession:
    """A program behind the engines' protocol, for `edge parity`."""

    engine = "torch"
    device = "cpu"
    any_batch = False

    def __init__(self, program: ExportedProgram) -> None:
        self._module = program.module()
        given = next(n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs).meta["val"]
        self._at_once = given.shape[0] if isinstance(given.shape[0], int) else 0  # 0: as many as there are

    def run(self, batch: Floats) -> tuple[Floats, ...]:
        """See Session.run."""
        return in_turns(self._run, batch, self._at_once or len(batch))

    def _run(self, batch: Floats) -> tuple[Floats, ...]:
        with torch.no_grad():
            answer = self._module(torch.from_numpy(np.ascontiguousarray(batch)))
        outputs = answer if isinstance(answer, tuple | list) else (answer,)
        return tuple(np.asarray(out.float().numpy()) for out in outputs)

    def close(self) -> None:
        del self._module
