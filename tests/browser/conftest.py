"""A browser for all tests here, and the reports that they open. ``tools/browser/install.sh`` installs what they need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfree import report
from tests.browser.chromium import Chromium
from tests.report.conftest import ARMS, Runs, template
from tests.report.page_suites import suite

ROOT = Path(__file__).parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
EVIL = '<script>globalThis.evil = 1</script><img src=x onerror="globalThis.evil = 1">'


def lacking(what: str) -> str:
    """Why a test cannot run: as the script that installs it said."""
    file = ROOT / ".browser" / "missing.txt"
    reasons = file.read_text().split("\n") if file.exists() else []
    reason = "; ".join(line for line in reasons if what in line)
    assert reason or not os.environ.get("CI"), f"no {what}, and tools/browser/install.sh gave no reason"
    return reason or f"no {what}; tools/browser/install.sh installs it"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(lacking("Chromium"))
    with Chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    scripts = sorted((ROOT / ".browser").glob("axe-*.js"))
    if not scripts:
        pytest.skip(lacking("axe-core"))
    return scripts[-1].read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def four_arms(runs: Runs) -> Path:
    """The page of four arms with every column, and with searches."""
    tuned = [runs.tuned(arm, energy=True) for arm in ARMS]
    return report.build([runs("four", runs.grid(energy=True, inference=template().inference), tuned=tuned)]).page


@pytest.fixture(scope="session")
def twenty_arms(runs: Runs) -> Path:
    arms = ["backprop", *(f"rule-{k}" for k in range(19))]
    return report.build([runs("twenty", runs.grid(arms=arms))]).page


@pytest.fixture(scope="session")
def evil(runs: Runs) -> Path:
    """A report in which data, arm, net, command and folder have names that are HTML."""
    arms = ("backprop", EVIL)
    records = [
        runs.record(arm, seed, arms=arms, algorithm=arm, dataset=EVIL, net=EVIL, tier=EVIL, plan={"command": EVIL, "arms": 3})
        for seed in range(2)
        for arm in arms
    ]
    folder = "</script><script>globalThis.evil = 1<".replace("/", "")
    return report.build([runs(folder, records, tuned=[runs.tuned(EVIL, EVIL, EVIL)])]).page


@pytest.fixture(scope="session")
def suite_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published numbers beside measured ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.report.page_suites.report_text", lambda build, *_others: build().page)
        return Path(suite(tmp_path_factory.mktemp("suite")))
