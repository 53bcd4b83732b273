"""What an energy source is: a cumulative counter in joules with a name, a scope and a period; and sources that are missing."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from bpfree.errors import BpfreeError

__all__ = ["CountingSource", "EnergySource", "Missing", "PolledSource", "SourceError"]

T = TypeVar("T", int, float)


class SourceError(BpfreeError, RuntimeError):
    """A source that cannot be read any more, or whose count cannot be trusted; the message says why."""


class EnergySource(ABC):
    """A cumulative counter of energy.

    Attributes:
        name: ``kind:domain``, such as ``"rapl:package-0"``. Two sources with the same domain and scope measure the same thing:
            the better method is summed, the other is a cross-check.
        scope: ``"gpu-board"``, ``"cpu-package"``, ``"dram"``, ``"machine"``; an estimate says so in its scope.
        method: ``"nvml-counter"``, ``"nvml-power"``, ``"rapl"``, ``"estimate"``, ``"replay"``.
        measured: false only for an estimate.
        period_s: how often the counter moves (s); a window shorter than 20 periods is not resolved.
        poll_s: how often it must be read for its count to be right (s); ``None`` when twice is enough.
        basis: of an estimate, how its joules are made, with their interval and source; else empty.
    """

    name: str
    scope: str
    method: str
    measured: bool
    period_s: float
    poll_s: float | None = None
    basis: str = ""

    @abstractmethod
    def joules(self) -> float:
        """Joules counted so far. Only differences have a meaning; it never decreases.

        Raises:
            SourceError: it cannot be read any more.
        """

    def open(self) -> None:  # noqa: B027 - a hook: most sources need nothing here
        """Called when a first window opens: leave out what was counted since the last window."""

    @property
    def domain(self) -> str:
        """What is measured, without how: ``"package-0"``."""
        return self.name.partition(":")[2] or self.name


@dataclass(frozen=True)
class Missing:
    """A source that this machine does not offer: why, and what would change that.

    Attributes:
        scope: of a counter that is there and cannot be read: what others of the same scope (or of the memory, for a processor)
            count is then no total. ``"gpu-board"``: the board that does the work is not counted, so nothing is a total. Else
            empty.
    """

    name: str
    reason: str
    cure: str
    scope: str = ""


class PolledSource(EnergySource, Generic[T]):
    """A source made of single readings, each added to a total; it fails for good when a reading cannot be trusted.

    A subclass adds the energy since the last reading in :meth:`_add`, or calls :meth:`_fail`. After a failure every reading
    raises the same error, until a new window opens.

    Args:
        read: the raw reading; raises :class:`SourceError`.
        poll_s: how often it is read in a window (s).
        clock: monotonic seconds.
    """

    measured = True

    def __init__(
        self,
        name: str,
        *,
        scope: str,
        method: str,
        period_s: float,
        read: Callable[[], T],
        poll_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.name, self.scope, self.method = name, scope, method
        self.period_s, self.poll_s = period_s, poll_s
        self._read, self._clock = read, clock
        self._lock = threading.Lock()  # the sampler's thread and the window read the same source
        self._last: tuple[T, float] | None = None
        self._failure: str | None = None

    def open(self) -> None:
        with self._lock:
            self._last, self._failure = None, None

    def joules(self) -> float:
        with self._lock:
            if self._failure is not None:
                raise SourceError(self._failure)
            value, now_s = self._read(), self._clock()
            if self._last is not None:
                self._add(value, now_s, *self._last)
            self._last = (value, now_s)
            return self._total_joules()

    @abstractmethod
    def _add(self, value: T, now_s: float, last_value: T, last_s: float) -> None:
        """Add the energy between two readings to the total, or :meth:`_fail`."""

    @abstractmethod
    def _total_joules(self) -> float:
        """The total (J), over all windows."""

    def _fail(self, reason: str) -> NoReturn:
        """Trust no reading any more, for this ``reason``.

        Raises:
            SourceError: always.
        """
        self._failure = reason
        raise SourceError(reason)


class CountingSource(PolledSource[int]):
    """An integer counter of the hardware, made monotonic.

    A count that went back is either a wrap or a reset. It is taken for a wrap when that gives a power which the hardware can
    draw; otherwise the count is not trusted any more, and every reading says so until a new window opens.

    Args:
        read: the raw count; raises :class:`SourceError`.
        joules_per_count: 1e-3 for millijoules; the only conversion.
        modulus: counts after which the counter starts again from 0.
        max_power_w: more than the hardware can draw (W).
        poll_s: how often it is read in a window (s).
    """

    def __init__(
        self,
        name: str,
        *,
        scope: str,
        method: str,
        period_s: float,
        read: Callable[[], int],
        joules_per_count: float,
        modulus: int,
        max_power_w: float,
        poll_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, scope=scope, method=method, period_s=period_s, read=read, poll_s=poll_s, clock=clock)
        self._joules_per_count, self._modulus, self._max_power_w = joules_per_count, modulus, max_power_w
        self._total = 0  # counts since the first reading: a double has few digits left for a counter of years

    def _add(self, value: int, now_s: float, last_value: int, last_s: float) -> None:
        elapsed_s, step = now_s - last_s, value - last_value
        if elapsed_s * self._max_power_w >= self._modulus * self._joules_per_count:
            self._fail(f"the counter was not read for {elapsed_s:.0f} s, in which it may have wrapped unseen")
        if step < 0:
            step += self._modulus
            # One period of grace: the count may have been taken up to a period before it was read.
            most_j = self._max_power_w * (elapsed_s + max(self.period_s, 0.1))
            if not 0 <= step * self._joules_per_count <= most_j:
                self._fail(f"the counter went back from {last_value} to {value}: it was reset (was the driver loaded again?)")
        self._total += step

    def _total_joules(self) -> float:
        return self._total * self._joules_per_count
