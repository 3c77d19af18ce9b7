"""The commands of `edge` that make and compare graphs: export, quantize, parity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.command import JSON, PATHS, need, to_json
from edge.errors import EngineError

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.offline.parity_run import Parity

# What exporters and quantisers are made of: the extra `train`.
EXPORTERS = ("torch", "litert_torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "openvino")
QUANTISERS = ("torch", "onnx", "onnxruntime", "openvino", "nncf", "ai_edge_litert", "ai_edge_quantizer")


@click.command()
@click.argument("model", type=PATHS, metavar="MODEL.pt2|MODEL.onnx")
@click.option("--manifest", required=True, type=PATHS, help="TOML with the manifest's keys: what the network is for.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The bundle's folder.")
@click.option("--arrays", type=PATHS, help="The .npz that a gate or a density needs.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["openvino", "tflite", "fp16"]),
    default=("openvino", "tflite", "fp16"),
    show_default=True,
    help="What is wanted besides FP32 ONNX. openvino: halves, for Intel graphics; fp16: ONNX in halves, for NVIDIA's.",
)
@JSON
def export(
    model: Path, manifest: Path, out: Path, arrays: Path | None, formats: tuple[str, ...], as_json: bool
) -> None:
    """Make a bundle from a trained network: a torch.export program (.pt2), or ONNX.

    \b
    .pt2    saved by torch.export.save, its batch axis dynamic: becomes ONNX, OpenVINO's own format and TFLite
    .onnx   one file with its weights inside: becomes ONNX and OpenVINO's own format (TFLite from a .pt2 alone)

    The manifest names kind, surfaces, input, outputs, thresholds, scoring, targets and training, as in any bundle of
    exported_models; graph, golden, arrays, measured and parity are made here. Batch norms and constants are folded; the
    manifest's mean and std too where that is exact (the manifest then says 0 and 1). Every graph is compared with the
    model on a golden frame before the bundle appears, whole or not at all. Next: edge quantize, edge parity.
    """
    need("train", "edge export", *EXPORTERS)
    from edge.offline.export_bundle import export_bundle
    from edge.offline.report import progress_bar

    with progress_bar() as progress:
        bundle, apart = export_bundle(model, manifest, out, arrays, progress, formats)
    if as_json:
        click.echo(to_json({"bundle": str(bundle.path), "sha256": bundle.sha256, "apart": apart}))
        return
    click.echo(f"{bundle.path}: {', '.join(graph.file for graph in bundle.manifest.graph)}")
    for name, share in apart.items():
        click.echo(f"{name} differs from the model by {share:.1e} of its range")


@click.command()
@click.argument("bundle", type=PATHS)
@click.option(
    "--calibration", required=True, multiple=True, type=PATHS, help="A folder of images, as the line's; repeatable."
)
@click.option("--recipe", type=PATHS, help="Do as this recipe.toml says: its images, its settings.")
@click.option("--count", default=64, show_default=True, type=click.IntRange(min=8), help="How many images are chosen.")
@click.option("--seed", default=1, show_default=True, help="Of whatever is drawn.")
@click.option(
    "--allowed",
    default=0.05,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Error of the outputs, as a share of their deviation, from which on layers are given back to float.",
)
@click.option("--most", default=3, show_default=True, help="So many layers may stay in float.")
@click.option(
    "--into",
    default=Path("calibration"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where BUNDLE/recipe.toml is written.",
)
@JSON
def quantize(
    bundle: Path,
    calibration: tuple[Path, ...],
    recipe: Path | None,
    count: int,
    seed: int,
    allowed: float,
    most: int,
    into: Path,
    as_json: bool,
) -> None:
    """Make a BUNDLE's INT8 graphs, one for each engine, from its FP32 ones.

    \b
    CALIBRATION/<surface>/{train,test}/{good,<kind>}/*    any subset; or any folder of images of the one surface

    The images are chosen, not taken: as many of each surface, half of them defective where there are any, the farthest
    apart by what the FP32 network answers. recipe.toml keeps their names, digests and the seed, so that the same graphs
    can be made again, bit for bit. Weights are rounded so that each layer answers as before; then each layer is
    quantised alone, and those that INT8 hurts stay in float as long as that helps. Next: edge parity.
    """
    need("train", "edge quantize", *QUANTISERS)
    from edge.bundle import open_bundle
    from edge.offline.calibrate import read_recipe, write_recipe
    from edge.offline.quantize_bundle import quantize_bundle
    from edge.offline.quantize_report import layers_table, notes
    from edge.offline.report import print_tables, progress_bar

    again = read_recipe(recipe) if recipe else None
    with progress_bar() as progress:
        opened = open_bundle(bundle)
        made, int8, drawn = quantize_bundle(opened, calibration, progress, again, count, seed, allowed, most)
    where = write_recipe(into / made.manifest.name, drawn)
    if as_json:
        search = {"whole": int8.search.whole, "left": int8.search.left, "layers": int8.search.layers}
        files = {name: len(data) for name, data in int8.files.items()}
        told = {"bundle": str(bundle), "recipe": str(where), "files": files, "left_out": int8.left_out}
        click.echo(to_json({**told, "search": search}))
    else:
        print_tables([layers_table(int8)], [*notes(int8), f"calibrated on {drawn.count} images: {where}"])


@click.command()
@click.argument("bundle", type=PATHS)
@click.argument("data", nargs=-1, required=True, type=PATHS, metavar="DATA...")
@click.option("--fold", type=int, help="Only images of this fold, by the column `fold` of each DATA/split.csv.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images a surface, spread over its kinds.")
@click.option(
    "--program", type=PATHS, help="The torch program (.pt2) that the graphs were exported from, compared too."
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the answers here; what is kept is not run again.",
)
@click.option(
    "--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture of the worst frames (PNG)."
)
@click.option("--record", is_flag=True, help="Write the result into the bundle's manifest.")
@click.option("--drop", is_flag=True, help="Take graphs that are not right out of the bundle.")
@click.option("--into", type=PATHS, help="Put the bundle into this folder (exported_models) if its parity passes.")
@click.option("--threads", default=2, show_default=True, help="Threads an engine may use.")
@JSON
def parity(
    bundle: Path,
    data: tuple[Path, ...],
    fold: int | None,
    limit: int | None,
    program: Path | None,
    keep: Path | None,
    sheet: Path | None,
    record: bool,
    drop: bool,
    into: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Does every graph of a BUNDLE say what its FP32 graph says, on real frames?

    DATA: labelled folders as for `edge evaluate`, or any folder of images. Each graph runs on each engine that reads
    it; the verdicts are then compared with those of FP32 on ONNX Runtime, and the times taken in turn.

    \b
    flips    frames whose verdict is another: outside the guard band (2 % of the score's range)/all
    to OK    those of them that pass though FP32 rejects them: outside the guard band/all
    apart    difference of the score as a share of its range: median, and most
    IoU      overlap of the boxes of frames that both reject, and how far their centres are apart in pixels
    AUROC    of the frames' scores, and AUPRO of the pixels; lost: FP32's less this graph's

    Passed: outside the guard band no flip to OK and at most 0.5 % flips; AUROC less by at most 0.005, AUPRO by 0.02.
    Exit code 1 where it is not.
    """
    need("train", "edge parity --program", *(["torch"] if program else []))
    from edge.bundle import open_bundle
    from edge.offline.amend import copy_bundle
    from edge.offline.parity_report import parity_tables, remarks, write_sheet
    from edge.offline.parity_run import check_parity
    from edge.offline.report import print_tables, progress_bar

    opened = open_bundle(bundle)
    with progress_bar() as progress:
        found, samples, answers = check_parity(opened, data, progress, fold, limit, program, keep, threads)
    if as_json:
        click.echo(to_json({"passed": found.passed, **{f: getattr(found, f) for f in found.__struct_fields__}}))
    else:
        print_tables(parity_tables(found), remarks(found))
    if sheet is not None:
        write_sheet(sheet, samples, answers)
    if record or drop or into:
        folds = f" --fold {fold}" if fold is not None else ""
        found = _record(opened, found, f"edge parity BUNDLE DATA{folds}", drop, whole=bool(record or into))
    if not found.passed:
        raise SystemExit(1)
    if into is not None:
        copy_bundle(open_bundle(bundle), into / bundle.resolve().name)


def _record(bundle: Bundle, found: Parity, command: str, drop: bool, whole: bool) -> Parity:
    """Into the manifest; first, where it is wanted, what is not right out of the bundle. whole: only where all that is
    left was run. Raises EngineError."""
    from edge.offline.amend import drop_graphs, set_parity
    from edge.offline.parity_run import for_manifest, without, wrong_graphs

    dropped = wrong_graphs(found) if drop else {}
    if dropped:
        found = without(found, drop_graphs(bundle, dropped))
        click.echo(f"dropped: {', '.join(dropped)}", err=True)
    left = [file for file in found.unchecked if file not in dropped]
    if left and whole:
        raise EngineError(
            f"{', '.join(left)}: not run, as INT8 of ONNX Runtime and OpenVINO overflows on a processor without VNNI; "
            "nothing is recorded before they are checked on one that has it, or taken out of the bundle"
        )
    set_parity(bundle.path, for_manifest(found, command, dropped))
    return found
