"""A report as one HTML page that stands alone: no script, nothing fetched, light, dark and on paper. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edge.bench.given import Given, GivenRow
from edge.bench.plot_style import DARK, LIGHT, Plot
from edge.bench.report import LAST_STAGES, short

MEANING = {
    "PASS": "the p99 target is met, and the sample is large enough to say so",
    "FAIL": "the p99 target is not met",
    "INSUFFICIENT": "the sample is too small to say whether the p99 target is met",
    None: "there was no target to meet",
}
STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2.4rem 0 .3rem}
p{margin:.3rem 0;max-width:46rem}
.soft,dt,figcaption,th{color:var(--soft)}
.answer{display:inline-block;font-weight:700;border:2px solid;border-radius:.3rem;padding:0 .5rem;margin-right:.5rem}
.PASS{color:var(--c2)}.FAIL{color:var(--alarm)}.INSUFFICIENT{color:var(--c4)}.none{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1rem 0;font-size:.92rem}
dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th{font-weight:500;text-align:right;padding:.2rem .5rem}
td{text-align:right;padding:.15rem .5rem;white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
tbody tr:first-child td,tbody tr:first-child th{border-top:1px solid var(--rule);padding-top:.45rem}
tbody th{text-align:left;color:var(--ink);font-weight:700}
.frame td{font-weight:600}
figure{margin:.6rem 0 0}
figure svg{display:block;width:100%;height:auto}
figure svg text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif!important}
figcaption{font-size:.92rem;max-width:46rem}
section+section{border-top:1px solid var(--rule);margin-top:3rem;padding-top:2rem}
@media print{body{font-size:11pt}main{max-width:none;padding:0}figure,tbody{break-inside:avoid}h2{break-after:avoid}}
"""


def page(sections: Sequence[tuple[Given, Sequence[Plot]]], across: Sequence[Plot]) -> str:
    """across: plots over all reports, which stand last."""
    body = [_section(report, plots) for report, plots in sections]
    if across:
        body.append(f"<section>{''.join(map(_figure, across))}</section>")
    title = ", ".join(dict.fromkeys(report.subject for report, _ in sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}: edge-bench</title>
<style>{_colours()}{STYLE}</style>
</head>
<body><main>
{"".join(body)}
</main></body>
</html>
"""


def _colours() -> str:
    light, dark = (";".join(f"--{name}:{value}" for name, value in palette.items()) for palette in (LIGHT, DARK))
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _section(report: Given, plots: Sequence[Plot]) -> str:
    answer = report.answer or "none"
    told = {
        "Kind": report.kind,
        "Scenario": report.scenario,
        "Rate": report.rate,
        "Box": report.box,
        "System": report.system,
        "edge": report.version,
        "Threads": report.threads,
        "Images": report.images,
    }
    facts = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in told.items() if value is not None)
    shown = "no target" if answer == "none" else answer
    return f"""<section>
<h1>{_text(report.subject)}</h1>
<p><span class="answer {answer}">{shown}</span>{MEANING[report.answer]}.</p>
<dl>{facts}</dl>
<h2>Milliseconds by stage</h2>
<div class="wide"><table><thead><tr><th>stage</th><th>samples</th><th>p50</th><th>p90</th><th>p95</th><th>p99</th>
<th>p99 at most</th><th>target</th><th></th></tr></thead>{"".join(map(_rows, report.rows))}</table></div>
<p class="soft">All times in ms. “p99 at most” is the upper bound at 99 % confidence, and it is what the target is
compared with. * is what the line would run; its targets decide the answer. Rows took turns in one run.</p>
{"".join(map(_figure, plots))}
</section>
"""


def _text(value: object) -> str:
    return escape(str(value))


def _rows(row: GivenRow) -> str:
    """One table body: the row's name, then its stages, or why it has none."""
    checks = {check.stage: check for check in row.checks}
    lines = [f'<tr><th colspan="9">{_text(row.name)}{" *" if row.chosen else ""}</th></tr>']
    first = sorted(stage for stage in row.stages if stage not in LAST_STAGES)
    for stage in (*first, *(stage for stage in LAST_STAGES if stage in row.stages)):
        figures, check = row.stages[stage], checks.get(stage)
        bound = "–" if figures.p99_upper_ms is None else short(figures.p99_upper_ms)
        numbers = [short(ms) for ms in (figures.p50_ms, figures.p90_ms, figures.p95_ms, figures.p99_ms)]
        target = (f"{check.target_ms:g}", f'<b class="{check.answer}">{check.answer}</b>') if check else ("", "")
        kind = "frame" if stage == "frame" else "part"
        cells = "".join(f"<td>{cell}</td>" for cell in (_text(stage), figures.samples, *numbers, bound, *target))
        lines.append(f'<tr class="{kind}">{cells}</tr>')
    if row.why or not row.stages:
        lines.append(f'<tr><td colspan="9" class="soft">{_text(row.why or "could not run")}</td></tr>')
    return f"<tbody>{''.join(lines)}</tbody>"


def _figure(plot: Plot) -> str:
    svg = plot.svg().replace("<svg ", f'<svg role="img" aria-label="{_text(plot.title)}" ', 1)
    return f"<h2>{_text(plot.title)}</h2><figure><figcaption>{_text(plot.says)}</figcaption>{svg}</figure>"
