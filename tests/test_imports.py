"""The direction of the imports, and what the line PC must never load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edge

PACKAGE = Path(edge.__file__).parent

# A room uses its own floor and those below it.
FLOORS = (
    {"address", "errors", "mistakes", "ownership", "vision", "records", "config", "binomial"},
    {"bundle", "bundle_signature", "certificate", "engines", "golden", "signing"},
    {"inspection", "terminal", "command", "drift"},
    {"journal"},
    {"bus"},
    {"daemon"},
    {"cli", "keys_cli"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
COMMANDS = {
    *(
        "edge.bench.cli",
        "edge.doctor.cli",
        "edge.install.cli",
        "edge.offline.cli",
        "edge.offline.adopt_cli",
        "edge.offline.graphs_cli",
        "edge.offline.good_cli",
    )
}
# Beside the bus: they use inspection and below, and cli uses their commands alone. bench also plays a line's camera and
# its subscriber, and writes the config of the daemon that it starts; doctor listens to a running line; install reads
# its keys.
BESIDE = {"bench", "doctor", "install", "offline"}
HEIGHTS = {
    "bench": FLOOR["bus"],
    "doctor": FLOOR["bus"],
    "install": FLOOR["bus"],
    "offline": FLOOR["inspection"],
}
WRITE_TOML = {"bench", "offline"}
ROOMS = FLOOR.keys() | BESIDE
OFFLINE_ONLY = {
    "torch",
    "onnx",
    "nncf",
    "litert_torch",
    "ai_edge_quantizer",
    "kornia",
    "sklearn",
    "onnxslim",
}


def imported(source: str) -> set[str]:
    """Every module that the source names, wherever the import stands; for `from edge import x`, `edge.x`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {f"edge.{alias.name}" for alias in node.names} if module == "edge" else {module}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports() -> list[tuple[Path, str, str]]:
    """(file, its room, a module it imports), for all of edge/ but its __init__.py."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    return [(path, room_of(path), module) for path in files for module in sorted(imported(path.read_text()))]


def may_use(room: str, used: str, module: str) -> bool:
    if room == used:
        return True
    if used in BESIDE:
        return (room == "cli" and module in COMMANDS) or (room, used) == ("bench", "doctor")
    return FLOOR[used] <= (HEIGHTS | FLOOR)[room]


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= ROOMS


def test_imports_go_down_only() -> None:
    upwards = []
    for path, room, module in imports():
        used = module.removeprefix("edge.").split(".")[0] if module.startswith("edge.") else ""
        if used in ROOMS and not may_use(room, used, module):
            upwards.append(f"{path}: {room} uses {module}")
    assert not upwards


def test_one_room_for_each_heavy_or_outer_thing() -> None:
    astray = []
    for path, room, module in imports():
        top = module.split(".")[0]
        owners = {"zmq": {"bus"}, "tomli_w": WRITE_TOML} | {name: {"offline"} for name in OFFLINE_ONLY}
        if room not in owners.get(top, {room}) or top in ("tools", "tests"):
            astray.append(f"{path} imports {module}")
    assert not astray


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_the_command_loads_nothing_of_training(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "import edge.cli\n"
        f"edge.cli.main({arguments!r}, standalone_mode=False)\n"
        "print('loaded:', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rsplit("loaded:", 1)[1].split())
    beside = {name for name in loaded if name.startswith(tuple(f"edge.{room}" for room in BESIDE))}
    rooms = {"edge.doctor", "edge.install", "edge.offline"}
    assert beside == rooms | COMMANDS - {"edge.bench.cli"}
    outer = {name.split(".")[0] for name in loaded}
    assert not outer & (OFFLINE_ONLY | {"tomli_w", "tools", "onnxruntime", "openvino", "ai_edge_litert"})
