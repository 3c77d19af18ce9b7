"""A line as a service of a real systemd: installed, started, killed, checked, with its key as a credential."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.config import Line
from edge.errors import ConfigError
from tests.install.test_install import write
from tests.systemd_box import can_boot, run_on_a_box

pytestmark = pytest.mark.skipif(not can_boot(), reason="no systemd can be started here: root and namespaces are needed")

SCRIPT = """
edge keys new small && edge keys new scada -o keys || exit 1
edge install --config small.toml --bundles {bundles} --key small.key --selfbench || exit 2
edge install --config plain.toml --bundles {bundles} || exit 3
systemd-sysusers && systemctl daemon-reload || exit 4
edge keys allow keys/scada.pub --config /etc/edge/small.toml --as subscriber
systemctl start edge@small edge@plain || exit 5
edge doctor --live --config /etc/edge/small.toml --key keys/scada.key --server-key small.pub --json > live.json
stat -c '%U %a' /run/credentials/edge@small.service/small.key /var/lib/edge/small /run/edge/small > modes
systemctl start edge-selfbench@small; systemctl show -P Result edge-selfbench@small > selfbench
ls /var/lib/edge/small/selfbench >> selfbench
systemctl kill -s KILL edge@plain; sleep 2
until [ "$(systemctl show -P ActiveState edge@plain)" = active ]; do sleep 0.2; done
systemctl show -P NRestarts edge@plain > restarts
echo 'treads = 2' | cat - /etc/edge/plain.toml > changed && cp changed /etc/edge/plain.toml
systemctl restart edge@plain; sleep 2
for property in ActiveState ExecMainStatus NRestarts; do systemctl show -P $property edge@plain; done > refused
edge install --config small.toml --remove --json > remove.json
systemctl disable --now edge@small && edge install --config small.toml --remove || exit 6
ls /etc/systemd/system /etc/edge > left
"""


@pytest.fixture(scope="module")
def box(small_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script left behind."""
    folder = tmp_path_factory.mktemp("box")
    write(folder, '[security]\nkey = "small.key"\n[journal]\nfolder = "/var/lib/edge/small"\n')
    write(folder, name="plain")
    said = run_on_a_box(folder, SCRIPT.format(bundles=small_line.bundles))
    assert (folder / "rc").read_text() == "0\n", said
    return folder


def words(path: Path) -> list[str]:
    return path.read_text().split()


def test_the_line_runs_hardened_and_is_found_well(box: Path) -> None:
    rows = {row["check"]: row for row in json.loads((box / "live.json").read_text())}
    assert not [row for row in rows.values() if row["state"] == "problem"]
    assert {rows[name]["state"] for name in ("daemon", "service", "heard", "journal", "bundles")} == {"ok"}
    assert "inspecting line small" in rows["service"]["found"]


def test_its_key_is_a_credential_that_the_service_alone_reads(box: Path) -> None:
    assert words(box / "modes") == ["edge", "400", "edge", "750", "edge", "750"]


def test_its_self_check_runs_beside_it(box: Path) -> None:
    result, *files = words(box / "selfbench")
    assert result == "success" and len(files) == 1 and files[0].endswith(".json")


def test_a_line_without_a_key_starts_and_is_started_again_when_it_is_killed(box: Path) -> None:
    assert words(box / "restarts") == ["1"]


def test_a_wrong_config_keeps_it_down(box: Path) -> None:
    assert words(box / "refused") == ["failed", str(ConfigError.exit_code), "0"]


def test_it_is_not_removed_while_it_runs(box: Path) -> None:
    assert "disable --now edge@small" in json.loads((box / "remove.json").read_text())["problems"][0]
    left = words(box / "left")
    assert "small.toml" not in left and {"plain.toml", "edge@.service"} <= set(left)
