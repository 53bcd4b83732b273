"""From the command line to the record, control goes down the layers: how often a lower package calls a higher one."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bpfree.cli import run

ROOT = Path(__file__).parents[1]
ALLOWED = {
    ("numerics", "meter"): "torch calls what counts its operations",
    ("meter", "models"): "what is timed is a call of the model",
    ("bench", "cli"): "after each pass the progress is shown",
}
"""Packages of which the first may call the second, with the reason: each passes a function down, none imports upwards."""
MOST = 5
TINY = ("--dataset", "synthetic:n=300:inputs=4:classes=3", "--net", "mlp:1x4", "--max-passes", "1", "--quiet")
COMMANDS = {
    "train": ("train", "backprop", *TINY),
    "compare": ("compare", "--arms", "backprop,mono-forward", "--trials", "1", "--seeds", "1", "--jobs", "1", *TINY),
}


def heights() -> dict[str, int]:
    """The layer of each package, 0 for the lowest."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = contracts[0]["layers"]
    return {name.strip().removeprefix("bpfree."): len(layers) - k for k, layer in enumerate(layers) for name in layer.split("|")}


class Watch:
    """A profile function that notes calls from a package to one of a higher layer, until the record is written."""

    def __init__(self) -> None:
        self.climbs: dict[tuple[str, str, str], str] = {}
        self.n_calls, self.written = 0, False
        self._heights = heights()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or self.written or (here := self._package(frame)) is None:
            return
        self.n_calls += 1
        caller = frame.f_back
        while caller is not None and self._package(caller) is None:
            if caller.f_globals.get("__name__", "").startswith("importlib."):
                return  # what is imported is no call
            caller = caller.f_back
        there = None if caller is None else self._package(caller)
        if there is not None and self._heights[here] > self._heights[there]:
            assert caller is not None
            self.climbs.setdefault((there, here, frame.f_code.co_qualname), caller.f_code.co_qualname)
        self.written = frame.f_code.co_name == "append_record"

    def _package(self, frame: FrameType) -> str | None:
        first, _, rest = frame.f_globals.get("__name__", "").partition(".")
        name = rest.partition(".")[0]
        return name if first == "bpfree" and name in self._heights and frame.f_code.co_name != "<module>" else None


@pytest.mark.slow  # under a profile function in Python
@pytest.mark.parametrize("command", COMMANDS)
def test_control_goes_down_the_layers(command: str, tmp_path: Path) -> None:
    watch = Watch()
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        code = run([*COMMANDS[command], "--out", str(tmp_path / "R")])
    finally:
        sys.setprofile(before)
    assert code == 0
    assert watch.written
    assert watch.n_calls > 1000
    assert {(there, here) for there, here, _ in watch.climbs} <= set(ALLOWED), watch.climbs
    assert 0 < len(watch.climbs) <= MOST, watch.climbs
