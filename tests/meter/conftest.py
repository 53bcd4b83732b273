"""Fixtures of the meter's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nvml_simulation
import pytest
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
