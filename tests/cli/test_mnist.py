"""The marks on real MNIST, by the command that a user types. Minutes long: `make test-all` with BPFREE_DATA set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bpfree.cli import run

DATA = os.environ.get("BPFREE_DATA")

MARKS = {"backprop": 0.980, "mono-forward": 0.980, "forward-forward": 0.975}
"""Test accuracy that each rule must reach with its defaults within 30 passes."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(DATA is None, reason="BPFREE_DATA is not set, so there is no real MNIST to train on")
@pytest.mark.parametrize("rule", MARKS)
def test_a_rule_reaches_its_mark_on_mnist(rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dataset", "mnist", "--net", "mlp:2x1000", "--max-passes", "30", "--out", str(tmp_path / "R")]
    code = run(["train", rule, *arguments, "--data-dir", str(DATA), "--quiet", "--json"])
    record = json.loads(capsys.readouterr().out)
    print(f"{rule}: {record['test_accuracy']:.4f} after {record['passes']} passes in {record['time_s']:.0f} s")
    assert code == 0
    assert record["passes"] <= 30
    assert record["test_accuracy"] >= MARKS[rule]
