"""Change a bundle that is there: it is the old one or the new one at every moment."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import msgspec
import tomli_w

from edge.bundle import MANIFEST, Bundle, File, open_bundle
from edge.errors import BundleError
from edge.offline.pack import FILE_MODE, entry_of, plain, replace_folder, rewrite


def with_arrays(bundle: Bundle, arrays: bytes, surfaces: tuple[str, ...], note: str) -> Bundle:
    """Give a bundle other arrays and surfaces and open it; it is the old one or the new one at every moment.

    note: is added to what the manifest says of its training. Raises BundleError where it cannot be written.
    """
    name = f"arrays-{hashlib.sha256(arrays).hexdigest()[:12]}.npz"
    training = msgspec.structs.replace(bundle.manifest.training, note=f"{bundle.manifest.training.note}; {note}")
    entry = File(**entry_of(name, arrays))
    fresh = {"surfaces": surfaces, "arrays": entry, "training": training, "measured": {}, "parity": {}}
    manifest = msgspec.structs.replace(bundle.manifest, **fresh)
    try:
        (bundle.path / name).write_bytes(arrays)
        (bundle.path / name).chmod(FILE_MODE)
    except OSError as error:
        raise BundleError(f"cannot write into {bundle.path}: {error.strerror}; is the folder writable?") from error
    rewrite(bundle.path / MANIFEST, tomli_w.dumps(plain(manifest)))
    old = bundle.manifest.arrays
    if old is not None and old.file != name and old.bundle is None:
        (bundle.path / old.file).unlink(missing_ok=True)
    return open_bundle(bundle.path)


def set_measured(path: Path, measured: dict[str, float | int | str]) -> Bundle:
    """Put figures into the manifest's `measured` table, in place of those that are there. Raises BundleError."""
    manifest = msgspec.structs.replace(open_bundle(path).manifest, measured=measured)
    rewrite(path / MANIFEST, tomli_w.dumps(plain(manifest)))
    return open_bundle(path)


def set_parity(path: Path, parity: dict[str, float | int | str | bool]) -> Bundle:
    """Put what `edge parity` found into the manifest, in place of what is there. Raises BundleError."""
    manifest = msgspec.structs.replace(open_bundle(path).manifest, parity=parity)
    rewrite(path / MANIFEST, tomli_w.dumps(plain(manifest)))
    return open_bundle(path)


def drop_graphs(bundle: Bundle, names: Collection[str]) -> Bundle:
    """The bundle without these graphs, and its own files of them gone. Raises BundleError where none would be left."""
    left = tuple(graph for graph in bundle.manifest.graph if graph.file not in names)
    if not left:
        raise BundleError(f"{bundle.path}: not one graph would be left; bring a bundle that is right")
    rewrite(bundle.path / MANIFEST, tomli_w.dumps(plain(msgspec.structs.replace(bundle.manifest, graph=left))))
    for graph in bundle.manifest.graph:
        if graph.file in names and graph.bundle is None:
            for entry in graph.files:
                (bundle.path / entry.file).unlink(missing_ok=True)
    return open_bundle(bundle.path)


def copy_bundle(bundle: Bundle, path: Path) -> Bundle:
    """Put a bundle's own files into another folder, verified, whole or not at all. Raises BundleError, also where one
    that it borrows from is not beside the new place, or is another."""
    if path.resolve() == bundle.path.resolve():
        return bundle
    manifest = bundle.manifest
    there = Bundle(path, manifest, bundle.sha256)
    for entry in bundle.files:
        (there if entry.bundle else bundle).read(entry)
    own = {entry.file: bundle.read(entry) for entry in bundle.files if not entry.bundle}
    replace_folder(path, {**own, MANIFEST: (bundle.path / MANIFEST).read_bytes()})
    return open_bundle(path)
