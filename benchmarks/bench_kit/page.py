"""The part of docs/performance.md that is made of benchmarks/results/bench.json: tables and a figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from bpfree.files import write_atomic
from bpfree.report.looks import on
from bpfree.report.svg import INK, SERIES, render, standalone
from bpfree.units import MISSING, format_bytes, format_time

from .looks import CONFIG
from .measuring import KINDS

__all__ = ["BEGIN", "END", "part", "write"]

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- made by python benchmarks/bench.py --page -->", "<!-- end of bench -->"
FIGURE = "figures/bench-step.svg"
Found = Mapping[str, Any]


def write(found: Found) -> None:
    """Put the part and the figure where they belong."""
    path = DOCS / "performance.md"
    text = path.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_atomic(path, f"{before}{BEGIN}\n{part(found)}{END}{after}")
    write_atomic(DOCS / FIGURE, figure(found))


def part(found: Found) -> str:
    """Markdown."""
    lines = [
        "",
        *textwrap.wrap(_made(found), 128, break_long_words=False, break_on_hyphens=False),
        "",
        f"![Seconds of a step beside torch's own]({FIGURE})",
        "",
        *_cases(found["cases"]),
        *_best_tiers(found["cases"]),
        *_programs(found["programs"]),
    ]
    return "\n".join(lines) + "\n"


def _made(found: Found) -> str:
    """When, where and how the figures were made."""
    facts, load = found["environment"], found["load"]
    return (
        f"{found['measured_at'][:10]}, {facts.get('gpu') or facts['processor']}, {facts['torch_threads']} thread, torch "
        f"{facts['versions']['torch']}; load {load[0]:.1f} before and {load[1]:.1f} after; {found['windows']} windows of each in "
        "turns. **Ratios to torch's own training step** (`nn.Module`, autograd, fused AdamW) on the same net: of the least "
        "windows, and in brackets the median of neighbouring windows. An arm of several phases is timed in its first; a rule "
        "whose blocks do not learn, on features that were computed before."
    )


def _cases(cases: Sequence[Found]) -> Iterator[str]:
    columns = ["net, batch", "arm", "tier", "step", "× eager", "its multiply-adds", "pass", "evaluation", "pass by its steps"]
    columns[8:8] = ["multiply-adds of that"]
    columns += ["live bytes of a step", "compiling"]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + 3 * "---|" + 9 * "---:|"
    for case in cases:
        eager = {row["arm"]: row for row in case["rows"] if row["tier"] == "eager"}
        for row in case["rows"]:
            first = row["arm"] == "torch"
            cells = [case["case"], row["arm"], row["tier"]]
            for kind in KINDS:
                cells.append(_time(row.get(kind), first))
                if kind == "step":
                    cells += [_beside_eager(row, eager.get(row["arm"])), _multiply_adds(row, "multiply_adds", first)]
            cells.append(_multiply_adds(row, "multiply_adds_of_evaluation", first))
            cells.append(MISSING if row["pass_by_steps"] is None else f"{row['pass_by_steps']:.2f}")
            cells.append(_bytes(row, first))
            cells.append(MISSING if row["compile_s"] is None else format_time(row["compile_s"]))
            yield "| " + " | ".join(cells) + " |"
        for who, why in case["refused"].items():
            yield f"| {case['case']} | {who} | | | | | | | | | | {why.replace('|', '/')} |"
    yield ""


def _best_tiers(cases: Sequence[Found]) -> Iterator[str]:
    """A step of each arm in the tier that is quickest for it, in units of backprop's in its own."""
    best = {case["case"]: _quickest(case["rows"]) for case in cases}
    chosen = [row["arm"] for case in cases for row in case["rows"] if row["tier"] != "eager" and row["arm"] != "backprop"]
    arms = list(dict.fromkeys(chosen))  # one that is in the tier eager alone chooses nothing
    known = {name: of_case for name, of_case in best.items() if "backprop" in of_case}
    if not (arms and known):
        return
    yield "A step of each arm in its own best tier, in units of backprop's step in its best tier (least windows):"
    yield ""
    yield "| net, batch | backprop in | " + " | ".join(arms) + " |"
    yield "|---|---|" + "---:|" * len(arms)
    for name, of_case in known.items():
        base, tier = of_case["backprop"]
        cells = [f"{of_case[arm][0] / base:.2f} ({of_case[arm][1]})" if arm in of_case else MISSING for arm in arms]
        yield f"| {name} | {tier} | " + " | ".join(cells) + " |"
    yield ""


