"""Thresholds of an imported network: from the command, from good images, or from what the export says."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from edge.bundle import Bundle, Thresholds
from edge.engines.session import Engine, open_graph
from edge.errors import BundleError
from edge.inspection.files import read_frame
from edge.inspection.model import Model
from edge.inspection.score_map import ScoreMapJudge
from edge.offline.adopt_answer import Plan
from edge.offline.adopt_wanted import Wanted
from edge.offline.anomalib import KEYS, LABEL, MAP, MASK, SCORE, Export, Generation
from edge.offline.foreign import Network
from edge.offline.progress import Progress
from edge.offline.teach_line import good_images

SAY = "give --threshold and --map-threshold, or --good with a folder of pictures of good parts to set them on"


def read_limits(
    network: Network, export: Export, made_by: Generation | None
) -> tuple[dict[str, tuple[float, str]], bool]:
    """What the export says of its thresholds, before outputs are cut off; and whether its answers lie in 0..1."""
    limits: dict[str, tuple[float, str]] = {}
    if made_by in ("0.x", "1.x"):
        for role, key in KEYS.items():
            limit = export.limit(key)
            if limit is not None:
                limits[role] = limit, f"{key} of {export.where.name}, of the graph's raw answers, rejected from it on"
    if made_by != "2.x":
        return limits, False
    bounded = network.clamped(SCORE) and network.clamped(MAP)
    for role, answer, decided in (("score", SCORE, LABEL), ("map", MAP, MASK)):
        asked = network.compared_with(decided) if decided in network.answers() else None
        if asked is not None:
            limits[role] = asked, f"{asked:g}, which the graph asked of {answer} for {decided}"
        elif bounded:
            limits[role] = 0.5, f"0.5, where the graph's own normalisation of {answer} puts it"
    return limits, bounded


def choose_thresholds(
    plan: Plan, export: Export, wanted: Wanted, trial: Bundle, engine: Engine, show: Progress
) -> tuple[Thresholds, int]:
    """Each from the command, else from good images, else from the export; and how many images that took."""
    limits = dict(plan.limits)
    asked = {"score": wanted.threshold, "map": wanted.map_threshold}
    images = 0
    if wanted.good and None in asked.values():
        limits, images = _from_good(wanted, trial, engine, show)
    limits |= {role: (value, "given to edge import") for role, value in asked.items() if value is not None}
    for role, key in KEYS.items():
        if role not in limits:
            lacks = f"{export.where} lacks a usable {key}" if export.metadata else f"{export.graph} has no threshold"
            raise BundleError(f"{lacks}, which says what {role} is too high: {SAY}")
        value = limits[role][0]
        if not np.isfinite(value):
            raise BundleError(f"a {role} threshold of {value} is no finite number: {SAY}")
        if value < 0 and plan.shape.centre != plan.shape.size:
            raise BundleError(f"a {role} threshold of {value:g}: the rim that the network does not see has 0, above it")
        if (plan.bounded or wanted.answer == "logit") and not 0 <= value < 1:
            raise BundleError(f"a {role} threshold of {value:g}: the answers lie in 0..1, so none would be above it")
    how = "; ".join(f"{role}: {limits[role][1]}" for role in ("score", "map"))
    return Thresholds(score=limits["score"][0], map=limits["map"][0], how=how), images


def _from_good(
    wanted: Wanted, trial: Bundle, engine: Engine, show: Progress
) -> tuple[dict[str, tuple[float, str]], int]:
    """Quantiles of good pictures' scores and of their maps' largest values, by the judge that the line opens."""
    images = good_images(wanted.good)
    graph = trial.manifest.graph[0]
    scores, peaks = [], []
    with closing(open_graph(engine, trial, graph, 2, "cpu")) as session:
        judge = ScoreMapJudge(Model(trial, graph, session), None)
        for number, path in enumerate(images):
            ((score, found),) = judge.score_all([read_frame(path)])
            scores.append(score)
            peaks.append(float(found.max()))
            show("good images", number + 1, len(images))
    share = f"{wanted.pass_good:.0%} of {len(images)} good images"
    return {
        "score": (float(np.quantile(scores, wanted.pass_good)), f"{share} stay below"),
        "map": (float(np.quantile(peaks, wanted.pass_good)), f"the largest of {share} stay below"),
    }, len(images)
