"""Two runs of one thing: is the new one slower, faster, the same, or can nobody say? No I/O.

Frames of a turn and neighbouring turns are alike, so turns are resampled, in blocks as long as they stay alike
(Politis and White 2004, with Patton's correction of 2009), and a machine that moved within a run widens the interval.
"""

from __future__ import annotations

from math import ceil, exp, hypot, log10, sqrt
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bench.given import Given, GivenRow
from edge.bench.statistics import samples_needed

Verdict = Literal["SLOWER", "UNSURE", "FASTER", "SAME"]
Floats = NDArray[np.float64]

CONFIDENCE = 0.95
QUANTILES = (0.5, 0.99)
RESAMPLES, SEED = 250, 0
FEWEST_TURNS = 8
# Of the turns' medians. Beyond it a run and its own repetition on one busy box came out as SLOWER, 2.6 times.
MOST_UNREST = 0.25
BUSY = "the turns vary by more than a quarter: the box was busy; measure both again on a quiet one"
FEWEST_BLOCKS = 4
AT_ONCE = 4_000_000  # frames that are resampled in one array: 32 MB
FEWEST_FRAMES = (1, samples_needed(0.99))  # as `run` asks of p99
EXIT_CODES: dict[Verdict, int] = {"SAME": 0, "FASTER": 0, "SLOWER": 1, "UNSURE": 3}


class Spread(msgspec.Struct, frozen=True):
    """One run's own unrest. block: turns that are alike. turns_vary: standard deviation of the turns' medians over
    their mean. halves: second half's mean turn over the first's."""

    turns: int
    block: int
    turns_vary: float
    halves: float


