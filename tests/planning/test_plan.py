"""Which rules fit a budget, and what to change: every change is predicted again, and fits."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

import bpfree
from bpfree.errors import UsageError
from bpfree.planning import Plan

TABLE = "synthetic:n=2000:inputs=12:classes=3"
ONE = ["backprop"]


def planned(rules: list[str], net: str = "mlp:2x64", batch_size: int = 1000, **limits: Any) -> Plan:
    return _planned(tuple(rules), net, batch_size, **limits)


@functools.cache
def _planned(rules: tuple[str, ...], net: str, batch_size: int, **limits: Any) -> Plan:
    """A plan does not change, and several tests look at the same one."""
    return bpfree.plan(list(rules), net, TABLE, batch_size=batch_size, max_passes=8, **limits)


def again(made: Plan, options: str) -> Plan:
    """The plan of a change, asked for by its options."""
    words = options.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    return bpfree.plan(
        [given.get("--arms", made.rows[0].prediction.arm)],
        given.get("--net", made.net),
        TABLE,
        batch_size=int(given.get("--batch-size", made.batch_size)),
        max_passes=int(given.get("--max-passes", made.passes)),
        max_memory=made.budget.memory_bytes,
        max_seconds=made.budget.seconds,
    )


def test_without_a_budget_everything_is_predicted_and_nothing_judged() -> None:
    made = planned(["backprop", "mono-forward"])
    assert [row.fits for row in made.rows] == [None, None]
    assert len(made.fitting) == 2
    assert made.nearest is None
    backprop, mono = (row.prediction for row in made.rows)
    n, forward, output = 1000, 12 * 64 + 64 * 64, 3 * 64
    assert backprop.step_macs == n * (3 * (forward + output) - 12 * 64)
    assert mono.step_macs == n * (2 * forward + 3 * 3 * 128)
    assert backprop.memory is not None
    assert backprop.memory.weights == 4 * (forward + 2 * 64 + output + 3)
    assert backprop.run_s == pytest.approx(8 * (backprop.pass_s or 0.0))
    assert (backprop.pass_s or 0.0) > 1400 / 1000 * (backprop.step_s or 0.0)


def test_passes_of_phases_share_the_cap() -> None:
    """Of two phases each has half of the passes, so a pass is their mean; one pass is the first phase's alone."""
    staged = "mono-forward:schedule=staged"
    both = bpfree.plan([staged], "mlp:2x64", TABLE, batch_size=100, max_passes=2).rows[0].prediction
    first = bpfree.plan([staged], "mlp:2x64", TABLE, batch_size=100, max_passes=1).rows[0].prediction
    n, one, two, heads = 100, 12 * 64, 64 * 64, 3 * 64
    assert first.step_macs == n * (2 * one + 3 * heads)
    assert both.step_macs == n * ((2 * one + 3 * heads) + (one + 2 * two + 3 * heads)) / 2


def test_what_fits_is_said_and_needs_no_change() -> None:
    (row,) = planned(ONE, max_memory="1GiB", max_seconds=1e6).rows
    assert row.fits
    assert (row.changes, row.too_much) == ((), "")
    assert row.excess < 1


@pytest.mark.parametrize(
    ("limits", "kinds"),
    [
        ({"max_memory": "600KiB"}, {"batch size", "net"}),
        ({"max_seconds": 0.02}, {"passes", "net"}),
    ],
)
def test_every_change_that_is_named_fits_when_it_is_asked_for(limits: dict[str, Any], kinds: set[str]) -> None:
    made = planned(ONE, **limits)
    (row,) = made.rows
    assert row.fits is False
    assert {change.kind for change in row.changes} == kinds
    for change in row.changes:
        (other,) = again(made, change.options).rows
        assert other.fits, change
        assert other.prediction == change.prediction


def test_the_batch_that_is_named_is_the_largest_half_that_fits() -> None:
    made = planned(ONE, max_memory="600KiB")
    (size,) = [change.prediction.batch_size for change in made.rows[0].changes if change.kind == "batch size"]
    assert size == 500
    assert not made.rows[0].fits


def test_the_passes_that_are_named_are_the_most_that_fit() -> None:
    made = planned(ONE, max_seconds=0.02)
    (passes,) = [change.prediction.passes for change in made.rows[0].changes if change.kind == "passes"]
    assert not again(made, f"--max-passes {passes + 1}").rows[0].fits


def test_a_rule_offers_the_settings_that_it_declares() -> None:
    made = planned(["mono-forward"], "mlp:3x64", max_memory="500KiB")
    settings = [change.options for change in made.rows[0].changes if change.kind == "setting"]
    assert settings == ["--arms mono-forward:chunk=64"]
    assert again(made, settings[0]).rows[0].fits


def test_where_nothing_fits_the_nearest_rule_is_named_with_a_net_that_does() -> None:
    made = planned(["backprop", "local-similarity"], "mlp:2x256", max_memory="700KiB")
    assert made.fitting == ()
    assert made.nearest is not None
    assert made.nearest.prediction.arm == "backprop"
    assert made.nearest.excess == min(row.excess for row in made.rows) > 1
    assert made.way_out is not None
    (row,) = again(made, made.way_out.options).rows
    assert row.fits
    told = json.loads(json.dumps(made.as_json()))
    assert told["nearest"] == "backprop"
    assert told["way_out"]["options"] == made.way_out.options


def test_where_no_change_helps_none_is_made_up() -> None:
    made = planned(ONE, max_memory="1kB")
    assert made.rows[0].changes == ()
    assert made.way_out is None
    assert made.nearest is made.rows[0]


def test_a_rule_that_refuses_the_net_is_left_out_of_the_judgement() -> None:
    images = "synthetic:n=200:inputs=3x8x8:classes=3"
    made = bpfree.plan(["foton", "backprop"], "cnn3:4-4-4", images, batch_size=10, max_passes=1, max_memory="1kB")
    refused, other = made.rows
    assert "use pool=average" in (refused.prediction.refusal or "")
    assert (refused.fits, refused.prediction.memory) == (None, None)
    assert made.nearest is other


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: planned(ONE, max_memory="2 bananas"), "2 bananas"),
        (lambda: planned(ONE, max_memory=0), "--max-memory must be above 0"),
        (lambda: planned(ONE, max_seconds=-1.0), "--max-seconds must be above 0, got -1"),
        (lambda: planned(ONE, max_joules=5.0), "no run was metered on this machine"),
        (lambda: planned(ONE, batch_size=5000), "larger than the training split"),
        (lambda: planned(ONE, batch_size=0), "--batch-size must be a whole number of at least 1"),
        (lambda: planned(["backprp"]), "did you mean backprop"),
        (lambda: planned(ONE, "mpl:2x8"), "did you mean mlp"),
    ],
)
def test_bad_input_is_refused_in_one_line(call: Callable[[], Plan], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        call()
    assert "\n" not in str(refused.value)
