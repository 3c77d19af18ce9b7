"""The Grafana dashboard asks for what the daemon exports, and stands as Grafana reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from edge.daemon.metrics import Metrics

NAME = re.compile(r"\bedge_\w+")
SERIES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
COLUMNS = 24


@pytest.fixture(scope="module")
def dashboard(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "systemd" / "edge-dashboard.json").read_text())
    return found


def exported() -> dict[str, str]:
    """Each metric's kind by its name, as a scrape tells it."""
    page = generate_latest(Metrics().registry).decode()
    return {
        name.removesuffix("_total") if kind == "counter" else name: kind
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE)
        if not name.endswith("_created")
    }


def test_each_query_asks_for_series_that_are_exported(dashboard: dict[str, Any]) -> None:
    there = {f"{name}{suffix}" for name, kind in exported().items() for suffix in SERIES[kind]}
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in NAME.findall(re.sub(r"\{[^}]*\}", "", target["expr"]))
    }
    asked |= {name for variable in dashboard["templating"]["list"] for name in NAME.findall(variable["query"])}
    assert asked and not asked - there


def test_each_metric_is_on_a_panel(dashboard: dict[str, Any]) -> None:
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert not [name for name in exported() if not re.search(rf"\b{name}", asked)]


def test_each_panel_is_whole_and_has_a_place_of_its_own(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"] and panel["type"] and panel["targets"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= COLUMNS and not cells & taken
        taken |= cells


def test_it_is_brought_by_its_own_name_and_asks_for_a_source(dashboard: dict[str, Any]) -> None:
    assert dashboard["uid"] == "edge-inspection" and dashboard["schemaVersion"] >= 36
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "instance"]
    assert "id" not in dashboard, "an id is of the Grafana that it was saved from"
