"""``answer.md``: what was measured, from the stored sections; what was not, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_time

from .options import SECTIONS
from .store import TITLES, Store

__all__ = ["FIGURES", "write_page"]

FIGURES = {
    "costs": ("costs-energy.svg", "costs-time.svg"),
    "experiment": ("difference.svg", "accuracy-energy.svg", "accuracy-time.svg", "curves-seconds.svg"),
    "clocks": ("clocks-clock.svg", "clocks-power.svg", "clocks-load.svg"),
}
"""What a section shows, where it is there: files of ``figures/``, or of the experiment's report."""


def write_page(store: Store) -> None:
    """Write the page."""
    answer = store.answer()
    lines = ["# The answer of this machine", "", *_about(answer["about"])]
    for name in SECTIONS:
        section = answer["sections"][name]
        lines += ["", f"## {TITLES[name]}"] + ([""] if section["status"] != "done" else [])
        if section["status"] != "done":
            lines.append(f"**{section['status']}**: {section['reason']}")
        if section["data"]:
            lines += ["", *_BODIES[name](section["data"])]
        folder = f"{section['data'].get('directory')}/report/figures" if name == "experiment" else "figures"
        for figure in FIGURES.get(name, ()):
            if (store.out / folder / figure).exists():
                lines += ["", f"![{TITLES[name]}]({folder}/{figure})"]
    lines += ["", "## Time", "", *_time(answer["sections"])]
    store.write_text("answer.md", "\n".join(lines) + "\n")


