"""edge-bench in every scenario: a small line really run, by itself and through its daemon; how it ends early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.bench.ceiling import Ceiling
from edge.bench.cli import main
from edge.bench.load import Asked, Case, line_cases, line_frames
from edge.bench.open_loop import in_turn, wait_until
from edge.bench.report import Report, make_report
from edge.bench.sampling import BATCHES, Budget, Samples, take
from edge.bench.scenarios import Plan
from edge.bench.through_bus import bus_case
from edge.bench.watch import judge as judge_machine
from edge.bench.watch import read as read_machine
from edge.config import Line
from edge.errors import EngineError
from edge.records import Frame

pytestmark = pytest.mark.usefixtures("own_cache")

FRAME = Frame(np.zeros((2, 2), np.uint8), 255)
OWN_COST_NS = 20_000
SERVICE_S = 0.004


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)], catch_exceptions=False)


def rows(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code in (0, 1, 3), done.output
    report: dict[str, Any] = json.loads(done.stdout)
    return list(report["rows"])


def nothing(_: Frame) -> dict[str, int]:
    return {"frame": 0}


def slow(_: Frame) -> dict[str, int]:
    began = perf_counter_ns()
    time.sleep(SERVICE_S)
    return {"frame": perf_counter_ns() - began}


def quiet(_: str, __: float) -> None:
    pass


def test_a_line_at_its_own_rate_is_timed_from_the_scheduled_arrival(small_line: Line) -> None:
    (row,) = rows(
        bench(
            *(small_line.path, "--scenario", "line", "--rate", 40, "--jitter-ms", 2, "--burst", 2),
            *("--seconds", 1, "--target-ms", 1e4, "--json"),
        )
    )
    assert (row["scenario"], row["rate"]) == ("line", 40)
    assert row["rate_kept"] and row["missed"] < row["frames"]
    assert row["throughput"] == pytest.approx(40, rel=0.3)
    assert row["queue"] >= 1, "the second of a burst waits for the first"
    assert len(row["latency_ms"]) == len(row["frame_ms"]) == row["frames"]
    assert all(latency >= frame for latency, frame in zip(row["latency_ms"], row["frame_ms"], strict=True))
    assert [check["stage"] for check in row["checks"]] == ["latency"]


def test_the_same_seed_gives_the_same_arrivals_to_each_case(small_line: Line) -> None:
    done = bench(
        *(small_line.path, "--level", "graph", "--level", "pipeline", "--scenario", "server"),
        *("--rate", 50, "--seconds", 1, "--seed", 7, "--json"),
    )
    graph, pipeline = rows(done)
    assert [graph["level"], pipeline["level"]] == ["graph", "pipeline"]
    assert [graph["chosen"], pipeline["chosen"]] == [False, True]
    assert graph["stages"]["run"]["p50_ms"] < pipeline["stages"]["frame"]["p50_ms"]
    assert json.loads(done.stdout)["plan"]["seed"] == 7


def test_multi_stream_waits_for_the_last_camera(small_line: Line) -> None:
    (row,) = rows(bench(small_line.path, "--scenario", "multi", "--cameras", 3, "--seconds", 1, "--json"))
    frames, queries = row["frame_ms"], row["latency_ms"]
    assert len(frames) == 3 * len(queries)
    for number, latency in enumerate(queries):
        assert latency >= sum(frames[3 * number : 3 * number + 3])


def test_offline_is_throughput_alone(small_line: Line) -> None:
    arguments = (small_line.path, "--level", "graph", "--level", "pipeline", "--scenario", "offline", "--seconds", 1)
    told = bench(*arguments, "--target-ms", 1e-6)
    assert told.exit_code == 0, "no target is compared"
    assert "offline, 1 at once" in told.stdout and "frames/s" in told.stdout
    graph, pipeline = rows(bench(*arguments, "--json"))
    assert graph["batch"] in BATCHES and pipeline["batch"] == 1
    assert graph["throughput"] > pipeline["throughput"] > 0
    assert not graph["checks"] and not graph["latency_ms"]


def test_offline_takes_the_batch_that_gives_most_and_none_that_the_graph_refuses() -> None:
    """Three milliseconds a run and one a frame, up to eight frames at once."""

    def batch(size: int) -> Callable[[], None]:
        def run() -> None:
            if size > 8:
                raise EngineError("the graph is made for eight at most")
            time.sleep(0.003 + 0.001 * size)

        return run

    case = Case("in batches", True, nothing, batch=batch)
    (samples,) = take([case], [FRAME], Budget(100, 5), quiet, Plan("offline"))
    assert samples.batch == 8 and samples.frames == 128 and not samples.why
    assert 400 < samples.throughput < 8 / 0.011


def reported(samples: Samples, plan: Plan) -> Report:
    machine = judge_machine(read_machine(), read_machine())
    return make_report("slow", "line", 1, 1, [samples], 0.99, plan, machine, Ceiling(1.0, None, 1))


def test_a_server_at_twice_its_capacity_has_a_growing_latency_and_does_not_keep_the_rate() -> None:
    plan = Plan("server", 2 / SERVICE_S)
    (samples,) = take([Case("slow", True, slow, targets={"frame": 1e6})], [FRAME], Budget(300, 10), quiet, plan)
    latency = np.array(samples.stages["latency"])
    quarters = [part.mean() for part in np.array_split(latency, 4)]
    assert all(later > 1.2 * earlier for earlier, later in pairwise(quarters)), quarters
    assert samples.throughput < 0.7 * plan.rate
    assert samples.queue > 50 and samples.missed > 200 and not samples.rate_kept
    report = reported(samples, plan)
    assert report.answer == "FAIL", "whatever the target"


def test_a_server_at_half_its_capacity_keeps_the_rate() -> None:
    (samples,) = take([Case("slow", True, slow)], [FRAME], Budget(150, 10), quiet, Plan("server", 0.5 / SERVICE_S))
    assert samples.rate_kept and samples.frames == 150


def test_a_rate_that_no_box_keeps_is_said_and_fails(small_line: Line) -> None:
    done = bench(small_line.path, "--scenario", "server", "--rate", 50_000, "--runs", 1000)
    assert done.exit_code == 1
    assert "RATE NOT KEPT" in done.stdout.replace("\n", " ")


def test_each_case_begins_its_turn_with_an_empty_queue() -> None:
    """A case that is too slow does not make the one beside it wait."""
    cases = [Case("slow", True, slow), Case("quick", False, nothing)]
    slow_one, quick = take(cases, [FRAME], Budget(300, 4), quiet, Plan("line", 1.5 / SERVICE_S))
    assert not slow_one.rate_kept and quick.rate_kept
    assert np.median(quick.stages["latency"]) < SERVICE_S * 1e9 / 2


def test_the_tools_own_cost_is_below_twenty_microseconds_a_sample() -> None:
    """Of a thousand frames that take no time, the best of some runs: a busy neighbour only ever adds."""
    cases = [Case("nothing", True, nothing)]
    plans = {"single": Plan(), "multi": Plan("multi", cameras=2), "line": Plan("line", 1e9), "offline": Plan("offline")}
    for name, plan in plans.items():
        costs = [own_cost_ns(take(cases, [FRAME], Budget(1000, 10), quiet, plan)[0]) for _ in range(3)]
        print(f"{name}: {min(costs):.0f} ns a sample")
        assert min(costs) < OWN_COST_NS, (name, costs)


def own_cost_ns(samples: Samples) -> float:
    return samples.elapsed_ns / samples.frames


def test_a_frame_begins_within_microseconds_of_its_arrival() -> None:
    late = []
    for _ in range(50):
        instant = perf_counter_ns() + 2_000_000
        wait_until(instant)
        late.append(perf_counter_ns() - instant)
    assert min(late) >= 0
    assert np.percentile(late, 25) < OWN_COST_NS


def test_frames_that_come_at_once_are_served_in_order() -> None:
    now = perf_counter_ns()
    served = list(in_turn(nothing)([FRAME] * 5, [now] * 5))
    assert [one.number for one in served] == [0, 1, 2, 3, 4]
    assert all(before.done <= after.began for before, after in pairwise(served))


@pytest.mark.parametrize("plan", [Plan(), Plan("multi", cameras=2), Plan("line", 200.0), Plan("offline")])
def test_a_device_that_vanishes_half_way_leaves_its_samples_and_the_others_go_on(plan: Plan) -> None:
    def vanishing() -> Iterator[dict[str, int]]:
        for _ in range(60):
            yield {"frame": 1000}
        raise EngineError("the device is gone")

    answers = vanishing()
    cases = [Case("gone", True, lambda _: next(answers)), Case("stays", False, nothing)]
    gone, stays = take(cases, [FRAME], Budget(100, 5), quiet, plan)
    assert "the device is gone" in gone.why and 0 < gone.frames < 60
    assert len(gone.at) == gone.frames == len(gone.stages["frame"])
    assert not stays.why and stays.frames >= 100


def test_graph_pipeline_and_bus_stand_in_one_table(small_line: Line) -> None:
    done = bench(
        *(small_line.path, "--through-bus", "--scenario", "line", "--rate", 40, "--seconds", 2),
        *("--target-ms", 1e4, "--json"),
    )
    graph, pipeline, bus = rows(done)
    assert [row["level"] for row in (graph, pipeline, bus)] == ["graph", "pipeline", "bus"]
    assert [row["chosen"] for row in (graph, pipeline, bus)] == [False, False, True]
    assert {"decode", "gate", "run", "publish", "frame", "latency"} <= set(bus["stages"])
    assert bus["frames"] >= 20 and not bus["lost"] and not bus["refused"] and bus["rate_kept"]
    assert graph["stages"]["latency"]["p50_ms"] < bus["stages"]["latency"]["p50_ms"]
    assert bus["graphs"] and all(ran in pipeline["graphs"] for ran in bus["graphs"])
    assert done.exit_code == 3 and [check["stage"] for check in bus["checks"]] == ["latency"]


@pytest.mark.parametrize("arguments", [["single"], ["multi", "--cameras", 3], ["offline"]])
def test_closed_loops_go_through_the_bus_too(small_line: Line, arguments: list[object]) -> None:
    (row,) = rows(bench(small_line.path, "--level", "bus", "--seconds", 1, "--json", "--scenario", *arguments))
    assert row["frames"] >= 8 and not row["lost"] and row["throughput"] > 0
    assert ("latency" in row["stages"]) == (arguments[0] != "offline")


def test_a_daemon_that_refuses_frames_fails(small_line: Line, tmp_path: Path) -> None:
    """A deadline that no frame can meet."""
    config = tmp_path / "line.toml"
    text = small_line.path.read_text().replace('bundles = "."', f'bundles = "{small_line.bundles}"')
    config.write_text(text.replace("threads = 1", "threads = 1\ndeadline_ms = 0.001"))
    done = bench(config, "--level", "bus", "--scenario", "line", "--rate", 40, "--runs", 20)
    assert done.exit_code == 1
    told = done.stdout.replace("\n", " ")
    assert "20 refused" in told and "late" in told


def test_a_daemon_that_dies_leaves_its_samples_and_the_pipeline_goes_on(small_line: Line) -> None:
    (alone,) = line_cases(small_line, Asked(("onnx",)), lambda _: None)
    frames = line_frames(small_line)

    def kill_daemon(doing: str, share: float) -> None:
        if doing == "measuring" and share < 0.6:
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    with bus_case(small_line, alone, frames, 1, lambda _: None) as bus:
        pipeline, through = take([alone, bus], frames, Budget(float("inf"), 2.5), kill_daemon, Plan("line", 40.0))
    alone.close()
    assert "the daemon ended with -9" in through.why
    assert 0 < through.frames < pipeline.frames and not pipeline.why


def test_a_daemon_that_cannot_start_says_why_and_the_pipeline_is_measured(
    small_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path may have 107 characters."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    done = bench(small_line.path, "--level", "pipeline", "--level", "bus", "--runs", 8)
    assert done.exit_code == 12 and "cannot connect to ipc://" in done.stderr
    assert "could not run" in done.stdout and "onnx: single stream" in done.stdout
    assert not list(folder.iterdir())


def children() -> list[int]:
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return [int(pid) for pid in own.read_text().split() if "edge.cli" in command_of(pid)]


def command_of(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_keep_what_was_measured_and_leave_nothing_behind(
    small_line: Line, number: signal.Signals
) -> None:
    arguments = "--through-bus --json --scenario line --rate 40 --seconds 100"
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.bench.cli", "run", str(small_line.path), *arguments.split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": folder},
        )
        assert process.stderr
        next(line for line in process.stderr if "frames at ipc://" in line)
        daemon = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(daemon) == 1
        time.sleep(6)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        measured = json.loads(out)["rows"]
        assert [row["level"] for row in measured] == ["graph", "pipeline", "bus"]
        assert measured[0]["frames"] > 0
        assert not Path(f"/proc/{daemon[0]}").exists()
        assert not list(Path(folder).iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scenario", "server"], "needs --rate"),
        (["--scenario", "line"], "needs --rate"),
        (["--rate", 5], "--rate is for --scenario server and line"),
        (["--scenario", "server", "--rate", 5, "--burst", 2], "--burst is for --scenario line"),
        (["--scenario", "offline", "--cameras", 2], "--cameras is for --scenario multi"),
    ],
)
def test_an_option_that_the_scenario_lacks_or_has_no_use_for_is_wrong_usage(
    small_line: Line, arguments: list[object], told: str
) -> None:
    done = bench(small_line.path, *arguments)
    assert done.exit_code == 2 and told in done.stderr


def test_a_bundle_has_no_daemon(small_line: Line) -> None:
    done = bench(small_line.bundles / "smoother", "--through-bus")
    assert done.exit_code == 2 and "line's TOML file" in done.stderr
