"""Points and seeds: functions of indices, the same for every arm, and of no arm."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
from scipy.stats import qmc

from bpfree.bench.draws import Draws, Sequence, sequence_number, study_seed, trial_seed
from bpfree.records import CONTROL_SEEDS
from bpfree.rulesets import Range

NAMES = ("aux_weight", "lr", "weight_decay")


@pytest.mark.filterwarnings("ignore:The balance properties")
def test_the_points_are_those_of_a_scrambled_sobol_sequence_from_its_start() -> None:
    sequence = Sequence(NAMES, 7)
    found = np.array([[sequence.point(t)[name] for name in NAMES] for t in range(5)])
    np.testing.assert_allclose(found, qmc.Sobol(3, scramble=True, seed=7).random(5), atol=1e-12)


def test_a_point_does_not_depend_on_how_many_are_asked_for() -> None:
    whole = [Sequence(NAMES, 3).point(t) for t in range(4)]
    assert Sequence(NAMES, 3).point(3) == whole[3]
    assert [Sequence(NAMES, 3).point(t) for t in (2, 0)] == [whole[2], whole[0]]
    assert Sequence(NAMES, 4).point(0) != whole[0]


def test_other_ranges_share_the_place_within_them() -> None:
    adam, sgd = Range(low=1e-4, high=1e-2), Range(low=1e-2, high=1.0)
    sequence = Sequence(NAMES, 0)
    for t in range(6):
        mine, theirs = sequence.values(t, {"lr": adam})["lr"], sequence.values(t, {"lr": sgd, "aux_weight": adam})["lr"]
        assert theirs == pytest.approx(100 * mine, rel=1e-12)
        assert adam.low <= mine <= adam.high


def test_four_points_of_a_study_lie_in_four_quarters_of_every_range() -> None:
    for number in range(20):
        sequence = Sequence(NAMES, number)
        for name in NAMES:
            assert {int(4 * sequence.point(t)[name]) for t in range(4)} == {0, 1, 2, 3}


def test_no_two_trials_share_a_seed_and_no_two_studies_a_sequence() -> None:
    grid = list(product(range(6), range(3), (False, True)))
    seeds = [study_seed(s, t, split_seed=p, control=c) for s, p, c in grid for t in range(5)]
    numbers = [sequence_number(s, split_seed=p, control=c) for s, p, c in grid]
    assert len(set(seeds)) == len(seeds)
    assert len(set(numbers)) == len(numbers)
    assert trial_seed(3) != trial_seed(3, control=True)


def test_random_draws_are_uniform_and_each_follows_from_study_and_trial() -> None:
    draws = Draws(("lr", "theta"), 3)
    drawn = [draws.point(index) for index in range(4000)]
    assert Draws(("lr", "theta"), 3).point(17) == drawn[17]
    assert Draws(("lr", "theta"), 4).point(17) != drawn[17]
    expected = np.random.default_rng((3, 17)).random(2)
    assert drawn[17] == {"lr": expected[0], "theta": expected[1]}
    lr, theta = (np.array([point[name] for point in drawn]) for name in ("lr", "theta"))
    for values in (lr, theta):  # every tenth of the range: 400 of 4,000, with a standard deviation of 19
        assert abs(np.histogram(values, bins=10, range=(0, 1))[0] - 400).max() < 80
    assert abs(np.corrcoef(lr, theta)[0, 1]) < 0.06
    assert abs(np.corrcoef(lr[:-1], lr[1:])[0, 1]) < 0.06


def test_random_draws_share_their_places_within_other_ranges() -> None:
    draws = Draws(("lr", "theta"), 0)
    place = draws.point(5)["theta"]
    assert draws.values(5, {"theta": Range(low=0.1, high=10.0)}) == {"theta": pytest.approx(0.1 * 100**place)}


def test_a_sequence_is_drawn_in_silence() -> None:
    """Optuna warns of what it calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(Sequence(NAMES, 1).point(2)) == set(NAMES)


def test_numbers_of_sequences_and_seeds_by_value() -> None:
    """Ten thousand trials a study and ten thousand studies a split; a control has 500 million more."""
    assert [sequence_number(2, split_seed=3, control=control) for control in (False, True)] == [
        30_002,
        CONTROL_SEEDS // 10_000 + 30_002,
    ]
    assert (sequence_number(2), study_seed(2, 4), trial_seed(3)) == (2, 20_004, 1_000_003)
    assert study_seed(2, 4, split_seed=3) == 300_020_004
    assert study_seed(2, 4, split_seed=3, control=True) == CONTROL_SEEDS + 300_020_004
    assert [trial_seed(3, control=control) for control in (False, True)] == [1_000_003, CONTROL_SEEDS + 1_000_003]
