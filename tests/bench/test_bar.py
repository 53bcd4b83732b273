"""The bar says what is trained and how far it is, in 80 columns; it is drawn again after a while, not at every pass."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console, Group

from bpfree.bench import bar as module
from bpfree.bench.bar import REDRAW_S, BarObserver


def after(passes: int, accuracy: float = 0.5, joules: float | None = None) -> Any:
    """What a pass comes to."""
    return SimpleNamespace(passes=passes, val_accuracy=accuracy, joules=joules)


def picture(observer: BarObserver) -> list[str]:
    """The lines that are drawn in a terminal of 80 columns."""
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    screen.print(Group(*observer._bar.get_renderables()))
    text: Any = screen.file
    return text.getvalue().splitlines()


@pytest.fixture
def observer() -> BarObserver:
    return BarObserver(Console(file=io.StringIO()), 240)


def test_it_is_drawn_when_the_last_picture_is_old(monkeypatch: pytest.MonkeyPatch, observer: BarObserver) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    drawn: list[float] = []
    monkeypatch.setattr(observer._bar, "refresh", lambda: drawn.append(clock[0]))
    for number, step_s in enumerate((0.0, REDRAW_S / 2, REDRAW_S / 4, REDRAW_S, REDRAW_S / 8)):
        clock[0] += step_s
        observer.passed(after(number))
    assert drawn == [100.0, 100.0 + 1.75 * REDRAW_S]
    assert observer._bar.tasks[0].completed == 5
    observer.advance(3)
    assert observer._bar.tasks[0].completed == 8


def test_a_search_shows_trial_pass_and_best_accuracy_of_the_trial(observer: BarObserver) -> None:
    observer.begin("search mono-forward:schedule=staged", 120)
    observer.trial("trial 2 of 8", 15)
    for number, accuracy in ((1, 0.9), (2, 0.9556), (3, 0.95)):
        observer.passed(after(number, accuracy))
    what, how_far = picture(observer)
    assert what.rstrip() == "search mono-forward:schedule=staged (trial 2 of 8)"
    assert re.fullmatch(r"pass 3 of 15  best 95\.56 % [━╸╺ ]+1% 0:00:\d\d left at most [-\d]+:[-\d]+", how_far)
    assert len(how_far) == 80
    observer.trial("trial 3 of 8", 15)
    assert "best" not in picture(observer)[1]
    observer.passed(after(1, 0.25))
    assert "pass 1 of 15  best 25.00 %" in picture(observer)[1]


def test_joules_are_shown_where_they_are_measured(observer: BarObserver) -> None:
    observer.begin("backprop, seed 3", 40)
    observer.passed(after(12, 0.9611, 1234.0))
    what, how_far = picture(observer)
    assert what.rstrip() == "backprop, seed 3"
    assert how_far.startswith("pass 12 of 40  best 96.11 %  1.23 kJ ")


def test_a_cap_of_a_phase_is_not_shown_beside_the_passes_of_all_phases(observer: BarObserver) -> None:
    observer.begin("mono-forward:schedule=staged, seed 0", 100)
    observer.passed(after(120))
    assert picture(observer)[1].startswith("pass 120  best 50.00 %")


def test_a_long_label_and_long_numbers_stay_in_two_lines(observer: BarObserver) -> None:
    observer.begin("search, 16 processes", 0)
    observer.trial("cascaded-forward:blocks=dfa:activation=tanh:loss=squared-error, trial 100 of 200", 10_000)
    observer.passed(after(1_000, 1.0, 1.23e5))
    what, how_far = picture(observer)
    assert what.startswith("search, 16 processes (cascaded-forward:blocks=dfa") and what.endswith("…")
    assert how_far.startswith("pass 1000 of 10000  best 100.00 %  123 kJ")
    assert max(len(what), len(how_far)) <= 80


def test_a_stage_that_ended_early_counts_as_a_whole(observer: BarObserver) -> None:
    observer.begin("backprop, seed 0", 40)
    observer.passed(after(1))
    observer.end("backprop, seed 0: test accuracy 0.9")
    assert observer._bar.tasks[0].completed == 40


def test_a_new_stage_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch, observer: BarObserver) -> None:
    calls: list[str] = []
    for name in ("start", "stop", "refresh"):
        monkeypatch.setattr(observer._bar, name, lambda name=name: calls.append(name))
    with observer as entered:
        assert entered is observer
        observer.begin("a", 4)
        observer.trial("b", 3)
    assert calls == ["start", "refresh", "refresh", "stop"]
    observer._bar.update(observer._task, description="of the stage before")
    observer.begin("c", 4)
    assert (observer._bar.stage, observer._bar.tasks[0].description, observer._bar.tasks[0].total) == ("c", "", 240)


def test_it_shows_the_last_pass_of_a_stage_and_is_gone_at_the_end(observer: BarObserver) -> None:
    assert observer._bar.stage == "starting"
    observer.end("before any stage")
    assert observer._bar.tasks[0].completed == 0
    observer.passed(after(1, 0.0))
    assert observer._bar.tasks[0].description == "pass 1  best 0.00 %"
    observer.begin("a", 2)
    for number in (1, 2, 3):
        observer.passed(after(number))
        of = "" if number > 2 else " of 2"
        assert observer._bar.tasks[0].description == f"pass {number}{of}  best 50.00 %"
    observer.end("[bold]a[/bold]: 0.5")
    assert observer._bar.tasks[0].completed == 4, "more passes than it was said to have"
    console: Any = observer._bar.console
    assert console.file.getvalue() == "before any stage\n[bold]a[/bold]: 0.5\n"
    assert (observer._bar.live.transient, observer._bar.live.auto_refresh, observer._bar.expand) == (True, False, True)
    assert REDRAW_S == 0.5


def test_a_line_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch, observer: BarObserver) -> None:
    printed: list[Any] = []
    monkeypatch.setattr(observer._bar.console, "print", lambda line, **how: printed.append((line, how)))
    observer.end("a: 0.5")
    assert printed == [("a: 0.5", {"highlight": False, "markup": False})]
