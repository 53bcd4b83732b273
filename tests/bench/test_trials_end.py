"""How a trial of a study ends: an interrupted one is begun again, one that breaks is a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfree import rulesets
from bpfree.bench import parse_arms
from bpfree.bench.studies import ArmStudy
from bpfree.bench.study import open_storage
from bpfree.train import Progress

from .test_measure import setting

RULES = rulesets.load("claim").with_changes(studies=2, trials=2, max_passes=1)


def study(place: Path) -> ArmStudy:
    return ArmStudy(setting(ruleset=RULES), parse_arms("backprop")[0], 0, open_storage(place / "study.journal"), place)


def test_an_interrupted_trial_is_not_kept(tmp_path: Path) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    broken = study(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        broken.run_trial(0, on_pass=interrupt)
    assert broken.n_done == 0
    assert study(tmp_path).run_trial(0).status == "ok"


def test_a_trial_that_breaks_is_a_failed_one_and_never_the_best(tmp_path: Path) -> None:
    def out_of_memory(_: Progress) -> None:
        raise RuntimeError("out of memory")

    broken = study(tmp_path)
    assert broken.run_trial(0, on_pass=out_of_memory).status == "failed"
    assert broken.n_done == 1
    good = broken.run_trial(1)
    assert (broken.tuned().row["best_trial"], broken.measured().seed) == (1, good.seed)
