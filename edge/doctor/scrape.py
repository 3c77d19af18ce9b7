"""The daemon's own metrics as rows: ready, what waits, what was dropped, lost or late, engines, drift, journal."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from edge.config import LineConfig
from edge.doctor.diagnosis import Diagnosis

TIMEOUT_S = 2.0
MOST_BYTES = 16 * 1024 * 1024
FULL = 0.5  # of the frames that may wait
MOST_DROPPED = 0.01  # of all frames
MOST_LAG_S = 1.0

Samples = dict[str, dict[tuple[str, ...], float]]  # by name, then by the labels' values in the order of their names


def scrape(port: int) -> Samples:
    """Raises OSError, http.client.HTTPException, ValueError where that is no page of metrics."""
    from prometheus_client.parser import text_string_to_metric_families

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read(MOST_BYTES).decode()
    finally:
        connection.close()
    found: Samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = float(sample.value)
    return found


def metrics(config: LineConfig) -> list[Diagnosis]:
    port = config.metrics_port
    if not port:
        return [Diagnosis("metrics", "note", "metrics_port = 0: queues, drops and alarms are told to nobody")]
    try:
        samples = scrape(port)
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = f"127.0.0.1:{port} does not answer as edge's metrics do: {error}"
        return [Diagnosis("metrics", "problem", found, "restart the daemon, or give the line another metrics_port")]
    if "edge_ready" not in samples:
        found = f"127.0.0.1:{port} answers, and is no daemon of edge's"
        return [Diagnosis("metrics", "problem", found, "give the line another metrics_port")]
    return told(samples, config)


def told(samples: Samples, config: LineConfig) -> list[Diagnosis]:
    """A row for each thing that is counted."""
    frames = sum(samples.get("edge_frames_total", {}).values())
    return [
        _ready(samples),
        _queues(samples.get("edge_queue_depth", {}), config.limits.waiting),
        _engines(samples, config),
        _drops(samples.get("edge_drops_total", {}), frames),
        _lost(samples.get("edge_frames_lost_total", {})),
        _late(samples, frames),
        *([_drift(samples.get("edge_drift_alarm", {}))] if config.drift else []),
        *([_lag(samples.get("edge_journal_lag_seconds", {}))] if config.journal else []),
    ]


def _ready(samples: Samples) -> Diagnosis:
    if any(samples["edge_ready"].values()):
        return Diagnosis("ready", "ok", "the line is inspected")
    return Diagnosis("ready", "problem", "not ready: it is still starting, or stopping", "wait, then look at its log")


def _queues(depths: Mapping[tuple[str, ...], float], most: int) -> Diagnosis:
    found = ", ".join(f"{labels[0]} {depth:g}" for labels, depth in depths.items())
    waiting = depths.get(("waiting",), 0.0)
    if waiting < FULL * most:
        return Diagnosis("queues", "ok", f"{found} (waiting: at most {most})")
    advice = "frames come faster than the engines: fewer frames, fewer threads elsewhere, or a faster engine"
    return Diagnosis("queues", "warning", f"{found} (waiting: at most {most})", advice)


def _engines(samples: Samples, config: LineConfig) -> Diagnosis:
    """What runs where; the labels of edge_graph_info are bundle, device, engine, precision."""
    graphs = [labels for labels in samples.get("edge_graph_info", {}) if len(labels) == 4]
    found = "; ".join(f"{bundle} on {engine} {device} {precision}" for bundle, device, engine, precision in graphs)
    replaced = sum(samples.get("edge_engine_replacements_total", {}).values())
    on_cpu = config.device == "gpu" and all(device == "cpu" for _, device, _, _ in graphs)
    if replaced:
        found += f"; opened anew {replaced:g} times"
    if not (replaced or on_cpu):
        return Diagnosis("engines", "ok", found)
    advice = "the log says why they failed; edge doctor --config checks the box"
    return Diagnosis("engines", "warning", found + ('; the line says device = "gpu"' if on_cpu else ""), advice)


def _drops(drops: Mapping[tuple[str, ...], float], frames: float) -> Diagnosis:
    dropped = sum(drops.values())
    found = f"{dropped:g} of {frames:g} frames were not looked at"
    if not dropped:
        return Diagnosis("drops", "ok", found)
    found += f": {', '.join(f'{labels[0]} {count:g}' for labels, count in drops.items())}"
    if dropped <= MOST_DROPPED * frames:
        return Diagnosis("drops", "note", found)
    return Diagnosis("drops", "warning", found, "edge watch shows each one's reason in a sentence")


def _lost(lost: Mapping[tuple[str, ...], float]) -> Diagnosis:
    if not sum(lost.values()):
        return Diagnosis("lost frames", "ok", "none, by the cameras' numbers")
    found = ", ".join(f"{' '.join(labels)} {count:g}" for labels, count in lost.items())
    return Diagnosis("lost frames", "warning", found, "look at the camera's sender and its queue")


def _late(samples: Samples, frames: float) -> Diagnosis:
    late = sum(samples.get("edge_lateness_seconds_count", {}).values())
    found = f"{late:g} of {frames:g} verdicts were past their deadline"
    if late <= MOST_DROPPED * frames:
        return Diagnosis("late verdicts", "note" if late else "ok", found)
    advice = "compare deadline_ms with edge-bench run --through-bus"
    return Diagnosis("late verdicts", "warning", found, advice)


def _drift(alarms: Mapping[tuple[str, ...], float]) -> Diagnosis:
    standing = [" ".join(labels) for labels, raised in alarms.items() if raised]
    if not standing:
        return Diagnosis("drift", "ok", "no alarm stands")
    advice = "look at light, exposure, focus and product; a change that is meant wants a new reference: edge reference"
    return Diagnosis("drift", "warning", f"alarms stand: {'; '.join(standing)}", advice)


def _lag(lags: Mapping[tuple[str, ...], float]) -> Diagnosis:
    lag = max(lags.values(), default=0.0)
    if lag <= MOST_LAG_S:
        return Diagnosis("journal lag", "ok", f"{1000 * lag:.0f} ms")
    return Diagnosis("journal lag", "warning", f"{lag:.1f} s", "the disk is slow or full; verdicts wait for it")
