"""How long it is quiet where nothing has changed, how soon it speaks where something has, and what it says."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.drift.features import FEATURES, Features
from edge.drift.reference import SurfaceReference, Usual, make_reference
from edge.drift.watch import Moved, Watch, limit_of, reason_of
from edge.errors import DataError

WINDOW, FRAMES = 200, 500
LIGHT = 0.06  # good parts' brightness differs by so much, of its mean


def follow(rng: np.random.Generator, n: int, alike: float) -> NDArray[np.float64]:
    """Normal values, each like the one before by this autocorrelation."""
    values: NDArray[np.float64] = rng.standard_normal(n) * np.sqrt(1 - alike**2)
    values[0] = rng.standard_normal()
    for i in range(1, n):
        values[i] += alike * values[i - 1]
    return values


def good(rng: np.random.Generator, n: int, alike: float = 0.0) -> list[Features]:
    """Frames of different features: brightness normal, white mostly 0, focus and score with long tails."""
    brightness, focus, score, distance = (follow(rng, n, alike) for _ in range(4))
    white = np.where(rng.random(n) < 0.8, 0.0, 0.02 * rng.random(n))
    columns = {
        "brightness": 0.4 * (1 + LIGHT * brightness),
        "black": np.zeros(n),
        "white": white,
        "focus": 0.1 * np.exp(0.2 * focus),
        "score": 0.01 * np.exp(score),
        "distance": 0.6 + 0.1 * distance,
    }
    return [{name: float(columns[name][i]) for name in FEATURES} for i in range(n)]


def raised_in(watch: Watch, frames: Iterable[Features]) -> list[tuple[int, Moved]]:
    """Number and alarm of each that began."""
    found = ((number, watch.add(frame, number)) for number, frame in enumerate(frames))
    return [(number, moved) for number, moved in found if moved is not None and moved is watch.raised]


@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_a_hundred_thousand_unchanged_frames_raise_one_false_alarm_at_most(alike: float) -> None:
    """Six features at once, each run beside a reference of its own; of ten thousand frames ten times."""
    rng = np.random.default_rng(int(10 * alike))
    false = 0
    for _ in range(10):
        watch = Watch(make_reference(good(rng, FRAMES, alike)), WINDOW)
        false += len(raised_in(watch, good(rng, 10_000, alike)))
    assert false <= 1


def test_a_small_reference_is_trusted_less() -> None:
    assert limit_of(50, WINDOW) > limit_of(500, WINDOW) > limit_of(100_000, WINDOW)
    rng = np.random.default_rng(3)
    assert not any(raised_in(Watch(make_reference(good(rng, 50, 0.5)), WINDOW), good(rng, 3000)) for _ in range(10))


def darker(frame: Features) -> Features:
    return frame | {"brightness": 0.8 * frame["brightness"]}


def blurred(frame: Features) -> Features:
    return frame | {"focus": 0.5 * frame["focus"], "score": 3 * frame["score"]}


def clipped(frame: Features) -> Features:
    return frame | {"brightness": 1.5 * frame["brightness"], "white": 0.2, "score": 3 * frame["score"]}


def another(frame: Features) -> Features:
    return frame | {"score": 5 * frame["score"], "distance": frame["distance"] + 0.3}


CHANGES = {"light": darker, "focus": blurred, "exposure": clipped, "product": another}


@pytest.mark.parametrize("reason", CHANGES)
def test_a_change_is_found_within_two_hundred_frames_and_named(reason: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(5):
        watch = Watch(make_reference(good(rng, FRAMES)), WINDOW)
        assert not raised_in(watch, good(rng, 1000))
        ((number, moved),) = raised_in(watch, [CHANGES[reason](frame) for frame in good(rng, 400)])
        assert number < WINDOW and moved.reason == reason
        assert moved.feature in moved.all and abs(moved.value - moved.usual) > 0


def test_an_alarm_is_raised_once_and_cleared_once() -> None:
    rng = np.random.default_rng(8)
    watch = Watch(make_reference(good(rng, FRAMES)), WINDOW)
    frames = [*good(rng, 500), *map(darker, good(rng, 2000)), *good(rng, 1000)]
    told = [(number, moved) for number, moved in enumerate(watch.add(f, n) for n, f in enumerate(frames)) if moved]
    (began, up), (over, down) = told
    assert up is down and watch.raised is None
    assert 500 < began < 700 and 2500 < over < 2900
    assert up.feature == "brightness" and up.rank < 0.3
    assert abs(up.since - 500) < WINDOW / 4, "it says when it began, not when it was sure"


def test_a_change_too_small_to_matter_is_no_alarm_however_sure() -> None:
    """A lamp so steady that one per cent less is beyond all good frames."""
    steady = Usual(0.5, tuple(np.linspace(0.4999, 0.5001, 101)))
    watch = Watch(SurfaceReference(500, {"brightness": steady}), WINDOW)
    assert not raised_in(watch, [{"brightness": 0.495}] * 1000)
    assert raised_in(watch, [{"brightness": 0.4}] * 1000)


def test_one_frame_in_ten_that_is_unlike_is_no_drift() -> None:
    rng = np.random.default_rng(9)
    watch = Watch(make_reference(good(rng, FRAMES)), WINDOW)
    frames = [clipped(frame) if number % 10 == 0 else frame for number, frame in enumerate(good(rng, 5000))]
    assert not raised_in(watch, frames)


@pytest.mark.parametrize(
    ("moved", "reason"),
    [
        ({"brightness": -0.4}, "light"),
        ({"brightness": -0.4, "white": -0.3, "score": 0.4, "distance": 0.4}, "light"),
        ({"brightness": 0.4, "white": 0.4, "focus": -0.4}, "exposure"),
        ({"brightness": -0.4, "black": 0.4}, "exposure"),
        ({"white": 0.4}, "exposure"),
        ({"focus": -0.4, "score": 0.4}, "focus"),
        ({"focus": -0.4, "white": -0.4}, "focus"),
        ({"score": 0.4}, "product"),
        ({"distance": 0.4, "score": -0.4}, "product"),
        ({"brightness": 0.4, "focus": 0.4}, "product"),
    ],
)
def test_the_reason_is_the_nearest_cause(moved: dict[str, float], reason: str) -> None:
    assert reason_of(moved) == reason


def test_good_frames_rank_at_a_half_on_average_whatever_they_look_like() -> None:
    rng = np.random.default_rng(11)
    frames = good(rng, 2000)
    for name, usual in make_reference(frames).features.items():
        ranks = [usual.rank(frame[name]) for frame in frames]
        assert np.mean(ranks) == pytest.approx(0.5, abs=0.02), name
        assert sorted(ranks) == [usual.rank(frame[name]) for frame in sorted(frames, key=lambda f: f[name])]
        assert usual.rank(-1e9) == 0 and usual.rank(1e9) == 1


def test_too_few_frames_make_no_reference() -> None:
    with pytest.raises(DataError, match="49 good frames; 50 at least"):
        make_reference(good(np.random.default_rng(1), 49))
