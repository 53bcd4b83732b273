"""``bpfree measure memory`` and ``measure flops``: counted, nothing trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome

Command = Callable[..., Outcome]
SMALL = ("--net", "mlp:2x16", "--net", "mlp:4x16", "--arms", "backprop,mono-forward", "--batch-size", "32")


def test_memory_prints_draws_and_gives_json(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("measure", "memory", *SMALL, "--figure", "bars.svg")
    assert outcome.code == 0
    assert "mlp:4x16, batch 32" in outcome.out
    drawing = (tmp_path / "bars.svg").read_text()
    assert drawing.startswith("<svg")
    assert "mono-forward on mlp:4x16" in drawing
    told = json.loads(bpfree("measure", "memory", *SMALL, "--json").out)
    assert [(row["arm"], row["net"]) for row in told["rows"]] == [
        ("backprop", "mlp:2x16"), ("mono-forward", "mlp:2x16"), ("backprop", "mlp:4x16"), ("mono-forward", "mlp:4x16"),
    ]  # fmt: skip
    parts = told["rows"][0]["memory"]
    assert parts["weights"] == 4 * (784 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10)
    assert parts["optimiser"] == 2 * parts["weights"]
    assert told["process"]["resident_peak_bytes"] > 2**20
    assert told["process"]["reasons"]["device"]


def test_flops_are_those_of_the_formula(bpfree: Command) -> None:
    outcome = bpfree("measure", "flops", *SMALL, "--json")
    assert outcome.code == 0
    row = json.loads(outcome.out)["rows"][1]
    n, forward, head = 32, 784 * 16 + 16 * 16, 2 * 10 * 16
    assert row["step"] == row["by_formula"]["step"] == n * (2 * forward + 3 * head)
    assert row["orthogonalisation"] is None
    assert row["whole_step"] == row["step"]
    assert row["reasons"]["orthogonalisation"]


def test_foton_is_charged_its_orthogonalisation_in_the_ratio(bpfree: Command) -> None:
    """706 M of the step and 324 M of an orthogonalisation in every step: 1.75 of backprop's, and not 1.20."""
    arguments = ("measure", "flops", "--net", "mlp:2x1000", "--arms", "backprop,foton")
    base, foton = json.loads(bpfree(*arguments, "--json").out)["rows"]
    assert foton["step"] / base["step"] == pytest.approx(1.20, abs=0.005)
    assert foton["whole_step"] == foton["step"] + foton["orthogonalisation_per_step"]
    assert foton["whole_step"] / base["whole_step"] == pytest.approx(1.75, abs=0.005)
    (line,) = [line for line in bpfree(*arguments).out.splitlines() if line.startswith("foton ")]
    assert "1.75" in line.split()
    assert "1.20" not in line.split()


def test_a_rule_that_cannot_train_a_net_is_named_and_the_others_are_counted(bpfree: Command) -> None:
    outcome = bpfree("measure", "flops", "--net", "cnn3:4-4-8", "--arms", "backprop,foton", "--batch-size", "4")
    assert outcome.code == 0
    assert "foton was left out on cnn3:4-4-8" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--batch-size", "0"), "at least 1"), (("--batch-size", "100000"), "batch"), (("--arms", "backdrop"), "backprop"),
     (("--net", "mpl:2x16"), "mlp")],
)  # fmt: skip
def test_mistakes_are_one_line(bpfree: Command, arguments: tuple[str, ...], said: str) -> None:
    outcome = bpfree("measure", "memory", *arguments)
    assert outcome.code == 2
    assert said in outcome.one_line()
