"""Section 2: seconds and joules of a pass and of a step, at matched passes: every arm in each of its phases, arms interleaved.

A group is one window of every arm and phase, of one kind, at one batch size. Arms are compared within a group only: its windows
follow one another in one sitting, so a group that was cut is measured again.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Sequence
from typing import Any

import torch

from bpfree.bench.arm import Arm
from bpfree.bench.causes import ends_the_process, says
from bpfree.bench.cost_windows import KINDS, CostWindow, cost_window, phase_names
from bpfree.errors import UsageError

from .context import Context
from .ratios import mean, median, ratio
from .store import Section, now, say

__all__ = ["run", "summary"]

_BETWEEN_S = 1.0
"""A window's overhead before one has been measured (s): initialising, batches, the end of its last call."""

Cell = tuple[Arm, int]
Group = dict[str, Any]


def run(context: Context, section: Section, given_s: float) -> str | None:
    """Measure group after group until they are all there, or the next would end too late; says why not all are."""
    until_s, options = time.monotonic() + given_s, context.options
    context.measure_idle()
    cells = _cells(context, section)
    groups: list[Group] = section.data.setdefault("groups", [])
    groups[:] = [group for group in groups if group["complete"]]
    expected_s = len(cells) * (options.window_s + _warm_up_s(options.window_s) + _BETWEEN_S)
    for turn in range(options.rounds):
        for kind in KINDS:
            for batch_size in options.batch_sizes:
                if any((g["round"], g["kind"], g["batch_size"]) == (turn, kind, batch_size) for g in groups):
                    continue
                left_s = until_s - time.monotonic()
                if expected_s > left_s:
                    return f"a group of {len(cells)} windows takes {expected_s:.0f} s, and {max(0.0, left_s):.0f} s were left"
                begun_s = time.monotonic()
                group: Group = {"kind": kind, "batch_size": batch_size, "round": turn, "started_at": now(), "complete": False}
                groups.append(group | {"windows": []})
                _measure(context, section, groups[-1], _rotated(cells, turn), until_s)
                if not groups[-1]["complete"]:
                    return "the time was used up within a group, which will be measured again"
                expected_s = time.monotonic() - begun_s
    return None


def _cells(context: Context, section: Section) -> list[Cell]:
    """Every arm in every phase; an arm that cannot train the net is left out, with its reason."""
    cells, refused = [], {}
    for arm in context.cost_arms:
        try:
            names = phase_names(arm, context.setting.net, context.setting.data)
        except UsageError as error:
            refused[arm.label] = str(error)
            continue
        cells += [(arm, index) for index in range(len(names))]
    section.data |= {"reference": context.cost_arms[0].label, "refused": refused}
    return cells


def _rotated(cells: Sequence[Cell], turn: int) -> list[Cell]:
    first = turn % len(cells)
    return [*cells[first:], *cells[:first]]


def _measure(context: Context, section: Section, group: Group, cells: Sequence[Cell], until_s: float) -> None:
    lasted_s = 0.0
    for arm, phase_index in cells:
        begun_s = time.monotonic()
        if begun_s + lasted_s > until_s:
            return
        window = _window(context, arm, phase_index, group)
        group["windows"].append(window)
        group["complete"] = len(group["windows"]) == len(cells)
        section.data["summary"] = summary(section.data["groups"], section.data["reference"])
        section.save()
        say(f"costs: batch {group['batch_size']}, {group['kind']}, {arm.label}, phase {phase_index + 1}: {_in_words(window)}")
        lasted_s = max(lasted_s, time.monotonic() - begun_s)


def _window(context: Context, arm: Arm, phase_index: int, group: Group) -> dict[str, Any]:
    """One window as plain values, or why there is none.

    Raises:
        Exception: the device takes no more work.
    """
    options, error_line = context.options, ""
    try:
        window = cost_window(
            arm,
            context.setting.net,
            context.setting.data,
            context.meter,
            batch_size=group["batch_size"],
            kind=group["kind"],
            phase_index=phase_index,
            min_s=options.window_s,
            max_s=2 * options.window_s,
            warm_up_s=_warm_up_s(options.window_s),
        )
    except Exception as error:
        if ends_the_process(error):
            raise
        error_line = says(error)
    if context.setting.device.type == "cuda":  # what the arm held must not be in the next one's peak
        gc.collect()
        torch.cuda.empty_cache()
    if error_line:
        return {"arm": arm.label, "phase_index": phase_index, "error": error_line}
    return _plain(window)


def _warm_up_s(window_s: float) -> float:
    return min(0.5, window_s / 10)


def _plain(window: CostWindow) -> dict[str, Any]:
    def of_step(joules: float | None) -> float | None:
        return None if joules is None else joules / window.n_steps

    return dataclasses.asdict(window) | {
        "call_s": window.call_s,
        "call_j": window.call_j,
        "net_call_j": window.net_call_j,
        "step_s": window.window_s / window.n_steps,
        "step_j": of_step(window.joules),
        "net_step_j": of_step(window.net_joules),
    }


def _in_words(window: dict[str, Any]) -> str:
    if "error" in window:
        return window["error"]
    joules = "no energy" if window["call_j"] is None else f"{window['call_j']:.4g} J"
    return f"{window['call_s']:.4g} s, {joules} ({window['n_calls']} in {window['window_s']:.1f} s)"


VALUES = ("call_s", "call_j", "net_call_j", "step_s", "step_j", "net_step_j")


def summary(groups: Sequence[Group], reference: str) -> list[dict[str, Any]]:
    """For each kind, batch size and arm: the mean over its phases, and its ratio to the reference; medians over the groups.

    ``matched passes``: every arm makes the same number of passes. An arm of several phases shares them among its phases.
    """
    rows = []
    for kind, batch_size in dict.fromkeys((group["kind"], group["batch_size"]) for group in groups):
        same = [group for group in groups if (group["kind"], group["batch_size"]) == (kind, batch_size)]
        for arm in dict.fromkeys(window["arm"] for group in same for window in group["windows"]):
            of_groups = [(_mean(group, arm), _mean(group, reference)) for group in same]
            row: dict[str, Any] = {"kind": kind, "batch_size": batch_size, "arm": arm}
            row["rounds"] = sum(mine["call_s"] is not None for mine, _ in of_groups)
            for name in VALUES:
                row[name] = median([mine[name] for mine, _ in of_groups])
                row[f"{name}_ratio"] = median([ratio(mine[name], base[name]) for mine, base in of_groups])
            row["reasons"] = _reasons(same, arm, row)
            rows.append(row)
    return rows


def _mean(group: Group, arm: str) -> dict[str, float | None]:
    """Of the arm's phases; None where one of them has no value, or was not measured yet."""
    windows = [window for window in group["windows"] if window["arm"] == arm]
    whole = bool(windows) and not any("error" in w for w in windows) and len(windows) == windows[0]["n_phases"]
    values = {name: [window[name] for window in windows] if whole else [] for name in VALUES}
    return {name: mean(of_phases) for name, of_phases in values.items()}


def _reasons(groups: Sequence[Group], arm: str, row: dict[str, Any]) -> dict[str, str]:
    """Why values of the row are None."""
    windows = [window for group in groups for window in group["windows"] if window["arm"] == arm]
    errors = [window["error"] for window in windows if "error" in window]
    given = {key: why for window in windows for key, why in window.get("reasons", {}).items()}
    short = errors[0] if errors else "not every phase was measured"
    keys = {"call_s": "", "call_j": "energy.joules", "net_call_j": "energy.net_joules"}
    return {name: short if errors else given.get(key, short) for name, key in keys.items() if row[name] is None}
