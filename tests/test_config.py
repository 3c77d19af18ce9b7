"""Every wrong line.toml ends in a ConfigError that names the file and the field."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.address import is_local
from edge.config import Line, read_line
from edge.errors import BundleError, ConfigError
from edge.inspection.assemble import line_bundles
from tests.lines import edit, write_line

GOOD = """line = "l1"
frames = "ipc:///tmp/f"
verdicts = "ipc:///tmp/v"
gate = "gate"
[judges]
pill = { bundle = "segdec-pill", threshold = 0.5 }
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "line.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_good_one_is_read_and_its_bundles_lie_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, 'bundles = "models"\n' + GOOD)
    line = read_line(path)
    assert line.path == path and line.bundles == tmp_path / "models" and len(line.sha256) == 64
    assert line.config.judges["pill"].threshold == 0.5 and line.config.engine == "auto"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('line = "l1"', "", "line"),
        ('frames = "ipc:///tmp/f"', "", "frames"),
        ("[judges]", "[juges]", "juges"),
        ('line = "l1"', 'line = "l1"\nspeed = 3', "speed"),
        ("threshold", "treshold", "treshold"),
        ("[judges]", "[limits]\npixel = 3\n[judges]", "pixel"),
        ("[judges]", "[limits]\npixels = 0\n[judges]", r"limits\.pixels"),
        ('line = "l1"', "line = 1", "line: "),
        ('line = "l1"', 'line = "a/b"', "line: "),
        ('line = "l1"', 'line = "-"', "line: "),
        ('line = "l1"', 'line = "l1\\n"', "line: "),
        ('gate = "gate"', "gate = true", "gate: "),
        ('gate = "gate"', 'gate = ".."', "gate: "),
        ('gate = "gate"', "", "without a gate"),
        ('gate = "gate"', 'gate = "gate"\nengine = "tensorrt"', "engine: "),
        ('gate = "gate"', 'gate = "gate"\ndevice = "npu"', "device: "),
        ('gate = "gate"', 'gate = "gate"\nthreads = 0', "threads: "),
        ('gate = "gate"', 'gate = "gate"\nthreads = "two"', "threads: "),
        ('gate = "gate"', 'gate = "gate"\ndeadline_ms = -1', "deadline_ms: "),
        ('gate = "gate"', 'gate = "gate"\ndeadline_ms = nan', "deadline_ms: "),
        ('gate = "gate"', 'gate = "gate"\ndeadline_ms = inf', "deadline_ms: "),
        ("[judges]", "[parts]\nframes = 0\nwithin_ms = 5\n[judges]", r"parts\.frames: "),
        ("[judges]", "[parts]\nframes = 3\n[judges]", "within_ms"),
        ("[judges]", "[parts]\nframes = 3\nwithin_ms = 0\n[judges]", r"parts\.within_ms: "),
        ("[judges]", "[parts]\nframes = 3\nwithin_ms = nan\n[judges]", r"parts\.within_ms: "),
        ("[judges]", "[parts]\nframes = 3\nwithin_ms = 5\nwaiting = 0\n[judges]", r"parts\.waiting: "),
        ("[judges]", "[parts]\nframes = 3\nwithin = 5\n[judges]", "within"),
        ("[judges]", "[journal]\nquota_mb = 100\n[judges]", "folder"),
        ("[judges]", '[journal]\nfolder = "j"\nquota_mb = 16\n[judges]', "two segments"),
        ("[judges]", '[journal]\nfolder = "j"\nfull = "hope"\n[judges]', r"journal\.full: "),
        ("[judges]", '[journal]\nfolder = "j"\nreplay = "ipc:///tmp/v"\n[judges]', r"journal\.replay"),
        ("[judges]", '[journal]\nfolder = "j"\nnear = nan\n[judges]', r"journal\.near: "),
        ('gate = "gate"', 'gate = "gate"\nrequire_certificate = true', "certificate_key"),
        ('gate = "gate"', 'gate = "gate"\nrequire_certificate = true\ncertificate = "c"', "certificate_key"),
        ('gate = "gate"', 'gate = "gate"\nmetrics_port = 70000', "metrics_port: "),
        ('gate = "gate"', 'gate = "gate"\nbundles = "a\\u0000b"', "bundles: "),
        ('verdicts = "ipc:///tmp/v"', 'verdicts = "ipc:///tmp/f"', "frames and verdicts"),
        ('verdicts = "ipc:///tmp/v"', 'verdicts = ""', "verdicts: "),
        ('"segdec-pill"', '"../pill"', r"judges\.pill\.bundle"),
        ('bundle = "segdec-pill", ', "", "bundle"),
        ("threshold = 0.5", 'threshold = "high"', "threshold: "),
        ('"ipc:///tmp/f"', '"tcp://0.0.0.0:5555"', r"frames = tcp://0\.0\.0\.0:5555.*edge keys new.*allow_plain"),
        ('"ipc:///tmp/v"', '"tcp://*:5555"', r"verdicts = tcp://.*allow_plain"),
        ("[judges]", "[security]\n[judges]", "key"),
        ("[judges]", '[security]\nkey = "k"\npeers = "p"\n[judges]', "peers"),
        ("[judges]", "[limits]\nframes_per_s = -1\n[judges]", r"limits\.frames_per_s"),
        ("threshold = 0.5", 'mode = "thick"', "mode: "),
        ("threshold = 0.5", 'mode = "dense", kinds = "kinds-pill"', "mode"),
        ("threshold = 0.5", "threshold = inf", "threshold = inf"),
        ("threshold = 0.5", "threshold = nan", "threshold = nan"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(old: str, new: str, named: str, tmp_path: Path) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if old == 'gate = "gate"' and not new:
        text += 'other = { bundle = "segdec-other" }\n'
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=named) as raised:
        read_line(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("ipc:///run/edge/frames", True),
        ("ipc://@abstract", True),
        ("inproc://frames", True),
        ("tcp://127.0.0.1:5555", True),
        ("tcp://127.9.9.9:*", True),
        ("tcp://[::1]:5555", True),
        ("tcp://localhost:5555", True),
        ("tcp://*:5555", False),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://[::]:5555", False),
        ("tcp://192.0.2.1:5555", False),
        ("tcp://eth0:5555", False),
        ("tcp://localhost.evil.example:5555", False),
        ("tcp://127.0.0.1.evil.example:5555", False),
        ("tcp://192.0.2.1:1;127.0.0.1:5555", False),
        ("ws://127.0.0.1:5555", False),
        ("udp://127.0.0.1:5555", False),
        ("tcp://", False),
        ("", False),
    ],
)
def test_an_address_stays_on_the_box_or_not(address: str, local: bool) -> None:
    assert is_local(address) == local


