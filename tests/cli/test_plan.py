"""``bpfree plan``: predictions printed, budgets judged, bad input refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from .conftest import Outcome

Command = Callable[..., Outcome]
SMALL = ("--net", "mlp:1x8", "--dataset", "synthetic:n=100:inputs=6:classes=3", "--batch-size", "20", "--max-passes", "2")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_a_pipe_gets_one_line_a_rule_and_json_the_same_numbers(bpfree: Command) -> None:
    outcome = bpfree("plan", *SMALL, "--arms", "backprop,mono-forward", "--max-memory", "1kB")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len([line for line in lines if line.startswith("mono-forward  ")]) == 2  # in both tables
    assert any(line.startswith("backprop needs ") and "of 1000 B" in line for line in lines)
    assert any(line.startswith("Nothing fits. Nearest is ") and " on mlp:1x8: " in line for line in lines)
    assert any("no run was metered on this machine" in line for line in lines)
    told = json.loads(bpfree("plan", *SMALL, "--arms", "backprop", "--json").out)
    (row,) = told["rows"]
    assert row["memory"]["weights"] == 4 * (6 * 8 + 8 + 8 * 3 + 3)
    assert row["step_macs"] == 20 * (3 * (6 * 8 + 8 * 3) - 6 * 8)
    assert 0 < row["step_s"] < row["pass_s"] < row["run_s"]
    assert row["joules"] is None
    assert row["reasons"]["joules"]
    assert told["calibration_s"] == 0.0  # all operations were timed by the first command


def test_calibrate_times_again(bpfree: Command) -> None:
    arguments = ("plan", *SMALL, "--arms", "frozen", "--json")
    assert json.loads(bpfree(*arguments).out)["calibration_s"] > 0
    assert json.loads(bpfree(*arguments).out)["calibration_s"] == 0
    assert json.loads(bpfree(*arguments, "--calibrate").out)["calibration_s"] > 0


@pytest.mark.usefixtures("terminal")
def test_a_terminal_of_80_columns_gets_no_longer_line(bpfree: Command) -> None:
    outcome = bpfree("plan", *SMALL, "--arms", "backprop,foton", "--max-memory", "1kB")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--max-memory", "2 bananas"),
            "--max-memory must be bytes above 0 with a unit (B, kB, MB, GB, KiB, MiB, GiB), such as 2GiB",
        ),
        (("--max-memory", "0"), "got '0'"),
        (("--max-seconds", "-1"), "--max-seconds must be above 0, got -1"),
        (("--max-joules", "nan"), "--max-joules must be above 0, got nan"),
        (("--max-joules", "5"), "--max-joules 5 cannot be held against anything: no run was metered on this machine"),
        (("--measured", "absent"), "absent holds no records.jsonl"),
        (("--net", "mpl:2x8"), "unknown net 'mpl'; did you mean mlp"),
        (("--batch-size", "0"), "--batch-size must be at least 1, got 0"),
        (("--max-passes", "0"), "--max-passes must be at least 1, got 0"),
        (("--batch-size", "5000"), "larger than the training split"),
    ],
)
def test_mistakes_are_refused_in_one_line(bpfree: Command, options: tuple[str, str], words: str) -> None:
    outcome = bpfree("plan", *options)
    assert outcome.code == 2
    assert words in outcome.one_line()
