"""A model bundle: a manifest and the files that it names, read once, verified, opened from those bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle_signature import NOBODY, Trusted, check_signature, sign_manifest
from edge.errors import BundleError
from edge.mistakes import from_toml
from edge.vision.image import WHOLE, InputRule

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "manifest.toml"
FORMAT_VERSION = 1

Format = Literal["onnx", "openvino", "tflite"]
Precision = Literal["fp32", "fp16", "int8"]
PLAIN = "a file's name without its folder: letters, digits, `_`, `.` and `-`, the last two not first"
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", description=PLAIN)]
DIGEST = "64 digits of 0 to 9 and a to f, as sha256sum prints them"
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description=DIGEST)]

# How many answers each kind's graphs may give: a gate's features and perhaps its cells; a nearest's the same two; an
# autoencoder's image and perhaps its latent code; a map and perhaps the frame's score.
OUTPUTS = {"gate": (1, 2), "segdec": (2,), "reconstruction": (1, 2), "nearest": (2,), "map": (1, 2), "kinds": (1, 2)}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the manifest's tables: frozen, and a key that nobody reads is refused."""


class File(Strict, frozen=True, kw_only=True):
    """bundle: the folder beside this bundle's that the file lies in, where it is another bundle's."""

    file: FileName
    sha256: Sha256
    bundle: FileName | None = None


class Port(Strict, frozen=True):
    """What goes into a graph or comes out of it: float32, batch first, pictures as NCHW. shape: 0 is a free batch."""

    name: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]


class Graph(File, frozen=True, kw_only=True):
    """One network. An ONNX graph serves both ONNX Runtime and OpenVINO; OpenVINO's own has its weights in a file apart.

    opset: of an ONNX graph. input, output: as they were found in the file when it was exported. gain: what a
    reconstruction's residuals are divided by, as INT8 adds to all of them (edge.offline.gains). cut: the same network
    as far as its last output, to the same bits."""

    format: Format
    precision: Precision
    weights: File | None = None
    opset: int | None = None
    input: Port | None = None
    output: tuple[Port, ...] = ()
    gain: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    cut: Graph | None = None

    @property
    def files(self) -> tuple[File, ...]:
        """All that belong to it."""
        return (self, *([self.weights] if self.weights else []), *(self.cut.files if self.cut else []))

    def __post_init__(self) -> None:
        if (self.format == "openvino") != (self.weights is not None):
            raise ValueError(f"graph {self.file}: an openvino graph names its weights, no other does")
        if self.cut and (self.cut.format, self.cut.precision, self.cut.cut) != (self.format, self.precision, None):
            raise ValueError(f"graph {self.file}: its cut has its format and precision, and no cut of its own")


class Thresholds(Strict, frozen=True, kw_only=True):
    """score: a frame above it is rejected (the gate's are per surface, in its arrays). map: a pixel above it is part
    of a defect. how: what they were set on, in a sentence."""

    score: float | None = None
    map: float | None = None
    how: str


class Scoring(Strict, frozen=True):
    """pooling: how a reconstruction's map becomes the frame's score: its `max`, its `mean` (Zouar's L2 distance up to a
    constant), or the largest mean of a patch (`worst_patch`, Ferrari's equation 13). blur: sigma in pixels of the input
    that the difference is smoothed with. least_area: defects with fewer map pixels are not named. measure: the
    difference is squared, or 1 - SSIM. worst: a nearest's score is the mean of that many of its worst cells.
    heat: the map is what was measured, or the absolute difference (Ferrari's equation 10). answer: what a map's network
    gives: logits, whose sigmoid is the score, or the scores themselves."""

    pooling: Literal["max", "mean", "worst_patch"] = "max"
    blur: float = 0.0
    least_area: int = 1
    worst: Annotated[int, msgspec.Meta(ge=1)] = 1
    measure: Literal["l2", "ssim"] = "l2"
    heat: Literal["measure", "difference"] = "measure"
    answer: Literal["logit", "score"] = "logit"


class Dense(Strict, frozen=True, kw_only=True):
    """A faster way to judge by the same graphs: the patches lie `stride` pixels apart and are fewer; thresholds of its
    own, as what fewer patches cover is averaged less."""

    stride: int
    thresholds: Thresholds


class Targets(Strict, frozen=True):
    """Latency at p99 in milliseconds that the bundle is meant to meet on the box named in `measured`."""

    patch_ms: float | None = None
    frame_ms: float | None = None


class Training(Strict, frozen=True):
    data: str
    licence: str
    images: int
    date: str
    command: str
    note: str = ""


class Manifest(Strict, frozen=True, kw_only=True):
    """manifest.toml, key for key. judge: the bundle on whose maps kinds were taught. folded: mean and std that the
    network was trained with, where they are part of its first convolution now and input says 0 and 1."""

    format: int
    name: str
    kind: Literal["gate", "segdec", "reconstruction", "nearest", "map", "kinds"]
    surfaces: tuple[str, ...]
    label: str = "defect"
    judge: str | None = None
    input: InputRule
    folded: tuple[float, float] | None = None
    outputs: tuple[str, ...]
    thresholds: Thresholds
    dense: Dense | None = None
    scoring: Scoring = Scoring()
    targets: Targets = Targets()
    graph: tuple[Graph, ...]
    arrays: File | None = None
    golden: File
    training: Training
    measured: dict[str, float | int | str] = {}
    parity: dict[str, float | int | str | bool] = {}

    def __post_init__(self) -> None:
        if len(self.outputs) not in OUTPUTS[self.kind]:
            few = " or ".join(map(str, OUTPUTS[self.kind]))
            raise ValueError(f"outputs: a {self.kind} has {few}, {len(self.outputs)} are named")
        if bool(self.input.patch) != (self.kind == "reconstruction"):
            raise ValueError(
                f"input.patch = {self.input.patch}: a reconstruction is cut into patches, no other kind is"
            )
        if self.input.tiles != WHOLE and self.kind != "nearest":
            raise ValueError(f"input.tiles: a nearest cuts its frames into tiles, a {self.kind} does not")
        if self.dense and not self.input.stride < self.dense.stride <= self.input.patch:
            raise ValueError(f"dense.stride = {self.dense.stride}: it lies above the input's stride, up to its patch")
        if self.dense and len(self.outputs) > 1:
            raise ValueError("dense: not where a latent code is scored too, whose limits are those of all patches")
        if not self.surfaces or not self.graph:
            raise ValueError("surfaces and [[graph]]: a bundle has at least one of each")


