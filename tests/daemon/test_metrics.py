"""What a scrape shows, after the Prometheus conventions, and that names off the bus cannot fill it."""

from __future__ import annotations

import re
import socket
import threading
import time
import urllib.request
from pathlib import Path

from prometheus_client import generate_latest

from edge.config import JournalConfig, Line
from edge.daemon.metrics import MOST, STAGES, Metrics
from edge.inspection.assemble import open_pipeline
from edge.journal.writer import Journal
from edge.records import Alarm, PartVerdict, Verdict

# prometheus.io/docs/practices/naming: base units, which `promtool check metrics` asks for
SCALED = ("_ms", "_milliseconds", "_us", "_ns", "_minutes", "_mb", "_percent")


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def verdict(**fields: object) -> Verdict:
    told: dict[str, object] = {"camera": "cam0", "evaluation": 1, "reason": "ok", "fail_safe": False, "surface": "dark"}
    told |= {"verdict_id": "s-0", "seq": 0, "session": "s", "line": "small"} | fields
    return Verdict(**told)  # type: ignore[arg-type]  # of these types, by the tests


def alarm(raised: bool) -> Alarm:
    return Alarm(
        line="small",
        camera="cam0",
        surface="dark",
        raised=raised,
        reason="light",
        feature="brightness",
        moved=("brightness",),
        value=0.1,
        usual=0.2,
        rank=0.0,
        since_ns=1,
        t_alarm_ns=2,
        detail="",
    )


def test_a_verdict_counts_for_its_camera_surface_evaluation_and_stages() -> None:
    metrics = Metrics()
    metrics.count(verdict(times_ns={"gate": 150_000, "total": 30_000_000}), missing=2)
    metrics.count(verdict(evaluation=3, reason="unseen_surface", surface=None))
    shown = page(metrics)
    assert 'edge_frames_total{camera="cam0"} 2.0' in shown
    assert 'edge_verdicts_total{evaluation="ok",reason="ok",surface="dark"} 1.0' in shown
    assert 'edge_verdicts_total{evaluation="not_decidable",reason="unseen_surface",surface="-"} 1.0' in shown
    assert 'edge_stage_seconds_bucket{le="0.0001",stage="gate"} 0.0' in shown
    assert 'edge_stage_seconds_bucket{le="0.0002",stage="gate"} 1.0' in shown
    assert 'edge_stage_seconds_sum{stage="total"} 0.03' in shown
    assert 'edge_frames_lost_total{camera="cam0",kind="missing"} 2.0' in shown


def test_lateness_is_of_late_verdicts_alone() -> None:
    metrics = Metrics()
    for late_ns in (-5_000_000, 0, 3_000_000):
        metrics.count(verdict(deadline_ns=10**18, t_verdict_ns=10**18 + late_ns))
    metrics.count(verdict())
    shown = page(metrics)
    assert "edge_lateness_seconds_count 1.0" in shown and "edge_lateness_seconds_sum 0.003" in shown


def test_what_stands_now_is_asked_for_at_each_scrape(tmp_path: Path) -> None:
    metrics, waiting = Metrics(), [1, 2, 3]
    journal = Journal(tmp_path, "small", JournalConfig(folder=str(tmp_path)))
    metrics.watch_queues(lambda: {"inference": len(waiting)})
    metrics.watch_journal(journal)
    assert "edge_journal_lag_seconds 0.0" in page(metrics) and "edge_journal_position -1.0" in page(metrics)
    journal.append(b"verdict/small/-/1", b"body")
    time.sleep(0.01)
    assert 'edge_queue_depth{queue="inference"} 3.0' in page(metrics)
    waiting.pop()
    shown = page(metrics)
    assert 'edge_queue_depth{queue="inference"} 2.0' in shown
    lag = re.search(r"^edge_journal_lag_seconds (.*)$", shown, re.MULTILINE)
    assert lag and 0.01 <= float(lag[1]) < 10 and "edge_journal_position 0.0" in shown
    journal.close()
    assert "edge_journal_lag_seconds 0.0" in page(metrics)


def test_what_is_open_replaces_what_was(small_line: Line, own_cache: object) -> None:
    metrics, pipeline = Metrics(), open_pipeline(small_line)
    metrics.graphs(pipeline.models)
    metrics.graphs(pipeline.models[1:])
    metrics.replaced()
    metrics.ready(True)
    pipeline.close()
    shown = page(metrics)
    found = re.findall(r"^edge_graph_info\{(.*)\} 1.0$", shown, re.MULTILINE)
    assert found == ['bundle="smoother",device="cpu",engine="onnx",precision="fp32"']
    assert "edge_engine_replacements_total 1.0" in shown and "edge_ready 1.0" in shown


def test_an_alarm_stands_until_it_is_over() -> None:
    metrics = Metrics()
    series = 'edge_drift_alarm{camera="cam0",reason="light",surface="dark"}'
    for raised in (True, False):
        metrics.alarm(alarm(raised))
        assert f"{series} {float(raised)}" in page(metrics)


def test_drops_losses_and_parts_have_their_reasons() -> None:
    metrics = Metrics()
    metrics.count(verdict(evaluation=0, reason="overload", graphs={}))
    metrics.lost("cam0", "repeated")
    metrics.lost("cam0", "out_of_order", 3)
    part = {"verdict_id": "s-part-0", "seq": 0, "session": "s", "line": "small", "part_id": "p"}
    metrics.count_part(
        PartVerdict(**part, evaluation=0, reason="incomplete", fail_safe=True, frames=(), expected=3)  # type: ignore[arg-type]  # as above
    )
    shown = page(metrics)
    assert 'edge_drops_total{reason="overload"} 1.0' in shown
    assert 'edge_frames_lost_total{camera="cam0",kind="repeated"} 1.0' in shown
    assert 'edge_frames_lost_total{camera="cam0",kind="out_of_order"} 3.0' in shown
    assert 'edge_parts_total{evaluation="undefined",reason="incomplete"} 1.0' in shown


def test_a_camera_that_makes_up_names_does_not_fill_the_page() -> None:
    metrics = Metrics()
    for number in range(MOST + 500):
        metrics.count(verdict(camera=f"cam{number}"))
    found = re.findall(r'^edge_frames_total\{camera="(.*)"\} (.*)$', page(metrics), re.MULTILINE)
    assert len(found) == MOST + 1 and dict(found)["others"] == "500.0"


def test_names_follow_the_conventions() -> None:
    assert STAGES[0] <= 0.0001 and STAGES[-1] >= 1
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page(Metrics()), re.MULTILINE):
        assert re.fullmatch(r"edge_[a-z][a-z_]*[a-z]", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert not name.removesuffix("_total").endswith(SCALED), name
        assert kind != "histogram" or name.endswith("_seconds"), name


def test_counting_from_several_threads_loses_nothing() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.count(verdict(times_ns={"gate": 1000}))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 'edge_frames_total{camera="cam0"} 2000.0' in page(metrics)


def test_a_scrape_comes_over_http_on_loopback() -> None:
    metrics = Metrics()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    metrics.serve(port)
    shown = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert "edge_ready 0.0" in shown
