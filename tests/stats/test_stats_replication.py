"""Published beside measured: the five cases of the review, with the right word, and the conditions one by one."""

import pytest

from bpfree import stats
from bpfree.errors import UsageError

pytestmark = pytest.mark.filterwarnings("error")

MARGIN = 0.25


def word(measured, published, margin=MARGIN):
    return stats.compare_published(stats.Summary(**measured), stats.Summary(**published), margin)


def of(mean, sd=None, n=None):
    return {"mean": mean, "sd": sd, "n": n}


class TestCasesOfTheReview:
    def test_four_points_better_than_a_precise_paper_is_higher(self):
        """It was "outside the published spread", in red."""
        result = word(of(66.4, 0.3, 5), of(62.34, 0.05, 3))
        assert result.text == "differs (higher)"
        assert result.interval.mean == pytest.approx(4.06)

    def test_a_precise_paper_within_the_measured_uncertainty_agrees(self):
        """98.19 [98.03, 98.35] of 5 seeds (sd 0.129) against 98.14 ± 0.02: it was "outside", in red."""
        assert word(of(98.19, 0.129, 5), of(98.14, 0.02, 3)).text == "agrees"

    def test_one_seed_cannot_tell_however_wide_the_paper(self):
        """72.0, one seed, against 79.32 ± 3.99: it was "inside", in green."""
        result = word(of(72.0, None, 1), of(79.32, 3.99, 3))
        assert result.text == "cannot tell: 1 measured run, at least 3 are needed"
        assert (result.interval.low, result.interval.high) == (None, None)

    def test_two_seeds_without_a_published_spread_cannot_tell(self):
        """55 and 58 against 62.3: it was "inside the measured interval", in green."""
        measured = stats.summary([55.0, 58.0])
        result = stats.compare_published(measured, stats.Summary(mean=62.3, sd=None, n=None), MARGIN)
        assert result.word == "cannot tell"

    def test_ten_precise_seeds_without_a_published_spread_cannot_tell(self):
        """62.54 ± 0.02 against 62.3: it was "outside", in red."""
        result = word(of(62.54, 0.02, 10), of(62.3, None, 3))
        assert result.text == "cannot tell: the spread of the published runs is not known"


@pytest.mark.parametrize("side", ["measured", "published"])
def test_three_runs_on_either_side_are_enough_and_two_are_not(side):
    def judged(n):
        sizes = {"measured": 5, "published": 5, side: n}
        return word(of(70.0, 0.1, sizes["measured"]), of(60.0, 0.1, sizes["published"])).word

    assert (judged(2), judged(3)) == ("cannot tell", "differs")


def test_lower_and_the_number_of_runs_unknown():
    assert word(of(50.0, 0.3, 5), of(62.34, 0.05, 3)).text == "differs (lower)"
    assert word(of(50.0, 0.3, 5), of(62.34, 0.05)).reason == "the number of published runs is not known"


def test_a_significant_difference_below_the_margin_agrees():
    result = word(of(98.2, 0.02, 10), of(98.1, 0.02, 10))
    assert result.interval.excludes(0.0)
    assert result.word == "agrees"
    assert word(of(98.2, 0.02, 10), of(98.1, 0.02, 10), margin=0.11).word == "differs"


def test_a_wide_interval_around_zero_cannot_tell():
    assert word(of(62.0, 2.0, 3), of(62.3, 2.0, 3)).reason == "the interval is too wide for the margin"


def test_copies_of_one_run_cannot_tell():
    assert word(of(62.0, 0.0, 3), of(62.0, 0.0, 3)).word == "cannot tell"


def test_bad_margin_and_summaries():
    with pytest.raises(UsageError, match="above 0"):
        word(of(1.0, 0.1, 3), of(1.0, 0.1, 3), margin=0)
    for bad in (of(float("nan")), of(1.0, -0.1, 3), of(1.0, 0.1, 0)):
        with pytest.raises(UsageError):
            stats.Summary(**bad)
