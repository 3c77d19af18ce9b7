"""From a line's config to an open pipeline: bundles verified, engines chosen, golden frames run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from edge.bundle import MANIFEST, Bundle, Graph, Manifest, open_bundle
from edge.bundle_signature import NOBODY, Trusted, read_trusted
from edge.command import need
from edge.config import JudgeConfig, Line
from edge.engines.choose import Row, check_installed, choose, common_engine, measure_all
from edge.engines.measure import example_batch
from edge.engines.session import ENGINES, Engine, Floats, Session, open_graph, readable
from edge.errors import BundleError, ConfigError, DataError
from edge.golden import check_golden
from edge.inspection.gate import Gate
from edge.inspection.judge import Judge, Scorer
from edge.inspection.kinds import Kinds
from edge.inspection.model import Looked, Model, one_batch
from edge.inspection.nearest import NearestJudge
from edge.inspection.pipeline import Pipeline
from edge.inspection.reconstruction import ReconstructionJudge
from edge.inspection.regions import Region, RegionJudge
from edge.inspection.score_map import ScoreMapJudge
from edge.inspection.segdec import SegDecJudge
from edge.records import Frame
from edge.vision.image import WHOLE, InputRule

TOGETHER = 3  # frames that a GPU is given at once; as many are decoded ahead of it (edge.daemon.ticket.READY)
JUDGES: dict[str, type[Scorer]] = {
    "segdec": SegDecJudge,
    "reconstruction": ReconstructionJudge,
    "nearest": NearestJudge,
    "map": ScoreMapJudge,
}


def line_bundles(line: Line) -> dict[str, Bundle]:
    """The bundles that a line names, by name, the gate first. Raises BundleError, ConfigError naming file and field."""
    config = line.config
    names = ([config.gate] if config.gate else []) + [
        name for judge in config.judges.values() for name in (*judge.bundles, judge.kinds) if name
    ]
    trusted = _trusted(line)
    for name in names:
        if not (line.bundles / name).is_dir():
            raise BundleError(f"{line.path} names the bundle {name}, and {_what_is_in(line.bundles)}")
    bundles = {name: open_bundle(line.bundles / name, trusted) for name in dict.fromkeys(names)}
    if config.gate and bundles[config.gate].manifest.kind != "gate":
        raise ConfigError(f'{line.path}: gate = "{config.gate}": that bundle is a {bundles[config.gate].manifest.kind}')
    for surface, judge in config.judges.items():
        where = f"{line.path}: judges.{surface}: "
        for name in judge.bundles:
            manifest = bundles[name].manifest
            if manifest.kind not in JUDGES:
                raise ConfigError(f"{where}the bundle {name} is a {manifest.kind}, not a judge")
            if surface not in manifest.surfaces:
                raise ConfigError(f"{where}the bundle {name} knows {', '.join(manifest.surfaces)} only")
        if judge.kinds:
            _check_kinds(bundles[judge.kinds].manifest, surface, where)
        if config.gate and surface not in bundles[config.gate].manifest.surfaces:
            raise ConfigError(f"{where}the gate {config.gate} was never taught that surface; no frame would reach it")
    return bundles


def _what_is_in(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}; see its key `bundles`"
    inside = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    return f"{folder} has {', '.join(inside) or 'none'}"


def _trusted(line: Line) -> Trusted:
    """The keys that one has to have signed each bundle with, where the line names any."""
    if line.config.security is None or not line.config.security.bundle_keys:
        return NOBODY
    need("certify", "a line that opens signed bundles alone", "cryptography")
    try:
        return read_trusted(line.path.parent / name for name in line.config.security.bundle_keys)
    except DataError as error:
        raise ConfigError(f"{line.path}: security.bundle_keys: {error}") from error


def _check_kinds(manifest: Manifest, surface: str, where: str) -> None:
    if manifest.kind != "kinds":
        raise ConfigError(f"{where}kinds: the bundle {manifest.name} is a {manifest.kind}, it tells no kinds of defect")
    if surface not in manifest.surfaces:
        raise ConfigError(f"{where}kinds: the bundle {manifest.name} knows {', '.join(manifest.surfaces)} only")


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
    opened: dict[tuple[Engine, str, str], tuple[Session, Looked]] = {}
    seen_whole = {judge.bundle for judge in config.judges.values() if not judge.regions}
    warm: set[tuple[tuple[Engine, str, str], InputRule]] = set()
    for name, bundle in bundles.items():
        engine, graph = chosen[name]
        golden = bundle.manifest.golden.sha256
        looked = engine, graph.sha256, golden
        # Else what the gate saw is all that it needs.
        if looked not in opened or bundle.manifest.input.tiles != WHOLE or name not in seen_whole:
            looked = engine, bundle.runs(graph).sha256, golden
        if looked not in opened:  # bundles that name the same files share a session, its golden frame run once
            session = open_graph(engine, bundle, graph, config.threads, config.device)
            check_golden(bundle, graph, session)
            opened[looked] = session, Looked()
        session, seen = opened[looked]
        if (looked, bundle.manifest.input) not in warm:
            warm_up(session, example_batch(bundle))
            warm.add((looked, bundle.manifest.input))
        models[name] = Model(bundle, graph, session, looked=seen, threads=config.threads)
        say(f"{name}: {models[name].runs_on}")
    gate = Gate(models[config.gate]) if config.gate else None
    judges = {surface: open_judge(judge, models) for surface, judge in config.judges.items()}
    kinds = {s: Kinds(models[j.kinds], bundles[j.bundle]) for s, j in config.judges.items() if j.kinds}
    together = TOGETHER if all(session.any_batch for session, _ in opened.values()) else 1
    return Pipeline(gate, judges, kinds, together)


def warm_up(session: Session, batch: Floats) -> None:
    """With a real frame's size, so that the first part does not pay for it; and with that of each number of frames that
    may come together, as a GPU's kernels are of one size. What takes images one by one, as a CPU does, gains nothing by
    more of them: the first frame would wait for the last one's."""
    for count in range(1, TOGETHER + 1 if session.any_batch else 2):
        session.run(one_batch([batch] * count))


