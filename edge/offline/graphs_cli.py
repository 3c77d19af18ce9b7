"""The commands of `edge` that make and compare graphs: export, quantize, parity."""

from __future__ import annotations

from pathlib import Path

import click

from edge.command import JSON, PATHS, to_json


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
    into: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Does every graph of a BUNDLE say what its FP32 graph says, on real frames?

    DATA: labelled folders as for `edge evaluate`, or any folder of images. Each graph runs on each engine that reads
    it; the verdicts are then compared with those of FP32 on ONNX Runtime, and the times taken in turn.

    \b
    flips    frames whose verdict is another
    to OK    those that pass though FP32 rejects them: outside the guard band (2 % of the score's range)/all
    apart    difference of the score as a share of its range: median, and most
    IoU      overlap of the boxes of frames that both reject, and how far their centres are apart in pixels
    AUROC    of the frames' scores, and AUPRO of the pixels; lost: FP32's less this graph's

    Passed: no flip to OK outside the guard band, at most 0.5 % flips, AUROC less by at most 0.005, AUPRO by 0.02.
    Exit code 1 where it is not.
    """
    from edge.bundle import open_bundle
    from edge.offline.pack import copy_bundle, set_parity
    from edge.offline.parity_report import parity_tables, remarks, write_sheet
    from edge.offline.parity_run import check_parity, for_manifest
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
    if record or into:
        folds = f" --fold {fold}" if fold is not None else ""
        set_parity(bundle, for_manifest(found, f"edge parity BUNDLE DATA{folds}"))
    if not found.passed:
        raise SystemExit(1)
    if into is not None:
        copy_bundle(open_bundle(bundle), into / bundle.name)
