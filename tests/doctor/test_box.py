"""Boxes as their own /proc and /sys describe them, recorded in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.doctor import box, clock
from edge.doctor.gpu import gpu
from edge.engines.processor import int8_overflows

XEON = "model name\t: Intel(R) Xeon(R) Platinum 8480+\nflags\t\t: fpu sse4_2 avx2 avx512_vnni amx_int8 amx_bf16\n"
HASWELL = "model name\t: Intel(R) Core(TM) i5-4570 CPU @ 3.20GHz\nflags\t\t: fpu sse4_2 fma avx2\n"
ATOM = "model name\t: Intel(R) Atom(TM) CPU E3845\nflags\t\t: fpu sse4_2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"
VIRTUAL = "model name\t: AMD EPYC\nflags\t\t: fpu avx2 hypervisor avx512_vnni\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, words in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{words}\n")
    return root


def cores_of(places: list[tuple[int, int]], allowed: str) -> dict[str, str]:
    """places: package and core of each logical core."""
    files = {
        "sys/devices/system/cpu/online": f"0-{len(places) - 1}",
        "proc/self/status": f"Cpus_allowed_list:\t{allowed}",
    }
    for number, (package, core) in enumerate(places):
        topology = f"sys/devices/system/cpu/cpu{number}/topology"
        files |= {f"{topology}/physical_package_id": str(package), f"{topology}/core_id": str(core)}
    return files


@pytest.mark.parametrize(
    ("info", "state", "found"),
    [
        (XEON, "ok", "8480+: avx2, avx512_vnni, amx_int8"),
        (HASWELL, "note", "i5-4570 CPU @ 3.20GHz: avx2"),
        (ATOM, "warning", "neither AVX2 nor VNNI"),
        (ARM, "ok", "model unknown: asimddp"),
    ],
)
def test_the_processors_features_are_those_that_int8_lives_on(
    info: str, state: str, found: str, tmp_path: Path
) -> None:
    row = box.cpu(tree(tmp_path, {"proc/cpuinfo": info}))
    assert row.state == state and row.found.endswith(found)


def test_avx2_alone_is_told_to_gain_less_and_on_one_engine(tmp_path: Path) -> None:
    advice = box.cpu(tree(tmp_path, {"proc/cpuinfo": HASWELL})).advice
    assert advice.startswith("AVX2 only: INT8 gains little or nothing, and is run by LiteRT alone")


def test_avx512_without_vnni_is_called_what_it_is(tmp_path: Path) -> None:
    skylake = "model name\t: Intel(R) Xeon(R) Gold 6130\nflags\t\t: fpu avx2 avx512f avx512bw\n"
    row = box.cpu(tree(tmp_path, {"proc/cpuinfo": skylake}))
    assert row.state == "note" and row.advice.startswith("AVX-512 without VNNI: INT8 gains little or nothing")


@pytest.mark.parametrize(("info", "overflows"), [(XEON, False), (HASWELL, True), (VIRTUAL, False), (ARM, False)])
def test_int8_overflows_on_x86_without_vnni(info: str, overflows: bool, tmp_path: Path) -> None:
    assert int8_overflows(tree(tmp_path, {"proc/cpuinfo": info})) is overflows


def test_four_threads_on_two_cores_with_hyper_threads_share_them(tmp_path: Path) -> None:
    root = tree(tmp_path, cores_of([(0, 0), (0, 1), (0, 0), (0, 1)], "0-3"))
    assert box.cores(root, 2).state == "ok"
    row = box.cores(root, 4)
    assert row.state == "warning" and "on 2 physical cores" in row.found and "threads = 2" in row.advice


def test_cores_that_this_process_may_not_use_do_not_count(tmp_path: Path) -> None:
    root = tree(tmp_path, cores_of([(0, 0), (0, 1), (0, 2), (0, 3)], "2-2"))
    row = box.cores(root, 2)
    assert row.state == "warning" and "4 logical; this process may use 1" in row.found
    assert box.cores(root, None).state == "ok"


@pytest.mark.parametrize(
    "group",
    [
        {"proc/self/cgroup": "0::/system.slice/edge.service", "sys/fs/cgroup/system.slice/cpu.max": "150000 100000"},
        {
            "proc/self/cgroup": "5:cpuacct,cpu:/docker/abc\n1:memory:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    ],
)
def test_a_quota_of_any_group_above_is_found(group: dict[str, str], tmp_path: Path) -> None:
    root = tree(tmp_path, cores_of([(0, 0), (0, 1)], "0-1") | group)
    row = box.cores(root, 2)
    assert row.state == "warning" and "1.5 cores' time" in row.found
    assert box.cores(root, 1).state == "ok"
    assert "leave out awake" in box.cores(root, 2, awake=True).advice


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    group = {"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "max 100000", "sys/fs/cgroup/a/memory.max": "max"}
    root = tree(tmp_path, group)
    assert box.cpu_quota(root) is None and box.memory_limit(root) is None


@pytest.mark.parametrize(
    ("names", "state"),
    [(["performance"] * 2, "ok"), (["performance", "powersave"], "warning"), (["ondemand"], "warning")],
)
def test_a_governor_that_lets_cores_sleep_is_a_warning(names: list[str], state: str, tmp_path: Path) -> None:
    files = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": name for n, name in enumerate(names)}
    assert box.governor(tree(tmp_path, files)).state == state


def test_a_virtual_machine_has_no_governor(tmp_path: Path) -> None:
    row = box.governor(tree(tmp_path, {"proc/cpuinfo": VIRTUAL}))
    assert row.state == "note" and "virtual machine" in row.found


def test_memory_is_what_the_group_allows(tmp_path: Path) -> None:
    files = {"proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 5 kB\nMemAvailable:    8388608 kB"}
    root = tree(tmp_path, files)
    row = box.memory(root)
    assert row.state == "ok" and row.found == "16.0 GiB, 8.0 GiB available"
    tree(tmp_path, {"proc/self/cgroup": "4:memory:/box", "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2**28}"})
    row = box.memory(root)
    assert row.state == "warning" and "cgroup allows 0.2 GiB" in row.found
    tree(tmp_path, {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712"})
    assert box.memory(root).state == "ok"


def test_time_that_the_host_took_is_told(tmp_path: Path) -> None:
    assert box.stolen(tree(tmp_path, {"proc/stat": "cpu  900 0 50 45 0 0 0 5 0 0\ncpu0 1 1"})).state == "ok"
    row = box.stolen(tree(tmp_path, {"proc/stat": "cpu  800 0 50 50 0 0 0 100 0 0"}))
    assert row.state == "warning" and row.found.startswith("10.00%")


def test_a_box_that_tells_nothing_is_unknown_and_nothing_is_guessed(tmp_path: Path) -> None:
    rows = [look(tmp_path) for look in (box.cpu, box.governor, box.stolen, box.memory, clock.clock_source)]
    rows += [box.cores(tmp_path, 2), clock.clock(tmp_path, None, 2e9, 1e9)]
    assert all(row.state == "note" and row.found.startswith("unknown") for row in rows)


@pytest.mark.parametrize(
    "garbage", ["", "\x00\xff", "a:b", "max", "-1", "0-", "9-1 x", "cpu cpu cpu cpu cpu cpu cpu cpu cpu"]
)
def test_files_with_anything_in_them_raise_nothing(garbage: str, tmp_path: Path) -> None:
    names = ["cpuinfo", "meminfo", "stat", "self/status"]
    files = {f"proc/{name}": garbage for name in names} | {
        "proc/self/cgroup": f"{garbage}\n0::/a\n1:cpu:/../..\n2:memory:/b"
    }
    files |= {f"sys/fs/cgroup/{name}": garbage for name in ("a/cpu.max", "cpu/cpu.cfs_quota_us", "memory/b/memory.max")}
    files |= {"sys/devices/system/cpu/online": garbage, "sys/devices/system/cpu/cpu0/topology/core_id": garbage}
    root = tree(tmp_path, files)
    for look in (box.cpu, box.governor, box.stolen, box.memory):
        assert look(root).check
    assert box.cores(root, 2).check


CARD = {"sys/bus/pci/devices/0000:01:00.0/class": "0x030200", "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de"}
DRIVEN = {
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15\nGCC version: 12",
    "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA L4\nIRQ: 33",
    "dev/nvidia0": "",
}


def test_a_card_that_no_engine_sees_names_the_extra(tmp_path: Path) -> None:
    rows = gpu(tree(tmp_path, CARD | DRIVEN), {"onnx": ["CPUExecutionProvider"]}, "auto")
    assert rows[0].state == "note" and "NVIDIA L4" in rows[0].found and "550.54.15" in rows[0].found
    assert "extra `gpu`" in rows[0].advice and rows[1].state == "ok" and rows[1].found == "/dev/nvidia0"
    assert gpu(tmp_path, {}, "gpu")[0].state == "problem"


def test_a_card_that_an_engine_sees_is_fine(tmp_path: Path) -> None:
    seen = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    row = gpu(tree(tmp_path, CARD | DRIVEN), {"onnx": seen}, "gpu")[0]
    assert row.state == "ok" and "onnx sees CUDAExecutionProvider" in row.found and "--warm" in row.advice


def test_a_card_without_its_device_files_is_hidden_or_not_driven(tmp_path: Path) -> None:
    rows = gpu(tree(tmp_path, CARD), {}, "auto")
    assert rows[1].state == "warning" and "PrivateDevices" in rows[1].advice


def test_without_a_card_a_line_that_wants_one_has_a_problem(tmp_path: Path) -> None:
    drawing = {
        "sys/bus/pci/devices/0000:02:00.0/class": "0x030000",
        "sys/bus/pci/devices/0000:02:00.0/vendor": "0x1a03",
    }
    root = tree(tmp_path, drawing)  # a server's own, which computes nothing
    assert [row.state for row in gpu(root, {}, "auto")] == ["ok"]
    assert [row.state for row in gpu(root, {}, "gpu")] == ["problem"]


def test_intels_graphics_want_intels_driver(tmp_path: Path) -> None:
    card = {"sys/bus/pci/devices/0000:00:02.0/class": "0x030000", "sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086"}
    row = gpu(tree(tmp_path, card | {"dev/dri/renderD128": ""}), {"openvino": ["CPU"]}, "auto")[0]
    assert row.state == "note" and "intel-opencl-icd" in row.advice
    assert gpu(tmp_path, {"openvino": ["CPU", "GPU"]}, "auto")[0].state == "ok"


def test_the_clock_is_synchronised_or_not_and_never_before_edge_itself(tmp_path: Path) -> None:
    assert clock.clock(tmp_path, 0, 2e9, 1e9).state == "ok"
    row = clock.clock(tree(tmp_path, {"run/chrony/chronyd.pid": "1"}), clock.NOT_SYNCHRONISED, 2e9, 1e9)
    assert row.state == "warning" and "(chrony)" in row.found
    row = clock.clock(tmp_path, 0, 1e9, 2e9)
    assert row.state == "problem" and "2001-09-09" in row.found and "2033-05-18" in row.found
    tree(tmp_path, {clock.SYNCHRONISED: ""})
    assert clock.clock(tmp_path, clock.NOT_SYNCHRONISED, 2e9, 1e9).state == "ok"


def test_a_slow_clock_source_is_a_warning(tmp_path: Path) -> None:
    folder = "sys/devices/system/clocksource/clocksource0"
    files = {f"{folder}/current_clocksource": "hpet", f"{folder}/available_clocksource": "hpet acpi_pm"}
    row = clock.clock_source(tree(tmp_path, files))
    assert row.state == "warning" and row.found == "hpet (available: hpet acpi_pm)"
    assert clock.clock_source(tree(tmp_path, {f"{folder}/current_clocksource": "tsc"})).state == "ok"


def test_this_very_box_can_be_read() -> None:
    root = Path("/")
    assert box.cpu(root).found and box.memory(root).found and clock.kernel_state() in (None, *range(6))
    assert clock.written_at() > 1.5e9
