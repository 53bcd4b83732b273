"""Verdicts in words, singular and plural, seeds and studies, with and without an interval: every text whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.report.verdicts import ArmVerdict, arm_verdict, cost_word


def compared(n: int, word: str, sentence: str = "", *, reason: str = "", least: float | None = None, ends: bool = True) -> Any:
    low, high = (-0.0125, 0.0325) if ends else (None, None)
    interval = SimpleNamespace(mean=0.01, low=low, high=high)
    verdict = SimpleNamespace(word=word, sentence=sentence, reason=reason, text=f"{word} in this search")
    return SimpleNamespace(paired=SimpleNamespace(n=n, interval=interval), verdict=verdict, least_detectable=least)


OK = {"ok": 3}
SAME = "the same rule with other draws differs by"
NUMBERS = "+1.00 points [−1.25, +3.25]"


@pytest.mark.parametrize(
    ("given", "options", "text", "sentence"),
    [
        (None, {}, "", ""),
        (
            compared(3, "x"), {"control": True}, "control", f"{SAME} {NUMBERS}, 3 paired seeds.",
        ),
        (
            compared(1, "x", ends=False), {"control": True, "noun": "study"}, "control",
            f"{SAME} no interval, 1 paired study.",
        ),
        (compared(1, "x"), {"refusal": "a rule"}, "not judged: a rule", f"not judged: a rule; {NUMBERS}, 1 paired seed."),
        (compared(2, "x"), {"refusal": "y", "noun": "study"}, "not judged: y", f"not judged: y; {NUMBERS}, 2 paired studies."),
        (compared(5, "ahead", "-0.5 and a-1, 5 seeds"), {}, "ahead in this search", "−0.5 and a-1, 5 seeds"),
        (
            compared(5, "ahead", "5 seeds, 1 seed, seedling", least=0.0123), {"noun": "study"}, "ahead in this search",
            "5 studies, 1 study, seedling With a chance of 0.8 it could have shown a difference of 1.23 points.",
        ),
        (compared(4, "ahead", "s", least=0.0123), {}, "ahead in this search", "s"),
        (compared(1, "not judged", "s"), {"noun": "study"}, "not judged: 1 study, at least 5 are needed", "s"),
        (compared(4, "not judged", "s", reason="too few"), {}, "not judged: 4 seeds, at least 5 are needed", "s"),
        (compared(4, "not judged", "s", reason="unequal search: more"), {}, "not judged: unequal search", "s"),
    ],
)  # fmt: skip
def test_the_verdict_on_an_arm(given: Any, options: dict[str, Any], text: str, sentence: str) -> None:
    assert arm_verdict(OK, given, **options) == ArmVerdict(text, sentence)


@pytest.mark.parametrize(
    ("statuses", "losses"),
    [
        ({"diverged": 2, "failed": 1}, " (2 of 3 runs diverged and 1 of 3 runs failed)"),
        ({"failed": 2, "interrupted": 2}, " (2 of 4 runs failed)"),
        ({"interrupted": 1}, ""),
        ({"ok": 0}, ""),
    ],
)
def test_an_arm_of_which_no_run_finished(statuses: dict[str, int], losses: str) -> None:
    made = arm_verdict(statuses, compared(0, "x"), refusal="a rule", control=True)
    assert made == ArmVerdict("no run finished", f"no run finished{losses}.")
    assert made.tone == "no"


@pytest.mark.parametrize(
    ("given", "options", "word"),
    [
        (compared(5, "slower"), {}, "slower in this search"),
        (compared(5, "slower"), {"refusal": "y"}, ""),
        (compared(5, "slower"), {"control": True}, ""),
        (compared(5, "not judged"), {}, ""),
        (compared(5, "unreliable"), {}, ""),
        (None, {}, ""),
    ],
)
def test_the_word_for_a_cost(given: Any, options: dict[str, Any], word: str) -> None:
    assert cost_word(given, **options) == word
