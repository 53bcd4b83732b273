"""What using a model costs, for every rule and readout: latency, throughput, joules, multiply-adds, live bytes.

    python benchmarks/inference.py            # measures (minutes), writes results, figure and the tables of the page
    python benchmarks/inference.py --show     # figure and tables from the results that are there

The nets are initialised, not trained: the cost of a call does not depend on the values of weights. All rules on one net are
measured in one run, in turns. Measured are ``benchmarks/results/inference.json``; made of them ``docs/inference.svg`` and the
tables in ``docs/inference.md`` (between its markers).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: a call is not shared by threads

import altair as alt
import torch

from bpfree import nets
from bpfree.algorithms import NotOrthogonalWarning, make, names
from bpfree.bench import environment
from bpfree.errors import UsageError
from bpfree.files import write_atomic
from bpfree.meter import Meter
from bpfree.models import BATCH_SIZES, Model, measure_inference, readout_of, readouts
from bpfree.report.looks import on
from bpfree.report.svg import GRID, INK, MUTED, SERIES, render, standalone
from bpfree.train import initialise
from bpfree.units import MISSING, format_bytes, format_count, format_energy, format_time

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "inference.json"
PAGE = HERE.parent / "docs" / "inference.md"
FIGURE = HERE.parent / "docs" / "inference.svg"

NETS = {"mlp:2x1000": (784,), "cnn3": (1, 28, 28)}
N_CLASSES = 10
WIDTH = 130
MODELS_MAX_S = 18.0
"""For the timed calls of one model at one batch size: a slow one is timed less often."""

BAR = "M-0.25-1.4h0.5v2.8h-0.5z"
"""An upright bar, as a path: the mark of what is counted, not timed."""

Row = dict[str, Any]


def models_on(spec: str, device: torch.device) -> tuple[dict[str, Model], dict[str, str]]:
    """Every rule with every readout, backprop first, and the rules that refuse this net with their reasons."""
    found: dict[str, Model] = {}
    refused: dict[str, str] = {}
    for name in sorted(names(), key=lambda name: (name != "backprop", name)):
        for rule in readouts(make(name)):
            net = nets.build(spec, NETS[spec], N_CLASSES)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", NotOrthogonalWarning)
                    state = initialise(rule, net, 0, device)
            except UsageError as error:
                refused[name] = str(error)
                continue
            found[f"{name}, {readout_of(rule)}"] = Model(rule, net.eval(), state, rule.phases(net)[-1])
    return found, refused


def measure(device: torch.device, repeats: int) -> dict[str, Any]:
    """All nets; plain values."""
    meter = Meter.detect(device)
    rows: list[Row] = []
    refused: dict[str, dict[str, str]] = {}
    before = os.getloadavg()
    for spec in NETS:
        models, refused[spec] = models_on(spec, device)
        for cost in measure_inference(models, meter, repeats=repeats, n_windows=1, max_s=MODELS_MAX_S):
            rows.append({"net": spec, **dataclasses.asdict(cost)})
    return {
        "command": "python benchmarks/inference.py",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "load_average_before_and_after": [round(before[0], 2), round(os.getloadavg()[0], 2)],
        "environment": environment.facts(device).as_json(),
        "refused": refused,
        "rows": rows,
    }


def commit() -> str | None:
    """Of the code, and whether it has changes that are in no commit; None where there is no repository."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain", "--", "../src") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def chosen(made: dict[str, Any], net: str, batch_size: int) -> list[Row]:
    """Rows of one net and batch size, backprop first."""
    return [row for row in made["rows"] if (row["net"], row["batch_size"]) == (net, batch_size)]


