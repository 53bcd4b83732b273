"""What broke a run, what ends a comparison in time, and what is shown meanwhile: every border and every line by value."""

from __future__ import annotations

import errno
import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from bpfree.bench import bar, deadline, device, load
from bpfree.bench.bar import BarObserver
from bpfree.bench.causes import ends_the_process, interruption, raise_on, says, world_cause
from bpfree.bench.deadline import DeadlineObserver, TimeIsUp
from bpfree.errors import DeviceError, RunInterruptedError, StorageError, UsageError

ANY: Any = None
ASSERT = RuntimeError("CUDA error: device-side assert triggered")


def from_cause(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def named(name: str, text: str) -> RuntimeError:
    return type(name, (RuntimeError,), {})(text)


def test_errors_are_known_by_name_too() -> None:
    assert world_cause(named("OutOfMemoryError", "in other words")) == "memory"
    assert world_cause(named("AcceleratorError", "in other words")) == "device"
    assert world_cause(named("AcceleratorError", str(ASSERT))) is None
    assert world_cause(named("AnotherError", "in other words")) is None


def test_a_chain_is_followed_to_its_end_and_a_circle_once_around() -> None:
    deep = from_cause(ValueError("a"), from_cause(UsageError("b"), MemoryError()))
    assert world_cause(deep) == "memory"
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__cause__ = other, one
    assert world_cause(one) is None
    assert ends_the_process(from_cause(ValueError("a"), ASSERT))
    assert not ends_the_process(from_cause(ValueError("a"), ValueError("b")))


def test_an_error_in_one_line() -> None:
    assert says(ValueError("first\nsecond")) == "ValueError: first"
    assert says(MemoryError()) == "MemoryError: no message"


def test_what_the_command_is_to_raise() -> None:
    refused = StorageError("cannot write a: the disk is full")
    assert interruption(from_cause(ValueError("a"), refused)) is refused
    full = from_cause(UsageError("a"), OSError(errno.ENOSPC, "full", "file"))
    assert isinstance(interruption(full), StorageError)
    assert str(interruption(full)).startswith("cannot write file: ")
    dying = interruption(OSError(errno.EIO, "the disk is dying"))
    assert isinstance(dying, RunInterruptedError)
    assert (str(dying), dying.cause) == (
        f"a file could not be read or written (OSError: [Errno {errno.EIO}] the disk is dying)", "storage",
    )  # fmt: skip
    memory = interruption(MemoryError())
    assert (str(memory), getattr(memory, "cause", None)) == ("memory ran out (MemoryError: no message)", "memory")
    lost = RunInterruptedError("the device was lost", "device")
    assert interruption(lost) is lost
    assert interruption(ValueError("a")) is None


def test_a_run_that_the_arm_broke_is_passed_over_and_others_are_raised() -> None:
    raise_on(None)
    raise_on(ValueError("a"))
    pressed = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        raise_on(pressed)
    assert caught.value is pressed
    problem = MemoryError()
    with pytest.raises(RunInterruptedError, match=r"^memory ran out \(MemoryError: no message\)$") as memory:
        raise_on(problem)
    assert (memory.value.cause, memory.value.__cause__) == ("memory", problem)
    with pytest.raises(RunInterruptedError) as lost:
        raise_on(ASSERT)
    assert str(lost.value) == f"the device takes no more work after a failed run (RuntimeError: {ASSERT})"
    assert (lost.value.cause, lost.value.__cause__) == ("device", ASSERT)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def at(clock: Clock, now_s: float, call: Any, *arguments: Any) -> bool:
    """Whether there was time."""
    clock.now_s = now_s
    try:
        call(*arguments)
    except TimeIsUp:
        return False
    return True


def test_a_stage_may_end_exactly_at_the_end_of_the_time() -> None:
    clock = Clock()
    observer = DeadlineObserver(10.0, clock=clock)
    assert at(clock, 9.5, observer.begin, "a, seed 0", 5), "nothing is known of its length"
    assert at(clock, 9.5, observer.begin, "search a", 5)
    assert at(clock, 9.5, observer.advance, 3)
    assert at(clock, 10.0, observer.advance, 3)
    assert not at(clock, 10.25, observer.advance, 3)
    clock.now_s = 4.0
    observer.begin("search a", 5)
    assert at(clock, 7.0, observer.passed, ANY), "the next pass ends at 10"
    assert not at(clock, 8.75, observer.passed, ANY), "the next pass ends at 10.5"


def test_a_run_is_expected_to_last_as_long_as_the_longest_of_its_arm_or_else_of_any() -> None:
    clock, heard = Clock(), [0]

    def hear() -> None:
        heard[0] += 1

    observer = DeadlineObserver(20.0, lasted_s={"b": 2.0}, clock=clock, on_pass=hear)
    assert at(clock, 0.0, observer.begin, "a, seed 7, seed 0", 5)
    clock.now_s = 3.0
    observer.end("")  # an arm of an odd name: 3 s
    assert at(clock, 0.0, observer.begin, "b, seed 0", 5)
    clock.now_s = 1.0
    observer.end("")  # 1 s, less than before
    assert (at(clock, 17.0, observer.begin, "a, seed 7, seed 1", 5), at(clock, 17.5, observer.begin, "a, seed 7, seed 1", 5)) == (
        True,
        False,
    )
    assert (at(clock, 18.0, observer.begin, "b, seed 1", 5), at(clock, 18.5, observer.begin, "b, seed 1", 5)) == (True, False)
    assert (at(clock, 17.0, observer.begin, "c, seed 1", 5), at(clock, 17.5, observer.begin, "c, seed 1", 5)) == (True, False)
    assert at(clock, 19.5, observer.begin, "search c", 5)
    clock.now_s = 19.9
    observer.end("a search has no length of its own")
    assert at(clock, 17.0, observer.begin, "c, seed 1", 5)
    assert heard == [3]
    assert at(clock, 0.0, observer.begin, "d, seed 0", 5)
    clock.now_s = 0.5
    observer.end("half a second")
    assert at(clock, 19.5, observer.begin, "d, seed 1", 5)
    clock.now_s = 17.0
    observer.begin("search d", 5)
    observer.passed(ANY)
    observer.advance(2)
    assert heard == [6]
    assert issubclass(deadline.TimeIsUp, KeyboardInterrupt)


def console() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, color_system="standard", width=80), file


