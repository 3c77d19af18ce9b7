"""`engine = "auto"`: the fastest graph of a bundle on this box, measured once by each version of edge and kept."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from edge import __version__
from edge.bundle import Bundle, Graph
from edge.engines.cores import shared_out
from edge.engines.processor import info, int8_overflows
from edge.engines.session import ENGINES, PACKAGES, READS, Device, Engine, installed, readable
from edge.errors import EngineError, MissingExtra

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "openvino", "ai-edge-litert", "tflite-runtime")
TIMEOUT_S = 100
NO_ANSWER = f"no answer within {TIMEOUT_S} s"
# How many times as fast a second engine has to be: it takes 90 MB, and such as are near change places by noise.
WORTH = 1.5


class Row(msgspec.Struct, frozen=True):
    """One measured (engine, graph). ms: lower quartile of one frame's batch or one box's, or None with `why`."""

    engine: Engine
    file: str
    ms: float | None = None
    why: str = ""


def cache_folder() -> Path:
    """systemd's cache folder, the user's otherwise."""
    given = os.environ.get("CACHE_DIRECTORY")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "edge"


def package_versions() -> dict[str, str]:
    """Of edge and of the engines that are installed here."""
    versions = {"edge": __version__}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def box_fingerprint() -> str:
    """What a measurement depends on besides bundle, threads and device: processor, versions of edge and the engines."""
    without = " without VNNI" if int8_overflows() else ""
    cpu = f"{info().get('model name', platform.processor())}{without} x{os.cpu_count()}"
    return ", ".join([cpu, *(f"{name} {number}" for name, number in package_versions().items())])


def graphics(root: Path = Path("/")) -> list[str]:
    """What an engine may find of GPUs: where one comes or is taken away, the fastest graph is another."""
    files = [*(root / "dev").glob("nvidia[0-9]*"), *(root / "dev/dri").glob("renderD*")]
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return sorted(path.name for path in files) + ([] if shown is None else [f"CUDA_VISIBLE_DEVICES={shown}"])


def _cache_file(bundle: Bundle, threads: int, device: Device) -> Path:
    key = f"{bundle.sha256} {threads} {device} {box_fingerprint()}"
    key += "" if device == "cpu" else f" {graphics()}"
    key += " on cores of their own" if shared_out(threads)[0] else ""
    return cache_folder() / f"choice-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _read_cache(path: Path) -> list[Row] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Row]) or None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None  # not measured yet, or half-written: measure


def _write_cache(path: Path, rows: list[Row]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(rows))
        partial.replace(path)
    except OSError:
        pass  # a read-only box measures again at the next start


def measure_all(
    bundles: Sequence[Bundle], threads: int, device: Device, say: Callable[[str], None]
) -> dict[str, list[Row]]:
    """Rows for each bundle by its digest, kept from an earlier start or measured now, one child process an engine.

    Raises BundleError for a missing or altered graph before anything is measured.
    """
    files = {bundle.sha256: _cache_file(bundle, threads, device) for bundle in bundles}
    kept = {digest: _read_cache(file) for digest, file in files.items()}
    rows: dict[str, list[Row]] = {digest: found or [] for digest, found in kept.items()}
    missing = [bundle for bundle in bundles if kept[bundle.sha256] is None]
    for bundle in missing:
        for file in (file for graph in bundle.manifest.graph for file in graph.files):
            bundle.read(file)
    for engine in ENGINES if missing else ():
        if installed(engine) and any(readable(engine, b.manifest.graph) for b in missing):
            what = f"{len(missing)} bundles" if len(missing) > 1 else missing[0].path.name
            say(f"measuring {what} on {engine} (once for this box and version)")
            for bundle, measured in zip(missing, _measure_apart(engine, missing, threads, device), strict=True):
                rows[bundle.sha256] += measured
    for bundle in missing:
        if any(row.ms is not None for row in rows[bundle.sha256]):
            _write_cache(files[bundle.sha256], rows[bundle.sha256])
    return rows


def _measure_apart(engine: Engine, bundles: list[Bundle], threads: int, device: Device) -> list[list[Row]]:
    command = [sys.executable, "-m", "edge.engines.measure", engine, str(threads), device]
    command += [str(bundle.path) for bundle in bundles]
    try:
        child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
        printed, complaint = child.stdout, child.stderr.strip().splitlines()[-1:]
        complaint = complaint or [f"the measuring process ended with {child.returncode}"]
    except subprocess.TimeoutExpired:
        printed, complaint = "", [NO_ANSWER]
    rows: list[list[Row]] = []
    for line in printed.splitlines():
        with suppress(msgspec.DecodeError):  # engines talk on stdout too, and one that dies may do so mid-line
            rows.append(msgspec.json.decode(line, type=list[Row]))
    lost = Row(engine, "-", None, complaint[0])
    return rows + [[lost]] * (len(bundles) - len(rows))


def _fastest_ms(rows: Sequence[Row], engine: Engine) -> float:
    return min((row.ms for row in rows if row.engine == engine and row.ms is not None), default=math.inf)


def common_engine(measured: Collection[Sequence[Row]]) -> Engine | None:
    """The engine on which bundles are fastest together, each on its fastest graph; None where none runs them all."""
    totals = {engine: sum(_fastest_ms(rows, engine) for rows in measured) for engine in ENGINES}
    best = min(ENGINES, key=lambda engine: totals[engine])
    return best if totals[best] < math.inf else None


def choose(bundle: Bundle, wanted: str, rows: list[Row], common: Engine | None = None) -> tuple[Engine, Graph]:
    """The fastest measured graph of the bundle's; for a named engine the fastest of its own. rows: perhaps of one that
    has more graphs, whose network it borrows. common: the engine of the line, left only for one that is WORTH it.
    Raises EngineError where none ran."""
    graphs = {(engine, g.file): g for engine in ENGINES for g in readable(engine, bundle.manifest.graph)}
    own = [row for row in rows if wanted in ("auto", row.engine) and (row.engine, row.file) in graphs]
    ran = [row for row in own if row.ms is not None]
    if not ran:
        check_installed(wanted)
        tried = "; ".join(f"{row.engine} {row.file}: {row.why}" for row in rows if row.why)
        why = tried or why_none(wanted, bundle.manifest.graph)
        raise EngineError(f"no graph of {bundle.path} runs on engine {wanted!r} here: {why}")

    def cost(row: Row) -> tuple[float, bool]:
        """INT8 last among equals: it has to be faster than FP32 on its engine to be worth its rounding."""
        ms = (row.ms or 0.0) * (WORTH if common and row.engine != common else 1)
        return ms, graphs[row.engine, row.file].precision == "int8"

    best = min(ran, key=cost)
    return best.engine, graphs[best.engine, best.file]


def why_none(wanted: str, graphs: Iterable[Graph]) -> str:
    """Why no engine that is wanted (`auto`: any) reads one of these."""
    engines = [engine for engine in ENGINES if wanted in ("auto", engine)]
    unfit = [g.file for g in graphs if g.precision == "int8" and any(g.format in READS[e] for e in engines)]
    if unfit and int8_overflows():
        told = f"{', '.join(unfit)} overflows on a processor without VNNI"
        return f"{told}; give it an FP32 graph, or LiteRT's INT8"
    return "no graph for it"


def candidates(graphs: Iterable[Graph], device: str) -> list[Graph]:
    """Those worth measuring on a device: an FP16 graph is for GPUs, a CPU turns it back into FP32 at each layer."""
    return [graph for graph in graphs if device != "cpu" or str(graph.precision) != "fp16"]


def to_try(engine: Engine, bundle: Bundle, device: Device) -> list[Graph]:
    """Those of a bundle that an engine may run best on the device; where there is no GPU at all, on the CPU."""
    where = "cpu" if device == "auto" and not graphics() else device
    return candidates(readable(engine, bundle.manifest.graph), where)


def check_installed(wanted: str) -> None:
    """Raises MissingExtra where the wanted engine, or any engine at all for `auto`, is not installed."""
    engines = [engine for engine in ENGINES if wanted in ("auto", engine)]
    if not any(installed(engine) for engine in engines):
        packages = " or ".join(PACKAGES[engine][0] for engine in engines)
        raise MissingExtra(packages, "all" if wanted == "auto" else wanted, f'engine = "{wanted}"')