def _quickest(rows: Sequence[Found]) -> dict[str, tuple[float, str]]:
    """Least seconds of a step and their tier, by arm."""
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        if "step" in row and row["step"]["least_s"] < best.get(row["arm"], (math.inf, ""))[0]:
            best[row["arm"]] = (row["step"]["least_s"], row["tier"])
    return best


def _time(of_kind: Found | None, first: bool) -> str:
    if of_kind is None:
        return MISSING
    ratio = f"{of_kind['least_ratio']:.2f} ({of_kind['median_ratio']:.2f})"
    return format_time(of_kind["least_s"]) if first else ratio


def _beside_eager(row: Found, eager: Found | None) -> str:
    """Of the least windows of a step."""
    if eager is None or row is eager or "step" not in row or "step" not in eager:
        return MISSING
    return f"{row['step']['least_s'] / eager['step']['least_s']:.2f}"


def _multiply_adds(row: Found, count: str, first: bool) -> str:
    """Of torch's own in millions, of the others as a ratio to that; figures from before they were counted have none."""
    if row.get(count) is None:
        return MISSING
    return f"{row[count] / 1e6:,.0f} M" if first else f"{row[f'{count}_ratio']:.2f}"


def _bytes(row: Found, first: bool) -> str:
    if row["peak_bytes"] is None:
        return MISSING
    return format_bytes(row["peak_bytes"]) if first else f"{row['peak_ratio']:.2f}"


def _programs(programs: Sequence[Found]) -> Iterator[str]:
    if not programs:
        return
    yield "| program | least seconds | median | × `import torch` |"
    yield "|---|---:|---:|---:|"
    for each in programs:
        median = MISSING if each.get("median_s") is None else format_time(each["median_s"])
        yield f"| `{each['program']}` | {format_time(each['least_s'])} | {median} | {each['ratio']:.2f} |"
    yield ""


def figure(found: Found) -> str:
    """Ratios of steps: a panel for each net, a line of points for each rule, one colour for each tier."""
    rows = [
        {"case": case["case"], "arm": row["arm"], "tier": row["tier"], "ratio": round(row["step"]["least_ratio"], 4)}
        for case in found["cases"]
        for row in case["rows"]
        if row["arm"] != "torch" and "step" in row
    ]
    tiers = list(dict.fromkeys(row["tier"] for row in rows))
    colour = alt.Color(
        "tier:N",
        scale=alt.Scale(domain=tiers, range=list(SERIES[1 : 1 + len(tiers)])),
        legend=alt.Legend(orient="top", title=None),
    )
    scale = alt.Scale(domain=[0, 1.05 * max(1.0, *(row["ratio"] for row in rows))], nice=False)
    panels = []
    for case in found["cases"]:
        arms = list(dict.fromkeys(row["arm"] for row in rows if row["case"] == case["case"]))
        points = (
            on("rows")
            .transform_filter(alt.datum.case == case["case"])
            .mark_point(filled=True, size=70, opacity=1)
            .encode(
                x=alt.X("ratio:Q", title="seconds of a step, torch's own = 1", scale=scale),
                y=alt.Y("arm:N", title=None, sort=arms, scale=alt.Scale(domain=arms)),
                color=colour,
            )
        )
        level = on("one").mark_rule(color=INK, strokeDash=[3, 3]).encode(x=alt.X("one:Q", scale=scale))
        panels.append(alt.layer(level, points).properties(width=230, height=24 * len(arms), title=case["case"]))
    chart = alt.vconcat(*(alt.hconcat(*panels[k : k + 2]) for k in range(0, len(panels), 2)))
    words = "Seconds of a training step divided by those of torch's own, a panel for each net, a point for each rule and tier."
    spec = chart.to_dict() | {"datasets": {"rows": rows, "one": [{"one": 1.0}]}, "config": CONFIG}
    return standalone(render(spec), "Seconds of a training step beside torch's own", words)
