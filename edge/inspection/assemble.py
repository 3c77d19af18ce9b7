"""From a line's config to an open pipeline: bundles verified, engines chosen, golden frames run."""

from __future__ import annotations

from collections.abc import Callable

from edge.bundle import Bundle, Graph, open_bundle
from edge.config import Line
from edge.engines.choose import check_installed, choose, measure_all
from edge.engines.measure import example_batch
from edge.engines.session import Engine, open_session
from edge.errors import ConfigError
from edge.inspection.gate import Gate
from edge.inspection.judge import Judge
from edge.inspection.model import Model
from edge.inspection.pipeline import Pipeline
from edge.inspection.reconstruction import ReconstructionJudge
from edge.inspection.segdec import SegDecJudge
from edge.verify import check_golden

JUDGES: dict[str, type[SegDecJudge] | type[ReconstructionJudge]] = {
    "segdec": SegDecJudge,
    "reconstruction": ReconstructionJudge,
}


def line_bundles(line: Line) -> dict[str, Bundle]:
    """The bundles that a line names, by name, the gate first. Raises BundleError, ConfigError naming file and field."""
    config = line.config
    names = ([config.gate] if config.gate else []) + [judge.bundle for judge in config.judges.values()]
    bundles = {name: open_bundle(line.bundles / name) for name in dict.fromkeys(names)}
    if config.gate and bundles[config.gate].manifest.kind != "gate":
        raise ConfigError(f'{line.path}: gate = "{config.gate}": that bundle is a {bundles[config.gate].manifest.kind}')
    for surface, judge in config.judges.items():
        manifest, where = bundles[judge.bundle].manifest, f"{line.path}: judges.{surface}: "
        if manifest.kind not in JUDGES:
            raise ConfigError(f"{where}the bundle {judge.bundle} is a {manifest.kind}, not a judge")
        if surface not in manifest.surfaces:
            raise ConfigError(f"{where}the bundle {judge.bundle} knows {', '.join(manifest.surfaces)} only")
        if config.gate and surface not in bundles[config.gate].manifest.surfaces:
            raise ConfigError(f"{where}the gate {config.gate} was never taught that surface; no frame would reach it")
    return bundles


def _nothing(_: str) -> None:
    pass


def open_pipeline(line: Line, say: Callable[[str], None] = _nothing) -> Pipeline:
    """Open everything a line needs and run each golden frame once, which also warms the engines up.

    say: told in a sentence what is being done. Raises ConfigError, BundleError, EngineError, MissingExtra.
    """
    config = line.config
    check_installed(config.engine)
    bundles = line_bundles(line)
    chosen = choose_graphs(line, list(bundles.values()), say)
    models: dict[str, Model] = {}
    for name, bundle in bundles.items():
        engine, graph = chosen[name]
        session = open_session(engine, bundle.read(graph), config.threads, config.device)
        check_golden(bundle, graph, session)
        session.run(example_batch(bundle))  # at the size of a real frame, so that the first part does not pay for it
        models[name] = Model(bundle, graph, session)
        say(f"{name}: {models[name].runs_on}")
    gate = Gate(models[config.gate]) if config.gate else None
    judges: dict[str, Judge] = {}
    for surface, judge in config.judges.items():
        make = JUDGES[bundles[judge.bundle].manifest.kind]
        judges[surface] = make(models[judge.bundle], judge.threshold)
    return Pipeline(gate, judges)


def choose_graphs(line: Line, bundles: list[Bundle], say: Callable[[str], None]) -> dict[str, tuple[Engine, Graph]]:
    rows = measure_all(bundles, line.config.threads, line.config.device, say)
    return {bundle.path.name: choose(bundle, line.config.engine, rows[bundle.sha256]) for bundle in bundles}