def _about(about: dict[str, Any]) -> list[str]:
    if not about:
        return ["Nothing has been measured yet."]
    commit = "commit not known" if about["commit"] is None else f"commit {about['commit'][:10]}"
    commit += " with changes" if about["changed_since_commit"] else ""
    driver = "" if about["driver"] is None else f", driver {about['driver']}"
    cuda = "" if about["cuda"] is None else f", CUDA {about['cuda']}"
    examples = ", ".join(f"{n:,} {split}" for split, n in about["examples"].items())
    return [
        f"{about['device']}{driver}, torch {about['torch']}{cuda}, eager execution, float32, {about['date'][:10]}, {commit}.",
        f"Data: {about['dataset']} ({examples}; augmentation {about['augmentation']}), net `{about['net']}`.",
        f"Made by `{about['command']}`. All values: `answer.json`.",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """A table in Markdown; the first ``words`` columns are text."""
    align = "".join("---|" if k < words else "---:|" for k in range(len(head)))
    return ["| " + " | ".join(head) + " |", "|" + align, *("| " + " | ".join(row) + " |" for row in rows)]


def _ratio(value: float | None) -> str:
    return MISSING if value is None else f"×{value:.2f}"


def _number(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)


def _doctor(data: dict[str, Any]) -> list[str]:
    words = {True: "passed", False: "**failed**", None: "not checked"}
    checks = sorted(data["checks"], key=lambda check: check["passed"] is not False)
    lines = _table(("check", "", "what"), ((check["name"], words[check["passed"]], check["text"]) for check in checks), words=3)
    idle = ", ".join(f"{name} {watts:.4g} W" for name, watts in (data["idle_w"] or {}).items())
    nulls = [f"{each['quantity']}: {each['why_null']}" for each in data["findings"] if each["verdict"] == "null"]
    lines += ["", f"Idle power: {idle or data['not_idle'] or 'not measured'}; {data['seconds']:.0f} s of idling and of load."]
    return lines + (["", "Not measured here:", "", *(f"- {each}" for each in nulls)] if nulls else [])


def _costs(data: dict[str, Any]) -> list[str]:
    lines = [
        "Every window holds repeated calls; the arms follow one another. A ratio is of windows of the same turn; all values are "
        f"medians over turns. Ratios are to {data['reference']}, at matched passes; an arm of several phases has their mean.",
        "A pass holds everything but validation; a step has its batch ready. Net: above idle power.",
    ]
    rows = data.get("summary", [])
    for kind, batch_size in dict.fromkeys((row["kind"], row["batch_size"]) for row in rows):
        chosen = [row for row in rows if (row["kind"], row["batch_size"]) == (kind, batch_size)]
        head = ("arm", "turns", "time", "ratio", "energy", "ratio", "net energy", "ratio", "time a step", "energy a step")
        cells = (
            (
                f"`{row['arm']}`", str(row["rounds"]), format_time(row["call_s"]), _ratio(row["call_s_ratio"]),
                format_energy(row["call_j"]), _ratio(row["call_j_ratio"]), format_energy(row["net_call_j"]),
                _ratio(row["net_call_j_ratio"]), format_time(row["step_s"]), format_energy(row["step_j"]),
            )
            for row in chosen
        )  # fmt: skip
        lines += ["", f"**A {kind}, batch {batch_size}**", "", *_table(head, cells)]
    lines += _phases(data.get("groups", []))
    reasons = dict.fromkeys(why for row in rows for why in row["reasons"].values())
    reasons |= dict.fromkeys(f"{arm}: {why}" for arm, why in data.get("refused", {}).items())
    windows = [window for group in data.get("groups", []) for window in group["windows"]]
    reading = dict.fromkeys(w["arm"] for w in windows if w.get("reads_features"))
    reasons |= dict.fromkeys(f"`{arm}` reads features that were computed once, before the window" for arm in reading)
    reasons |= dict.fromkeys(why for w in windows for key, why in w.get("reasons", {}).items() if key.startswith("energy.flag."))
    return lines + (["", *(f"- {why}" for why in reasons)] if reasons else [])


def _phases(groups: Sequence[dict[str, Any]]) -> list[str]:
    """Each phase of the arms that have several, and the allocator's peaks, of the first turn."""
    windows = [(g, w) for g in groups if g["round"] == 0 for w in g["windows"] if "error" not in w]
    several = [(g, w) for g, w in windows if w["n_phases"] > 1]
    rows = (
        (f"`{w['arm']}`", w["phase"], g["kind"], str(g["batch_size"]), format_time(w["call_s"]), format_energy(w["call_j"]))
        for g, w in several
    )
    lines = ["", "Single phases, first turn:", "", *_table(("arm", "phase", "", "batch", "time", "energy"), rows, 3)]
    peaks = [(g, w) for g, w in windows if w["allocator_bytes"] is not None]
    cells = ((f"`{w['arm']}`", w["phase"], g["kind"], str(g["batch_size"]), format_bytes(w["allocator_bytes"])) for g, w in peaks)
    head = ("arm", "phase", "", "batch", "peak of the allocator, beyond the data")
    return (lines if several else []) + (["", *_table(head, cells, 3)] if peaks else [])


def _experiment(data: dict[str, Any]) -> list[str]:
    rows = data.get("summary", [])
    head = ("arm", "runs", "pairs", "test accuracy, %", "difference, points", "passes", "time", "ratio", "energy", "ratio",
            "net energy", "ratio", "multiply-adds", "ratio")  # fmt: skip
    cells = (
        (
            f"`{row['arm']}`", str(row["runs"]), str(row["pairs"]),
            _number(None if row["test_accuracy"] is None else 100 * row["test_accuracy"], ".2f"),
            _number(None if row["difference"] is None else 100 * row["difference"], "+.2f"),
            _number(row["passes"], ".1f"), format_time(row["time_s"]), _ratio(row["time_s_ratio"]),
            format_energy(row["joules"]), _ratio(row["joules_ratio"]), format_energy(row["net_joules"]),
            _ratio(row["net_joules_ratio"]), format_count(row["macs"]), _ratio(row["macs_ratio"]),
        )
        for row in rows
    )  # fmt: skip
    bad = [run for run in data.get("runs", []) if run["status"] != "ok"]
    where = data.get("directory")
    lines = [
        "Means over seeds; differences and ratios are paired by seed, to the first arm. A run that was interrupted counts for "
        f"nothing, and the next call makes it again. Intervals and verdicts: `bpfree report {where}`.",
        "",
        *_table(head, cells),
    ]
    listed = [f"- {run['arm']}, seed {run['seed']}: {run['status']} ({run['reasons'].get('status', '')})" for run in bad]
    return [*lines, *([""] if bad else []), *listed]


def _clocks(data: dict[str, Any]) -> list[str]:
    head = ("arm", "turn", "passes", "time", "mean power", "clock, MHz", "its deviation", "power, W", "its deviation")

    def spread(window: dict[str, Any], quantity: str) -> tuple[str, str]:
        values = window["device"][quantity]
        if values is None:
            return MISSING, MISSING
        return f"{values['mean']:.4g} ({values['least']:.4g} to {values['most']:.4g})", f"{values['variation']:.1%}"

    windows = data.get("windows", [])
    cells = (
        (
            f"`{w['arm']}`", str(w["turn"] + 1), str(w["passes"]), format_time(w["time_s"]),
            MISSING if w["mean_w"] is None else f"{w['mean_w']:.4g} W", *spread(w, "clock_mhz"), *spread(w, "power_w"),
        )
        for w in windows
    )  # fmt: skip
    reasons = dict.fromkeys(why for w in windows for key, why in w["reasons"].items() if key.startswith(("device.", "energy.j")))
    words = "Training as it is, with validation after each pass, ten samples a second. Deviation: as a share of the mean."
    return [words, "", *_table(head, cells), *([""] if reasons else []), *(f"- {why}" for why in reasons)]


def _tests(data: dict[str, Any]) -> list[str]:
    if "tests" not in data:
        return []
    lines = [f"{data['passed']} passed, {data['failed']} failed, {data['skipped']} skipped in {format_time(data['time_s'])}."]
    bad = [test for test in data["tests"] if test["outcome"] != "passed"]
    return [*lines, "", *(f"- {test['name']}: {test['outcome']} ({test['why']})" for test in bad)]


_BODIES = {"doctor": _doctor, "costs": _costs, "experiment": _experiment, "clocks": _clocks, "tests": _tests}


def _time(sections: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        (name, call["started_at"], format_time(call["given_s"]), format_time(call["used_s"]), call["status"])
        for name in SECTIONS
        for call in sections[name]["calls"]
    ]
    return _table(("section", "from", "given", "used", "then"), rows, words=2)
