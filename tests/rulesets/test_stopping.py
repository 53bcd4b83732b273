"""The stop rule: who may use how many passes, and when a phase has ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfree.errors import UsageError
from bpfree.rulesets import EndReason, Patience, Watch, end_reason
from bpfree.rulesets.stopping import improves, phase_cap


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patience": 0}, "patience must be at least 1 .or None, to never stop early., got 0"),
        ({"max_passes": 0}, "max_passes must be at least 1, got 0"),
        ({"min_delta": -0.1}, "min_delta must be a finite number at least 0, got -0.1"),
        ({"min_delta": math.nan}, "min_delta must be a finite number at least 0, got nan"),
        ({"min_delta": math.inf}, "min_delta must be a finite number at least 0, got inf"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Patience(**{"patience": 1, "max_passes": 10, **values})


def over(watch: Watch, stop: Patience) -> bool:
    """Whether a phase has ended by its passes: all used, or too many without improvement."""
    return watch.passes >= watch.cap or (stop.patience is not None and watch.waited >= stop.patience)


def _share(stop: Patience, wishes: list[int]) -> list[int]:
    """Passes used by phases of which each would like ``wishes[k]``."""
    used: list[int] = []
    for k, wish in enumerate(wishes):
        used.append(min(wish, max(0, stop.cap(sum(used), len(wishes) - k))))
    return used


@pytest.mark.parametrize(
    ("max_passes", "wishes", "used"),
    [
        (10, [99], [10]),
        (10, [99, 99, 99], [4, 3, 3]),  # rounded up, so that the first phases get the odd ones
        (10, [2, 99, 99], [2, 4, 4]),  # what a phase leaves goes to the next
        (10, [1, 1, 99], [1, 1, 8]),
        (40, [20, 3, 99, 99], [10, 3, 14, 13]),
        (2, [99, 99, 99], [1, 1, 0]),  # fewer passes than phases
        (1, [99, 99], [1, 0]),
    ],
)
def test_phases_share_one_cap(max_passes: int, wishes: list[int], used: list[int]) -> None:
    assert _share(Patience(5, max_passes), wishes) == used


def test_per_phase_every_phase_has_the_whole_cap() -> None:
    assert _share(Patience(5, 10, per_phase=True), [99, 4, 99]) == [10, 4, 10]


@given(st.integers(1, 200), st.lists(st.integers(0, 100), min_size=1, max_size=12))
def test_no_more_than_the_cap_is_ever_used(max_passes: int, wishes: list[int]) -> None:
    used = _share(Patience(5, max_passes), wishes)
    assert sum(used) <= max_passes
    if all(wish >= max_passes for wish in wishes):
        assert sum(used) == max_passes
        assert max(used) - min(used) <= 1


def _watch(values: list[float], stop: Patience) -> tuple[list[bool], int]:
    """Improvements seen, and the pass after which the phase was over."""
    watch, improved = Watch(stop.cap(0, 1)), []
    for value in values:
        improved.append(watch.see(value, stop))
        if over(watch, stop):
            break
    return improved, watch.passes


def test_patience_counts_passes_without_improvement() -> None:
    values = [0.5, 0.6, 0.6, 0.59, 0.7, 0.7, 0.7, 0.7, 0.9]
    assert _watch(values, Patience(3, 100)) == ([True, True, False, False, True, False, False, False], 8)
    assert _watch(values, Patience(2, 100))[1] == 4
    assert _watch(values, Patience(1, 100))[1] == 3


def test_without_patience_the_cap_alone_ends_it() -> None:
    assert _watch([0.5] * 30, Patience(None, 20))[1] == 20


def test_an_improvement_must_exceed_min_delta() -> None:
    stop = Patience(9, 100, min_delta=0.25)
    assert _watch([0.25, 0.5, 0.501, 0.51, 0.8], stop)[0] == [True, False, True, False, True]


def test_small_steps_add_up_against_the_best_not_the_last() -> None:
    assert _watch([0.5, 0.58, 0.66], Patience(9, 100, min_delta=0.125))[0] == [True, False, True]


def test_a_loss_improves_downwards() -> None:
    stop = Patience(2, 100, metric="validation-loss")
    assert _watch([1.0, 0.5, 0.6, 0.4, 0.5, 0.5], stop) == ([True, True, False, True, False, False], 6)


@pytest.mark.parametrize("metric", ["validation-accuracy", "validation-loss"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_improves(metric, bad: float) -> None:
    stop = Patience(5, 100, metric=metric)
    assert _watch([bad, 0.5, bad], stop)[0] == [False, True, False]


def test_hours() -> None:
    assert not Patience(1, 1).out_of_time(1e9)
    stop = Patience(1, 1, max_hours=0.5)
    assert not stop.out_of_time(1799.0)
    assert stop.out_of_time(1800.0)


def test_a_watch_survives_json() -> None:
    watch = Watch(9)
    watch.see(0.5, Patience(3, 9))
    assert Watch(**watch.to_json()) == watch


def test_a_phase_with_a_cap_of_its_own_leaves_the_rest_to_the_others() -> None:
    own = Patience(5, 10, own_cap=7)
    assert (own.cap(0, 3), own.cap(6, 2)) == (7, 4)
    with pytest.raises(UsageError, match="own_cap must be at least 1"):
        Patience(5, 10, own_cap=0)


@pytest.mark.parametrize(
    ("value", "best", "metric", "min_delta", "improved"),
    [
        (0.5, None, "validation-accuracy", 0.25, True),  # the first finite value is the best so far, whatever min_delta
        (0.5, 0.5, "validation-accuracy", 0.0, False),  # equal is no improvement
        (0.75, 0.5, "validation-accuracy", 0.25, False),  # exactly min_delta is none either
        (0.875, 0.5, "validation-accuracy", 0.25, True),
        (0.25, 0.5, "validation-loss", 0.25, False),
        (0.125, 0.5, "validation-loss", 0.25, True),
        (0.625, 0.5, "validation-loss", 0.0, False),
        (None, None, "validation-accuracy", 0.0, False),
        (math.nan, None, "validation-loss", 0.0, False),
        (-math.inf, 0.5, "validation-loss", 0.0, False),
    ],
)
def test_an_improvement(value, best, metric, min_delta, improved) -> None:
    assert improves(value, best, metric, min_delta) is improved


@dataclass(frozen=True)
class Stage:
    """A phase without torch."""

    index: int = 0
    count: int = 1
    name: str = "all blocks"
    max_passes: int | None = None


def test_the_cap_of_a_phase_is_its_share_or_less_where_the_algorithm_has_no_more_to_do() -> None:
    stop = Patience(5, 10)
    assert phase_cap(stop, 0, Stage(0, 3)) == 4
    assert phase_cap(stop, 4, Stage(1, 3)) == 3
    assert phase_cap(stop, 4, Stage(1, 3, max_passes=1)) == 1
    assert phase_cap(stop, 4, Stage(2, 3, max_passes=9)) == 6


@pytest.mark.parametrize(
    ("watch", "how", "reason"),
    [
        ({"passes": 3, "waited": 1}, {}, None),
        ({"passes": 5, "waited": 2}, {}, "patience"),
        ({"passes": 8, "waited": 1}, {}, "cap"),
        ({"passes": 8, "waited": 2}, {}, "patience"),  # more passes would not have been run
        ({"passes": 4, "waited": 1}, {"max_passes": 4}, "itself"),
        ({"passes": 4, "waited": 2}, {"max_passes": 4}, "patience"),
        ({"passes": 3, "waited": 1}, {"max_passes": 4}, None),
        ({"passes": 3, "waited": 1}, {"time_s": 3599.9}, None),
        ({"passes": 3, "waited": 1}, {"time_s": 3600.0}, "hours"),
        ({"passes": 8, "waited": 2}, {"time_s": 3600.0}, "patience"),
        ({"passes": 8, "waited": 1}, {"time_s": 3600.0}, "cap"),
        ({"passes": 8, "waited": 2}, {"time_s": 3600.0, "diverged": True}, "diverged"),
        ({"passes": 1, "waited": 1}, {"diverged": True}, "diverged"),
    ],
)
def test_why_a_phase_ended(watch: dict, how: dict, reason: str | None) -> None:
    stop = Patience(2, 8, max_hours=1.0)
    stage = Stage(max_passes=how.get("max_passes"))
    seen = Watch(cap=phase_cap(stop, 0, stage), best=0.5, **watch)
    assert end_reason(seen, stop, stage, time_s=how.get("time_s", 1.0), diverged=how.get("diverged", False)) == reason
    assert reason is None or reason in get_args(EndReason)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, math.nan]), min_size=1, max_size=9), st.integers(1, 4), st.integers(1, 6))
def test_there_is_a_reason_exactly_when_the_phase_is_over(values: list[float], patience: int, cap: int) -> None:
    stop, stage = Patience(patience, cap), Stage()
    watch = Watch(phase_cap(stop, 0, stage))
    for value in values:
        watch.see(value, stop)
        assert (end_reason(watch, stop, stage, time_s=0.0, diverged=False) is not None) == over(watch, stop)


def test_without_patience_no_wait_is_too_long() -> None:
    assert not Patience(None, 5).exhausted(10**6)
    assert [Patience(3, 5).exhausted(waited) for waited in (2, 3, 4)] == [False, True, True]
