"""Fixtures of the meter's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nvml_simulation
import pytest
from answer_kit_runs import board
from meter_fakes import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if nvml_simulation.compiler() is None:
        pytest.skip("the simulated NVIDIA driver needs a C compiler")
    return nvml_simulation.compile_driver(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(driver_library: Path) -> Iterator[nvml_simulation.Driver]:
    with nvml_simulation.loaded(driver_library) as driver:
        yield driver


@pytest.fixture(scope="session")
def kit_ruleset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Experiment 1 at a tiny size: two arms, two passes."""
    from benchmarks.answer_kit.options import RULESET
    from bpfree import rulesets

    path = tmp_path_factory.mktemp("rules") / "tiny.yaml"
    arms = ["backprop", "mono-forward:schedule=staged"]
    changes = {"trials": 1, "passes_per_trial": 2, "max_passes": 2, "batch_size": 32, "search.train_examples": 64}
    rulesets.save(rulesets.load(str(RULESET)).with_changes(changes, name="tiny", arms=arms), path)
    return str(path)


@pytest.fixture(scope="module")
def kit(driver_library: Path) -> Iterator[pytest.MonkeyPatch]:
    """The simulated board in place of this machine's sources, and short sections of a fixed length."""
    from benchmarks.answer_kit import clocks, context, doctor

    with nvml_simulation.loaded(driver_library) as driver, pytest.MonkeyPatch.context() as patch:
        detection, load = board(driver)
        patch.setattr(context, "detect", lambda _: detection)
        patch.setattr(doctor, "matrix_load", lambda *_: load)
        patch.setattr(doctor, "_MOST_S", 0.3)
        patch.setattr(clocks, "_MOST_S", 0.25)
        yield patch
