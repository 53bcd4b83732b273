"""Section 4: clocks and power over time of Forward-Forward beside backprop, in whole training.

That is passes, and validation after each. The two alternate, so that a device that grows warm does so for both. The samples are
in ``timelines/``.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from bpfree.bench.arm import Arm
from bpfree.bench.cost import warm_up
from bpfree.meter import Window, spread
from bpfree.meter.timeline import QUANTITIES
from bpfree.rulesets import Patience
from bpfree.text import slug
from bpfree.train import initialise, training

from .context import Context
from .store import Section, now, say

__all__ = ["ARMS", "run"]

ARMS = ("backprop", "forward-forward")
TURNS = 2
_MOST_S, _OVERHEAD_SHARE = 30.0, 0.2
_ENDLESS = Patience(None, max_passes=10**6, restore_best=False)


def run(context: Context, section: Section, given_s: float) -> str | None:
    """One window after another, each a quarter of the time at most; says why not all are there."""
    until_s = time.monotonic() + given_s
    context.measure_idle()
    windows: list[dict[str, Any]] = section.data.setdefault("windows", [])
    missing = [(turn, arm) for turn in range(TURNS) for arm in ARMS if not any(_is(w, turn, arm) for w in windows)]
    for place, (turn, arm) in enumerate(missing):
        left_s = until_s - time.monotonic()
        seconds = min(_MOST_S, (1 - _OVERHEAD_SHARE) * left_s / (len(missing) - place))
        if seconds <= 0:
            return "the time was used up"
        windows.append(_window(context, Arm.parse(arm), turn, seconds))
        section.save()
        say(f"clocks: {arm}, turn {turn + 1}: {windows[-1]['passes']} passes in {windows[-1]['time_s']:.1f} s")
    return None


def _is(window: dict[str, Any], turn: int, arm: str) -> bool:
    return (window["turn"], window["arm"]) == (turn, arm)


def _window(context: Context, arm: Arm, turn: int, seconds: float) -> dict[str, Any]:
    setting = context.setting
    data, batch_size = setting.data.without_test(), setting.ruleset.batch_size
    rule, net = arm.build({}), setting.build_net()
    state = initialise(rule, net, turn, setting.device)
    warm_up(rule, net, state, data, batch_size)
    passes, eval_time_s, started_at = 0, 0.0, now()
    with context.meter.window() as window:
        run = training(rule, net, data, _ENDLESS, batch_size=batch_size, seed=turn, state=state, clock=window)
        for progress in run:
            passes, eval_time_s = progress.passes, progress.eval_time_s
            if progress.time_s * (1 + 1 / passes) > seconds:  # the next pass would end too late
                break
    about = {"arm": arm.label, "dataset": data.name, "net": setting.net, "seed": turn, "started_at": started_at}
    name = f"timelines/clocks-{slug(arm.label)}-{turn + 1}.jsonl"
    context.store.write_text(name, window.trace.lines(about))
    return about | {"turn": turn, "passes": passes, "eval_time_s": eval_time_s, "trace": name} | _measured(window)


def _measured(window: Window) -> dict[str, Any]:
    reading = window.reading
    assert reading is not None
    seen = {name: spread(window.timeline, name) for name in QUANTITIES}
    return {
        "time_s": reading.time_s,
        "joules": reading.joules,
        "net_joules": reading.net_joules,
        "mean_w": None if reading.joules is None else reading.joules / reading.time_s,
        "n_samples": len(window.timeline),
        "device": {
            name: None if values is None else dataclasses.asdict(values) | {"variation": values.variation}
            for name, values in seen.items()
        },
        "reasons": reading.reasons | {f"device.{name}": why for name, why in window.trace.reasons().items()},
    }
