"""The energy sources that need no hardware, held to the contract of a source."""

from __future__ import annotations

import itertools
import time

import pytest

from bpfree.meter import EnergySource, EstimateSource, ReplaySource
from bpfree.meter.estimate import FAMILIES
from bpfree.meter.rapl import detect_rapl
from bpfree.testing import SourceContract


class TestReplay(SourceContract):
    @pytest.fixture
    def source(self) -> EnergySource:
        return ReplaySource([0.0, 1e6], [0.0, 25e6])


class TestEstimate(SourceContract):
    @pytest.fixture
    def source(self) -> EnergySource:
        return EstimateSource(FAMILIES["epyc-3"])

    def wait(self) -> None:
        """Work: the processor seconds of a process do not pass while it sleeps."""
        end_s = time.process_time() + self.work_s
        while time.process_time() < end_s:
            pass


class TestRapl(SourceContract):
    """Linux' own file layout, written out; the counter moves at each reading."""

    @pytest.fixture
    def source(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> EnergySource:
        package = tmp_path / "intel-rapl:0"
        package.mkdir()
        (package / "name").write_text("package-0\n")
        (package / "max_energy_range_uj").write_text("262143328850\n")
        (package / "energy_uj").write_text("1000\n")
        counts = itertools.count(2000, 2000)
        monkeypatch.setattr("bpfree.meter.rapl._read_uj", lambda path: next(counts))
        (source,), _ = detect_rapl(tmp_path)
        return source


class _Falling(ReplaySource):
    def joules(self) -> float:
        return -super().joules()


class _Forgetful(ReplaySource):
    def open(self) -> None:
        self._start_s = self._clock()


@pytest.mark.parametrize(
    ("broken", "check"),
    [(_Falling, "test_the_counter_never_goes_back"), (_Forgetful, "test_it_can_be_opened_again")],
)
def test_the_contract_finds_a_broken_source(broken: type[ReplaySource], check: str) -> None:
    with pytest.raises(AssertionError):
        getattr(TestReplay(), check)(broken([0.0, 1e6], [0.0, 25e6]))