@pytest.mark.parametrize("more", ["allow_plain = true\n", ""])
def test_a_network_needs_keys_or_a_word_that_it_is_closed(tmp_path: Path, more: str) -> None:
    text = more + GOOD.replace("ipc:///tmp/f", "tcp://*:5555")
    if not more:
        text = text.replace("[judges]", '[security]\nkey = "daemon.key"\n[judges]')
    assert read_line(write(tmp_path, text)).config.frames == "tcp://*:5555"


@pytest.mark.parametrize(
    "data",
    [b"line = ", b"<xml/>", b"\xff\xfe\x00", b"line = '\xff'", b"a = " + b"[" * 9000, b"threads = " + b"1" * 5000],
)
def test_what_is_not_toml_is_refused(data: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    with pytest.raises(ConfigError, match="not TOML") as raised:
        read_line(path)
    assert str(path) in str(raised.value)


def test_a_folder_of_bundles_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises((ConfigError, BundleError), match="loop"):  # from Python 3.13 on, when it is opened
        line_bundles(read_line(write(tmp_path, 'bundles = "loop"\n' + GOOD)))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(ConfigError, match="--config") as raised:
            read_line(path)
        assert str(path) in str(raised.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 9))
def test_no_change_whatever_does_more_than_raise_a_config_error(tmp_path: Path, at: int, put: bytes, cut: int) -> None:
    data = GOOD.encode()
    with suppress(ConfigError):
        read_line(write(tmp_path, data[:at] + put + data[at + cut :]))


def changed(line: Line, folder: Path, old: str, new: str) -> Line:
    """The small line with one thing changed, its bundles where they are."""
    return read_line(edit(write_line(folder, line.bundles), old, new))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('gate = "gate"', 'gate = "smoother"', 'gate = "smoother".* reconstruction'),
        ('"smoother"', '"gate"', r"judges\.dark.*gate is a gate"),
        ("dark = {", "light = {", r"judges\.light.*smoother knows dark only"),
    ],
)
def test_a_bundle_in_the_wrong_place_is_named(small_line: Line, tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        line_bundles(changed(small_line, tmp_path, old, new))
    assert str(tmp_path / "line.toml") in str(raised.value)


def test_a_judge_that_no_frame_would_reach_is_refused(small_line: Line, tmp_path: Path) -> None:
    for name, surface in {"gate": "dark", "smoother": "velvet"}.items():
        manifest = (small_line.bundles / name / "manifest.toml").read_text()
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.toml").write_text(manifest.replace('"dark"', f'"{surface}"'))
    path = edit(write_line(tmp_path, "."), "dark = {", "velvet = {")
    with pytest.raises(ConfigError, match=r"judges\.velvet.*never taught"):
        line_bundles(read_line(path))


def test_a_bundle_that_is_not_there_is_named(small_line: Line, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"line\.toml names the bundle nowhere, .* has brittle, gate, smoother"):
        line_bundles(changed(small_line, tmp_path, '"smoother"', '"nowhere"'))
