"""What the service may do on its box, as `systemd-analyze security --offline` rates it: 0 is nothing, 10 all."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tools.faults_suite.outcome import Bounds, Outcome, Say, Scale
from tools.faults_suite.station import ROOT

CPU, GPU = 1.5, 2.0
BOUND = f"at most {CPU} (CPU), {GPU} (GPU)"


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    bounds, rated = Bounds(), dict[str, float]()
    if shutil.which("systemd-analyze") is None:
        return Outcome("not at all", "systemd-analyze is not here", BOUND)
    folder.mkdir()
    text = (ROOT / "systemd" / "edge@.service").read_text().replace("/opt/edge/bin/edge", "/bin/true")
    drop_ins = sorted((ROOT / "systemd").rglob("*gpu*.conf"))
    for name, more in {"CPU": "", **({"GPU": drop_ins[0].read_text()} if drop_ins else {})}.items():
        unit = folder / f"edge-{name}@.service"
        unit.write_text(text + more)
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        assert found, done.stderr or done.stdout[-400:]
        rated[name] = float(found[1])
        bounds.hold(rated[name] <= (GPU if more else CPU), f"{name}: {rated[name]}")
    found_text = ", ".join(f"{value} ({name})" for name, value in rated.items())
    say(found_text)
    return Outcome("the unit", found_text, BOUND, bounds.missed, rated)
