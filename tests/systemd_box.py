"""A systemd of one's own: process 1 of new namespaces, whose /etc, /opt, /run and /var are gone when it ends."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import edge

SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ("sysinit", "basic", "network", "multi-user", "timers", "shutdown", "box")
# /opt/edge as `pip install` makes it, out of what these tests run with: the unit hides /home and /root.
BOX = """
set -e
mount --make-rprivate / && mount --make-rshared /
for folder in /run /opt; do mount -t tmpfs box $folder; done
for folder in /etc /var/lib /var/cache; do
    mkdir -p /run/over$folder/upper /run/over$folder/work
    mount -t overlay over -o lowerdir=$folder,upperdir=/run/over$folder/upper,workdir=/run/over$folder/work $folder
done
mount -t tmpfs box /etc/systemd/system
mkdir -p /opt/edge/bin /opt/edge/python /opt/edge/site /opt/edge/source /run/units
mount --bind {python} /opt/edge/python
mount --bind {site} /opt/edge/site
mount --bind {source} /opt/edge/source
for program in edge:edge.cli edge-bench:edge.bench.cli; do
    cat > /opt/edge/bin/${{program%:*}} <<END
#!/bin/sh
export PYTHONPATH=/opt/edge/source:/opt/edge/site LD_LIBRARY_PATH=/opt/edge/python/lib PYTHONDONTWRITEBYTECODE=1
exec /opt/edge/python/bin/{name} -c "from ${{program#*:}} import main; main()" "\\$@"
END
    chmod 755 /opt/edge/bin/${{program%:*}}
done
for target in {targets}; do printf '[Unit]\\nDefaultDependencies=no\\n' > /run/units/$target.target; done
(until systemctl is-active -q box.target; do sleep 0.1; done
 cd {folder}
 PATH=/opt/edge/bin:$PATH bash -x script.sh
 echo $? > {folder}/rc
 kill -s RTMIN+14 1) > {folder}/said 2>&1 &
export container=box SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units
exec {systemd} --system --unit=box.target --log-target=console --log-level=warning
"""


def can_boot() -> bool:
    """Whether such a box can be made here: as root, with systemd, where namespaces and overlays are allowed."""
    if os.geteuid() or not SYSTEMD.is_file() or shutil.which("systemctl") is None:
        return False
    folders = "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work"
    overlay = f"mount -t tmpfs t /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay over -o {folders} /etc"
    return subprocess.run(["unshare", "-mpfCi", "sh", "-c", overlay], capture_output=True).returncode == 0


def run_on_a_box(folder: Path, script: str, timeout_s: float = 120) -> str:
    """Run a script as root under that systemd; what it said. folder: its working folder, outside /run, /opt, /etc."""
    (folder / "script.sh").write_text(script)
    box = BOX.format(
        python=shlex.quote(sys.base_prefix),
        site=shlex.quote(sysconfig.get_path("purelib")),
        source=shlex.quote(str(Path(edge.__file__).parent.parent)),
        name=f"python{sysconfig.get_python_version()}",
        targets=" ".join(TARGETS),
        folder=shlex.quote(str(folder)),
        systemd=SYSTEMD,
    )
    command = ["unshare", "-mpfCi", "--kill-child", "--mount-proc", "bash", "-c", box]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    said = folder / "said"
    told = (said.read_text() if said.exists() else "") + done.stdout + done.stderr
    assert (folder / "rc").exists(), told
    return told