def test_a_bar_is_drawn_by_no_thread_and_is_gone_at_the_end() -> None:
    shown, file = console()
    with BarObserver(shown, 10) as observer:
        live = observer._bar.live
        assert live.is_started
        assert not live.auto_refresh
        assert live.transient
        (task,) = observer._bar.tasks
        assert (task.total, task.completed, task.description) == (10, 0, "starting")
        remaining: Any = observer._bar.columns[-1]
        assert remaining.compact
        observer.end("before any stage")
        assert task.completed == 0
        drawn: list[str] = []
        observer._bar.refresh = lambda: drawn.append(task.description)  # type: ignore[method-assign]
        observer.begin("search a", 4)
        assert drawn == ["search a"]
        observer.passed(ANY)
        observer.end("[b]a[/b] 0.5")
        assert task.completed == 4, "what early stopping saved counts"
        observer.begin("b", 1)
        observer.passed(ANY)
        observer.passed(ANY)
        observer.end("more passes than were announced")
        assert task.completed == 6
    assert not live.is_started
    assert "[b]a[/b] 0.5" in file.getvalue(), "neither markup nor colours"


@pytest.mark.parametrize(("looks_s", "drawn_s"), [((0.25, 0.75, 1.25, 1.5), [0.75, 1.5]), ((0.5, 0.5625), [0.5625])])
def test_a_bar_is_drawn_at_most_twice_a_second(
    looks_s: tuple[float, ...], drawn_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(bar.time, "monotonic", lambda: now[0])
    observer, drawn = BarObserver(console()[0], 10), []
    monkeypatch.setattr(observer._bar, "refresh", lambda: drawn.append(now[0]))
    for now[0] in looks_s:
        observer.passed(ANY)
    assert drawn == drawn_s


def test_the_processor_is_asked_for_its_busy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of this process, and busy ones of the processor out of all."""
    looks = iter([(2.0, (30.0, 900.0)), (3.0, (34.0, 950.0))])
    seen: list[Any] = []

    def process_time() -> float:
        seen[:] = next(looks)
        return seen[0]

    monkeypatch.setattr(load.time, "process_time", process_time)
    monkeypatch.setattr(load, "busy_and_total_s", lambda: seen[1])
    assert load.LoadWatch().stop() == load.Load(1.0, 0.75)


def test_others_have_a_share_of_one_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of the process that was set back."""
    looks = iter([(5.0, 10.0), (4.0, 14.0)])
    monkeypatch.setattr(load.LoadWatch, "_now", lambda self: next(looks))
    assert load.LoadWatch().stop().others == 1.0


@pytest.mark.parametrize(
    ("name", "count", "cuda", "told"),
    [
        ("cpu", 0, None, None),
        ("cuda", 2, "12.0", None),
        ("cuda:1", 2, "12.0", None),
        ("cuda:2", 2, "12.0", "--device cuda:2 was asked, but there are 2 GPUs, numbered from 0"),
        (
            "cuda", 0, None,
            "--device cuda was asked, but this torch was built without CUDA; choose --device cpu (bpfree doctor says more)",
        ),
        (
            "cuda:0", 0, "12.0",
            "--device cuda:0 was asked, but torch finds no NVIDIA GPU; choose --device cpu (bpfree doctor says more)",
        ),
        ("toaster", 0, None, "unknown device 'toaster'; choose --device cpu or --device cuda"),
    ],
)  # fmt: skip
def test_devices(name: str, count: int, cuda: str | None, told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count))
    monkeypatch.setattr(torch.version, "cuda", cuda)
    if told is None:
        assert device.torch_device(name) == torch.device(name)
        return
    with pytest.raises(DeviceError) as error:
        device.torch_device(name)
    assert str(error.value) == told