def table(made: dict[str, Any], net: str) -> list[str]:
    """One line a model: both batch sizes beside each other."""
    head = ["rule, readout", "multiply-adds", "× backprop"]
    for size in BATCH_SIZES:
        of = f"{size} example{'s' if size > 1 else ''}"
        head += [f"{of}: p50", "p95", "processor", "× backprop", "examples/s", "J per 1000", "live"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    by_size = [chosen(made, net, size) for size in BATCH_SIZES]
    for same in zip(*by_size, strict=True):
        cells = [format_count(same[0]["multiply_adds"]), ratio(same[0], by_size[0][0], "multiply_adds")]
        for row, base in zip(same, (rows[0] for rows in by_size), strict=True):
            cells += [
                format_time(row["latency_p50_s"]),
                format_time(row["latency_p95_s"]),
                format_time(row["processor_p50_s"]),
                ratio(row, base, cost_key(made)),
                format_count(row["images_per_s"]),
                format_energy(row["joules_per_1000"]),
                format_bytes(row["live_bytes"]),
            ]
        lines.append(f"| `{same[0]['name']}` | " + " | ".join(cells) + " |")
    return lines


def cost_key(made: dict[str, Any]) -> str:
    """What is compared: on a processor its own time, which a busy machine hardly changes; on a GPU the clock."""
    return "latency_p50_s" if "gpu" in made["environment"] else "processor_p50_s"


def ratio(row: Row, base: Row, key: str) -> str:
    return MISSING if row[key] is None or base[key] is None else f"{row[key] / base[key]:.2f}"


def notes(made: dict[str, Any]) -> list[str]:
    """Reasons of what is missing, and where all this was measured."""
    facts = made["environment"]
    device = facts.get("gpu") or facts["processor"]
    threads = f"{facts['torch_threads']} thread{'s' if facts['torch_threads'] > 1 else ''}"
    lines = [
        f"Measured {made['made_at'][:10]} on {device}, {threads}, torch {facts['versions']['torch']}, "
        f"load average {' to '.join(map(str, made['load_average_before_and_after']))} on {facts['cores']} cores; "
        f"commit {made['commit'] or 'unknown'}."
    ]
    missing: dict[str, list[str]] = {}
    for row in made["rows"]:
        for key, why in row["reasons"].items():
            if key in ("latency_p95_s", "joules_per_1000", "multiply_adds", "live_bytes"):
                missing.setdefault(f"{key}: {why}", []).append(f"`{row['name']}` on {row['net']}, batch {row['batch_size']}")
    for words, where in missing.items():
        lines.append(f"{MISSING} {words} ({'all' if len(where) == len(made['rows']) else '; '.join(where)}).")
    for net, refused in made["refused"].items():
        lines += [f"Not on {net}: {why}." for why in refused.values()]
    return [textwrap.fill(f"- {line}", WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines]


def figure(made: dict[str, Any]) -> str:
    """Latency over backprop's, a panel a net: a mark a batch size, and the ratio of multiply-adds behind them."""
    marks = {f"{size} example{'s' if size > 1 else ''} a call": size for size in BATCH_SIZES}
    key, data = cost_key(made), []
    for net in NETS:
        for what, size in marks.items():
            rows = chosen(made, net, size)
            for row in rows:
                value = row[key] / rows[0][key]
                data.append({"net": net, "name": label(row), "what": what, "ratio": round(value, 4)})
                if size == BATCH_SIZES[0] and row["multiply_adds"]:
                    value = row["multiply_adds"] / rows[0]["multiply_adds"]
                    data.append({"net": net, "name": label(row), "what": "multiply-adds", "ratio": round(value, 4)})
    order = list(dict.fromkeys(entry["name"] for entry in data))
    kinds = ["multiply-adds", *marks]
    key_to = alt.Legend(orient="top", title=None)
    colour = alt.Color("what:N", scale=alt.Scale(domain=kinds, range=[MUTED, SERIES[1], SERIES[2]]), legend=key_to)
    shape = alt.Shape("what:N", scale=alt.Scale(domain=kinds, range=[BAR, "circle", "square"]), legend=key_to)
    panels = []
    for k, net in enumerate(NETS):
        x = alt.X(
            "ratio:Q",
            scale=alt.Scale(type="log", domain=[0.5, 20]),
            title=f"{net}: × backprop",
            axis=alt.Axis(values=[0.5, 1, 2, 5, 10, 20], format="~g"),
        )
        axis = alt.Axis(labelLimit=260, ticks=False, domain=False, labels=k == 0, grid=True)
        y = alt.Y("name:N", scale=alt.Scale(domain=order), title=None, axis=axis)  # the same lines, whatever a net refuses
        here = on("data").transform_filter(alt.datum.net == net)
        one = here.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.datum(1))
        points = here.mark_point(filled=True, opacity=0.85, size=70)
        points = points.encode(x=x, y=y, color=colour, shape=shape)
        panels.append(alt.layer(one, points).properties(width=250, height=19 * len(order)))
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12}
    config = {
        "aria": False,
        "font": "Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "axis": {**text, "gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED, "titleFontWeight": "normal"},
        "legend": text,
    }
    spec = alt.hconcat(*panels, spacing=14).to_dict()
    words = "; ".join(f"{e['name']} on {e['net']}, {e['what']}: {e['ratio']:.2f}" for e in data)
    what = "Time" if key == "latency_p50_s" else "Processor time"
    title = f"{what} of a call, as a multiple of backprop's net (median, log scale)"
    return standalone(render(spec | {"config": config, "datasets": {"data": data}}), title, words)


def label(row: Row) -> str:
    rule, _, readout = row["name"].partition(", ")
    value = readout.partition("=")[2]
    return f"{rule} ({value})" if value else rule


def write(made: dict[str, Any]) -> None:
    """Figure, and the parts of the page between markers."""
    write_atomic(FIGURE, figure(made))
    parts = {f"inference {net}": table(made, net) for net in NETS} | {"inference notes": notes(made)}
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in parts.items():
        marked = re.compile(rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = marked.sub(lambda found, lines=lines: found[1] + "\n" + "\n".join(lines) + "\n\n" + found[2], page)
    write_atomic(PAGE, page)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="use the results that are there")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args(arguments)
    if not options.show:
        made = measure(torch.device(options.device), options.repeats)
        write_atomic(RESULTS, json.dumps(made, indent=1) + "\n")
    write(json.loads(RESULTS.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