def open_judge(judge: JudgeConfig, models: dict[str, Model]) -> Judge:
    """Over the whole frame, or over its regions. A threshold of the judge's is meant for the judge's own bundle.

    Raises BundleError where a bundle is not fit for its kind, or lacks the mode that is asked for.
    """
    if judge.mode == "dense":
        whole = {name: models[name] for name in judge.bundles}
        models = {name: replace(model, bundle=model.bundle.dense(), full=model.bundle) for name, model in whole.items()}

    def opened(bundle: str, threshold: float | None) -> Scorer:
        return JUDGES[models[bundle].manifest.kind](models[bundle], threshold)

    if not judge.regions:
        return opened(judge.bundle, judge.threshold)
    regions = []
    for name, region in judge.regions.items():
        inherited = judge.threshold if region.bundle in (None, judge.bundle) else None
        threshold = inherited if region.threshold is None else region.threshold
        regions.append(Region(name, region.boxes, opened(region.bundle or judge.bundle, threshold)))
    return RegionJudge(regions)


def inspector(model: Model, threshold: float | None = None) -> Callable[[Frame], object]:
    """What one bundle does with a frame; of kinds, which need a judge's map, the network alone. threshold: in place of
    the manifest's. Raises BundleError where its arrays are not what its kind needs."""
    kind = model.manifest.kind
    if kind == "kinds":
        Kinds(model, None)
        return model.look
    return Gate(model).admit if kind == "gate" else JUDGES[kind](model, threshold).inspect


def choose_graphs(line: Line, bundles: list[Bundle], say: Callable[[str], None]) -> dict[str, tuple[Engine, Graph]]:
    """The graph of each bundle, by its folder's name: the fastest, on one engine where little is lost by it; one that
    borrows another's network runs it as that one does."""
    rows = measure_line(line, bundles, say)
    # What several bundles run alike runs once, the gate's look at a frame for instance.
    alike = {}
    for bundle in bundles:
        files = tuple(graph.file for graph in bundle.manifest.graph)
        measured = rows[bundle.path.name]
        alike[id(measured), files, bundle.manifest.input.tiles] = own_rows(bundle, measured)
    common = common_engine(alike.values())
    return {bundle.path.name: choose(bundle, line.config.engine, rows[bundle.path.name], common) for bundle in bundles}


def own_rows(bundle: Bundle, rows: list[Row]) -> list[Row]:
    """Those of the graphs that the bundle has, for as many pictures as it looks at; rows: perhaps its lender's, which
    looks at each of its views."""
    files = {(engine, graph.file) for engine in ENGINES for graph in readable(engine, bundle.manifest.graph)}
    rule = bundle.manifest.input
    share = 1.0 if rule.tiles == WHOLE else rule.batch / len(rule.views)
    own = [row for row in rows if (row.engine, row.file) in files]
    return [msgspec.structs.replace(row, ms=None if row.ms is None else row.ms * share) for row in own]


def measure_line(line: Line, bundles: list[Bundle], say: Callable[[str], None]) -> dict[str, list[Row]]:
    """The measured rows that each bundle goes by, by its folder's name; bundles on one network share one list."""
    measured = {bundle.path.name: _lender(bundle, bundles) for bundle in bundles}
    apart = list({bundle.sha256: bundle for bundle in measured.values()}.values())
    rows = measure_all(apart, line.config.threads, line.config.device, say)
    return {name: rows[bundle.sha256] for name, bundle in measured.items()}


def _lender(bundle: Bundle, bundles: list[Bundle]) -> Bundle:
    """The bundle of the line that all its graphs belong to, whatever the tiles; itself where there is none."""
    names = {graph.bundle for graph in bundle.manifest.graph}
    rule = msgspec.structs.replace(bundle.manifest.input, tiles=WHOLE)
    same = [b for b in bundles if names == {b.path.name} and b.manifest.input == rule]
    return same[0] if same else bundle