class Change(msgspec.Struct, frozen=True):
    """new / old of one percentile, milliseconds and the ratio's interval at CONFIDENCE."""

    old_ms: float
    new_ms: float
    ratio: float
    low: float
    high: float
    verdict: Verdict


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One row in both runs. p50, p99: None where the samples are too few. why: what keeps it from a clear verdict."""

    name: str
    verdict: Verdict
    p50: Change | None = None
    p99: Change | None = None
    old: Spread | None = None
    new: Spread | None = None
    differences: list[str] = []
    why: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """differences: what was not the same in both runs besides the model's speed. only_old, only_new: without partner.

    verdict: the worst of the pairs'; a row that only OLD has leaves it UNSURE at best.
    """

    allow: float
    confidence: float = CONFIDENCE
    differences: list[str]
    pairs: list[Pair]
    only_old: list[str]
    only_new: list[str]
    verdict: Verdict


def compare(old: Given, new: Given, allow: float) -> Comparison:
    """allow: a ratio up to 1 + allow, and down to 1 / (1 + allow), counts as the same."""
    before, after = {row.name: row for row in old.rows}, {row.name: row for row in new.rows}
    pairs = [_pair(before[name], after[name], old.turn, new.turn, allow) for name in before if name in after]
    only_old = [name for name in before if name not in after]
    return Comparison(
        allow=allow,
        differences=_differences(old, new),
        pairs=pairs,
        only_old=only_old,
        only_new=[name for name in after if name not in before],
        verdict=_worst([pair.verdict for pair in pairs] + (["UNSURE"] if only_old or not pairs else [])),
    )


def _worst(verdicts: list[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("SLOWER", "UNSURE", "FASTER", "SAME")
    return next(verdict for verdict in order if verdict in verdicts)


def _differences(old: Given, new: Given) -> list[str]:
    fields = ("subject", "kind", "box", "system", "version", "threads", "images", "scenario", "rate")
    values = [(field, getattr(old, field), getattr(new, field)) for field in fields]
    return [f"{field}: {before} / {after}" for field, before, after in values if before != after]


def _pair(old: GivenRow, new: GivenRow, old_turn: int, new_turn: int, allow: float) -> Pair:
    before, after = as_turns(old.frame_ms, old_turn), as_turns(new.frame_ms, new_turn)
    if min(len(before), len(after)) < FEWEST_TURNS:
        turns = f"{len(before)} and {len(after)} turns, {FEWEST_TURNS} of each are the fewest"
        why = f"{turns}: measure both again, without --quick"
        return Pair(name=old.name, verdict="UNSURE", why=" ".join(filter(None, (old.why, new.why, why))))
    changes, unrest = change(before, after, allow), (spread(before), spread(after))
    found = [item.verdict if item else "UNSURE" for item in changes]
    busy = max(run.turns_vary for run in unrest) > MOST_UNREST
    return Pair(
        name=old.name,
        verdict="UNSURE" if busy else _worst(found),
        p50=changes[0],
        p99=changes[1],
        old=unrest[0],
        new=unrest[1],
        differences=_of_graphs(old, new),
        why=BUSY if busy else _why(changes, before.size, after.size),
    )


def _of_graphs(old: GivenRow, new: GivenRow) -> list[str]:
    """What ran otherwise: another graph, engine or device, or a bundle whose digest is another."""
    before, after = ({ran.bundle: ran for ran in row.graphs} for row in (old, new))
    told = []
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name), after.get(name)
        if a is None or b is None:
            told.append(f"{name} is in one run only")
        elif a != b:
            what = ("sha256", "file", "engine", "device", "precision")
            told += [f"{name} {w}: {getattr(a, w)} / {getattr(b, w)}" for w in what if getattr(a, w) != getattr(b, w)]
    return told


def _why(changes: list[Change | None], old: int, new: int) -> str:
    """What would settle it."""
    unsure = [item for item in changes if item and item.verdict == "UNSURE"]
    told = []
    if changes[1] is None:
        told.append(f"p99 needs {FEWEST_FRAMES[1]} frames of both, there are {old} and {new}")
    if unsure:
        room = max(max(item.high - 1, 1 / item.low - 1) for item in unsure)
        told.append(f"run longer, or --allow {ceil(100 * room)}%")
    return "; ".join(told)


def as_turns(frame_ms: list[float], turn: int) -> Floats:
    """[turns, turn]; a last turn that is not whole is left out."""
    whole = len(frame_ms) // turn
    return np.asarray(frame_ms[: whole * turn], np.float64).reshape(whole, turn)


def change(old: Floats, new: Floats, allow: float) -> list[Change | None]:
    """Of p50 and of p99; None where the samples are too few for it. old, new: milliseconds, [turns, turn]."""
    errors, drifts = (resampled_errors(old), resampled_errors(new)), (drifted(old), drifted(new))
    blocks = len(old) / block_length(old), len(new) / block_length(new)
    found: list[Change | None] = []
    for index, fewest in enumerate(FEWEST_FRAMES):
        if min(old.size, new.size) < fewest:
            found.append(None)
            continue
        parts = [hypot(errors[run][index], drifts[run]) for run in (0, 1)]
        before, after = quantiles(old[None])[0, index], quantiles(new[None])[0, index]
        reach = t_quantile(0.5 + CONFIDENCE / 2, freedom(parts, blocks)) * hypot(*parts)
        ratio = float(after / before)
        low, high = ratio * exp(-reach), ratio * exp(reach)
        found.append(Change(float(before), float(after), ratio, low, high, judge(low, high, allow)))
    return found


def judge(low: float, high: float, allow: float) -> Verdict:
    """The interval of a ratio against the band that counts as the same."""
    if low > 1 + allow:
        return "SLOWER"
    if high < 1 / (1 + allow):
        return "FASTER"
    return "SAME" if low >= 1 / (1 + allow) and high <= 1 + allow else "UNSURE"


def quantiles(frames: Floats) -> Floats:
    """QUANTILES by nearest rank of each sample: [samples, turns, turn] to [samples, 2]."""
    flat = frames.reshape(len(frames), -1)
    ranks = [max(1, ceil(q * flat.shape[1])) - 1 for q in QUANTILES]
    return np.partition(flat, ranks, axis=1)[:, ranks]


def resampled_errors(turns: Floats) -> tuple[float, float]:
    """Standard errors of the logarithms of p50 and p99: the circular block bootstrap over turns, seeded."""
    rng = np.random.default_rng(SEED)
    block = block_length(turns)
    each = max(1, AT_ONCE // turns.size)
    drawn = []
    for done in range(0, RESAMPLES, each):
        starts = rng.integers(0, len(turns), (min(each, RESAMPLES - done), ceil(len(turns) / block)))
        picked = (starts[:, :, None] + np.arange(block)).reshape(len(starts), -1)[:, : len(turns)] % len(turns)
        drawn.append(np.log(quantiles(turns[picked])))
    p50, p99 = np.concatenate(drawn).std(axis=0, ddof=1)
    return float(p50), float(p99)


def log_medians(turns: Floats) -> Floats:
    return np.asarray(np.log(np.median(turns, axis=1)))


def drifted(turns: Floats) -> float:
    """Half of what the four quarters' mean turns lie apart, as logarithms: what the machine may have moved by between
    two runs, seen from how it moved within one."""
    means = [quarter.mean() for quarter in np.array_split(log_medians(turns), 4)]
    return float(max(means) - min(means)) / 2


def spread(turns: Floats) -> Spread:
    medians = np.median(turns, axis=1)
    middle = len(medians) // 2
    halves = float(medians[middle:].mean() / medians[:middle].mean())
    vary = float(medians.std(ddof=1) / medians.mean())
    return Spread(len(turns), block_length(turns), vary, halves)


def autocorrelations(series: Floats) -> Floats:
    """Lags 0 to n - 1; of a constant series nothing but lag 0."""
    centred = series - series.mean()
    sums = np.correlate(centred, centred, "full")[len(series) - 1 :]
    alone = np.zeros(len(series))
    alone[0] = 1.0
    return sums / sums[0] if sums[0] > 1e-18 * len(series) else alone


def block_length(turns: Floats) -> int:
    """Turns in a block: Politis and White's rule on the turns' medians; so many that FEWEST_BLOCKS remain, at most."""
    n = len(turns)
    found = autocorrelations(log_medians(turns))
    quiet = 2 * sqrt(log10(n) / n)
    in_a_row = max(5, ceil(sqrt(log10(n))))
    loud = np.flatnonzero(np.abs(found[1 : n // 2]) > quiet) + 1
    last = next((lag for lag in [0, *loud.tolist()] if not np.any((loud > lag) & (loud <= lag + in_a_row))), 0)
    lags = np.arange(1, min(2 * max(last, 1), n - 1) + 1)
    weights = np.clip(2 * (1 - lags / (lags[-1] + 1)), 0, 1) * found[lags]
    slope, level = 2 * float((weights * lags).sum()), 1 + 2 * float(weights.sum())
    most = n // FEWEST_BLOCKS
    if level <= 0 or slope == 0:
        return 1
    return int(np.clip(ceil((1.5 * slope**2 / level**2 * n) ** (1 / 3)), 1, most))


def freedom(parts: list[float], blocks: tuple[float, float]) -> float:
    """Welch and Satterthwaite's degrees of freedom of a difference; blocks are what is independent in a run."""
    below = sum(part**4 / (count - 1) for part, count in zip(parts, blocks, strict=True))
    return hypot(*parts) ** 4 / below if below > 0 else min(blocks) - 1


def t_quantile(p: float, nu: float) -> float:
    """Student's t by Cornish and Fisher's series: within 1 % from three degrees of freedom on."""
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / nu**power for power, term in enumerate(terms, 1))
