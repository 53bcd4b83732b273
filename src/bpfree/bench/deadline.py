"""A comparison that ends at a given moment: between passes, with the run in progress recorded as interrupted.

The same comparison, given the same directory again, makes that run again and continues. What was cut says nothing about its arm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from bpfree.train import Progress

__all__ = ["DeadlineObserver", "TimeIsUp"]

_SEED = ", seed "
"""What stands between arm and seed in the name of a measured run's stage."""


class TimeIsUp(KeyboardInterrupt):
    """The time given to a comparison is used up. An interruption, as by SIGTERM: whoever handles that one handles this."""


class DeadlineObserver:
    """An observer that ends a comparison before ``until_s``.

    A run begins only if there is time for as long as the same arm took before (for its first run: the longest of the others), so
    that little is cut; a pass begins only if there is time for one more of its length.

    Args:
        until_s: on ``clock`` (s).
        lasted_s: by arm how long its earlier runs took (s), of a comparison that is resumed.
        clock: monotonic seconds.
        on_pass: called after every pass.
    """

    def __init__(
        self,
        until_s: float,
        *,
        lasted_s: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_pass: Callable[[], None] = lambda: None,
    ) -> None:
        self._until_s, self._clock, self._on_pass = until_s, clock, on_pass
        self._lasted_s = dict(lasted_s or {})
        self._arm: str | None = None
        self._begun_s = self._last_s = clock()

    def begin(self, stage: str, n_passes: int) -> None:
        """A search or a run begins.

        Raises:
            TimeIsUp: there is no time for it; nothing has been recorded of it.
        """
        del n_passes
        arm, seed, _ = stage.rpartition(_SEED)
        self._arm = arm if seed else None
        self._begun_s = self._last_s = self._clock()
        expected_s = self._lasted_s.get(arm, max(self._lasted_s.values(), default=0.0)) if seed else 0.0
        self._check(expected_s)

    def trial(self, words: str, n_passes: int) -> None:
        """Nothing: a search as a whole is a stage."""

    def passed(self, progress: Progress) -> None:
        """A pass is done.

        Raises:
            TimeIsUp: the next one would end too late.
        """
        del progress
        self._on_pass()
        now_s = self._clock()
        pass_s, self._last_s = now_s - self._last_s, now_s
        self._check(pass_s)

    def advance(self, n_passes: int) -> None:
        """Passes were done in other processes.

        Raises:
            TimeIsUp: the time is used up.
        """
        del n_passes
        self._on_pass()
        self._check(0.0)

    def end(self, line: str) -> None:
        """The stage is over."""
        del line
        if self._arm is not None:
            self._lasted_s[self._arm] = max(self._clock() - self._begun_s, self._lasted_s.get(self._arm, 0.0))
        self._on_pass()

    def _check(self, expected_s: float) -> None:
        if self._clock() + expected_s > self._until_s:
            raise TimeIsUp