class Bundle(msgspec.Struct, frozen=True):
    """A folder whose manifest was read. sha256: of the manifest, which itself names every file's digest."""

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def files(self) -> tuple[File, ...]:
        """All that the manifest names."""
        manifest = self.manifest
        graphs = (file for graph in manifest.graph for file in graph.files)
        return (*graphs, manifest.golden, *([manifest.arrays] if manifest.arrays else []))

    def runs(self, graph: Graph) -> Graph:
        """What it runs of one of its graphs where nobody else runs it too: a nearest asks for its cells alone."""
        return graph.cut if self.manifest.kind == "nearest" and graph.cut else graph

    def where(self, entry: File) -> Path:
        """The path of one file: in this folder, or in the one beside it that the entry names."""
        return (self.path.resolve().parent / entry.bundle if entry.bundle else self.path) / entry.file

    def dense(self) -> Bundle:
        """As its dense mode judges. Raises BundleError where it has none."""
        manifest = self.manifest
        if manifest.dense is None:
            raise BundleError(f'{self.path} has no dense mode; leave out mode = "dense"')
        replaced = msgspec.structs.replace
        rule = replaced(manifest.input, stride=manifest.dense.stride)
        return replaced(self, manifest=replaced(manifest, input=rule, thresholds=manifest.dense.thresholds, dense=None))

    def read(self, entry: File) -> bytes:
        """The verified bytes of one file. Raises BundleError where it is missing or not what the manifest says."""
        path = self.where(entry)
        if path.exists() and not path.is_file():
            raise BundleError(f"{path} is no plain file; bring the bundle anew")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}; the manifest names it, bring the bundle anew") from error
        if hashlib.sha256(data).hexdigest() == entry.sha256:
            return data
        if entry.bundle:
            raise BundleError(f"{path} is not what {self.path} was made with; make or teach {self.manifest.name} again")
        raise BundleError(f"{path} was altered: its SHA-256 is not the manifest's; bring the bundle anew")

    def read_weights(self, graph: Graph) -> bytes:
        """The verified weights of an openvino graph; nothing of another. Raises BundleError."""
        return self.read(graph.weights) if graph.weights else b""

    def read_arrays(self, entry: File, names: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
        """The arrays of an .npz file, or those of these names that it has; never a pickle. Raises BundleError."""
        data = self.read(entry)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                stems = {name.removesuffix(".npy"): name for name in archive.namelist()}
                wanted = stems if names is None else {stem: stems[stem] for stem in stems if stem in names}
                members = {stem: archive.read(name) for stem, name in wanted.items()}
            return {name: np.lib.format.read_array(io.BytesIO(m), allow_pickle=False) for name, m in members.items()}
        except (ValueError, OSError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"{self.where(entry)} is not a plain .npz file: {error}") from error


def open_bundle(path: Path, trusted: Trusted = NOBODY) -> Bundle:
    """Read a bundle's manifest; its files are read when they are used. Raises BundleError naming file and field.

    trusted: one of these keys has to have signed the manifest, which is checked before anything of it is parsed; where
    there are none, no signature is asked for.
    """
    data = _manifest_bytes(path)
    if trusted:
        check_signature(path, data, trusted)
    bundle = _parse(path, data)
    if trusted and bundle.manifest.name != path.name:
        raise BundleError(f"{path} holds the bundle {bundle.manifest.name}, signed under that name; name the folder so")
    return bundle


def sign_bundle(path: Path, key: Ed25519PrivateKey) -> str:
    """Sign a bundle whose every file is what its manifest says. Returns the key's fingerprint.

    Raises BundleError, DataError.
    """
    data = _manifest_bytes(path)
    bundle = _parse(path, data)
    for entry in bundle.files:
        bundle.read(entry)
    return sign_manifest(path, data, key)


def _manifest_bytes(path: Path) -> bytes:
    try:
        return (path / MANIFEST).read_bytes()
    except OSError as error:
        inside = sorted(found.parent.name for found in path.glob(f"*/{MANIFEST}"))
        advice = f"it holds bundles: name them, as {path / inside[0]}" if inside else "is this a bundle?"
        raise BundleError(f"cannot read {path / MANIFEST}: {error.strerror}; {advice}") from error


def _parse(path: Path, data: bytes) -> Bundle:
    manifest_path = path / MANIFEST
    try:
        manifest = from_toml(data, Manifest)
    except ValueError as error:
        raise BundleError(f"{manifest_path}: {error}") from error
    if manifest.format != FORMAT_VERSION:
        raise BundleError(f"{manifest_path}: format {manifest.format}; this edge reads format {FORMAT_VERSION}")
    return Bundle(path, manifest, hashlib.sha256(data).hexdigest())
