"""Groups of options: each field is an option of the command, with its default and its help."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from bpfree.cli.options import CarbonOptions, DataOptions, MeterOptions, OutputOptions, RuleOptions, grouped
from bpfree.cli.setting import Request
from bpfree.errors import RulesetError


@dataclass(frozen=True)
class Size:
    """A group."""

    width: Annotated[int, typer.Option(help="How wide.")] = 3
    tall: Annotated[bool, typer.Option("--tall")] = False


def called(arguments: list[str]) -> tuple[int, object]:
    """Exit code, and what the command was given."""
    given: list[object] = []
    app = typer.Typer()

    @app.command()
    @grouped
    def command(*, name: Annotated[str, typer.Argument()], size: Size, times: int = 1) -> int:
        """Do it."""
        given.append((name, size, times))
        return 0

    result = CliRunner().invoke(app, arguments)
    return result.exit_code, given[0] if given else result.output


def test_fields_are_options_and_arrive_as_the_group() -> None:
    assert called(["x"]) == (0, ("x", Size(3, False), 1))
    assert called(["x", "--width", "5", "--tall", "--times", "2"]) == (0, ("x", Size(5, True), 2))
    assert called(["x", "--size", "5"])[0] == 2


def test_the_order_and_the_docstring_are_those_of_the_command() -> None:
    def command(*, first: int = 0, size: Size, last: int = 1) -> int:
        """Do it."""
        return first + size.width + last

    flat = grouped(command)
    assert list(inspect.signature(flat).parameters) == ["first", "width", "tall", "last"]
    assert flat.__doc__ == "Do it."


def request(**changes: object) -> Request:
    return Request(DataOptions(), RuleOptions(), MeterOptions(), CarbonOptions(), changes)


def test_rules_that_were_not_given_stay_as_they_are() -> None:
    assert RuleOptions().changes() == {}
    assert RuleOptions(patience=3, max_hours=0.5).changes() == {"patience": 3, "max_hours": 0.5}
    assert request(trials=None, seeds=None).rules("compare").name == "quick"
    assert request(trials=3).rules("compare").search.trials == 3


@pytest.mark.parametrize("seeds", [0, -1])
def test_seeds_are_at_least_one(seeds: int) -> None:
    with pytest.raises(RulesetError, match=f"--seeds must be at least 1, got {seeds}"):
        request(seeds=seeds).rules("compare")


def test_a_ruleset_for_another_command_is_refused() -> None:
    unequal = Request(DataOptions(), RuleOptions(ruleset="legacy-2025"), MeterOptions())
    with pytest.raises(RulesetError, match="only for `bpfree reproduce`, not for `bpfree tune`"):
        unequal.rules("tune")
    assert unequal.rules("reproduce").name == "legacy-2025"


def test_the_defaults_print_everything() -> None:
    assert OutputOptions() == OutputOptions(as_json=False, quiet=False)


def test_no_command_is_loaded_before_it_runs() -> None:
    """``bpfree --help`` must not wait for torch."""
    code = "import sys, bpfree.cli.app; print([name for name in ('torch', 'optuna', 'altair') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
