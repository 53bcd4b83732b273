"""Memory and multiply-adds of a training step of every rule, over depth and batch size: counted, and by formula.

    python benchmarks/cost.py            # counts (some minutes), writes results, figures and the tables of the page
    python benchmarks/cost.py --wide     # counts only the table of wide nets and large batches
    python benchmarks/cost.py --show     # figures and tables from the results that are there

Nothing is trained and no clock is read, so every machine gets the same numbers. Counted are ``benchmarks/results/cost.json``;
made of them ``docs/memory-*.svg`` and the tables in ``docs/memory-and-flops.md`` (between its markers).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bpfree import data
from bpfree._version import __version__
from bpfree.algorithms import cost_of
from bpfree.bench import parse_arms
from bpfree.bench.cost_table import cost_rows, main_arms
from bpfree.bench.counting import live_step
from bpfree.files import write_atomic
from bpfree.nets import build
from bpfree.report.cost_bars import PARTS, memory_bars
from bpfree.train import initialise
from bpfree.units import format_bytes, format_count

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "cost.json"
DOCS = HERE.parent / "docs"
PAGE = DOCS / "memory-and-flops.md"

DATASET = "synthetic:n=3000:inputs=1x28x28"
DEPTHS = ("mlp:3x256", "mlp:8x256", "mlp:32x256")
BATCHES = {128: (*DEPTHS, "mlp:4x2000"), 1024: DEPTHS}
WIDE = ("mlp:8x2000", 4096)
NARROW = ("mlp:2x250", "mlp:8x250", "mlp:32x250")
NARROW_BATCH = 512
"""Everything an eighth of the wide net's, at three depths: the activities of 32 wide blocks would not fit every machine."""
WIDE_ARMS = {
    "backprop": "backprop",
    "backprop:checkpoint_every=3": "backprop:checkpoint_every=3",
    "backprop:checkpoint_every=3:update=in-sweep": "backprop:checkpoint_every=3:update=in-sweep",
    "mono-forward": "mono-forward",
    "mono-forward:chunk=1024": "mono-forward:chunk=128",
    "mono-forward:chunk=512": "mono-forward:chunk=64",
    "mono-forward:chunk=128": "mono-forward:chunk=16",
}
"""On the wide net, and the same an eighth as large."""
Row = dict[str, Any]


def count() -> list[Row]:
    """Every arm on every net at every batch size, plain values."""
    loaded = data.load(DATASET).without_test()
    rows: list[Row] = []
    for batch_size, nets in BATCHES.items():
        found = cost_rows(parse_arms(",".join(main_arms())), nets, loaded, batch_size, on_row=lambda row: print(row.arm, row.net))  # noqa: T201
        rows += [row.as_json() for row in found]
    return rows


def count_wide() -> list[Row]:
    """Live bytes of one step with large batches: nothing else is counted, since a step of the wide net takes seconds."""
    of_inputs = {n: data.load(f"synthetic:n=8000:inputs={n}").without_test() for n in (784, 784 // 8)}
    rows: list[Row] = []
    for wide, narrow in WIDE_ARMS.items():
        for text, net_name, n in ((wide, *WIDE), *((narrow, net, NARROW_BATCH) for net in NARROW)):
            loaded = of_inputs[784 if net_name == WIDE[0] else 784 // 8]
            rule, net = parse_arms(text)[0].build({}), build(net_name, loaded.in_shape, loaded.n_classes)
            state, phase = initialise(rule, net, 0, loaded.device), rule.phases(net)[0]
            live = live_step(rule, net, state, next(iter(loaded.batches("train", n))), phase)
            cost = cost_of(rule, net, n, phase)
            assert cost is not None
            rows.append(
                {
                    "arm": text,
                    "beside": wide,
                    "net": net_name,
                    "batch_size": n,
                    "activations_bytes": live.activations_bytes,
                    "gradients_bytes": live.gradients_bytes,
                    "by_formula_bytes": 4 * sum(cost.peak or (0, 0)),
                    "step": cost.learn,
                }
            )
            print(text, net_name, n)  # noqa: T201
    return rows


def wide_table(rows: Sequence[Row]) -> list[str]:
    """Activities of a step, and their ratio to backprop's, on the wide net and at three depths of the narrow one."""
    by_arm = {wide: {row["net"]: row for row in rows if row["beside"] == wide} for wide in WIDE_ARMS}
    base = by_arm["backprop"]
    nets = (WIDE[0], *NARROW)
    head = ["arm", "gradients", "with activations, by formula", "multiply-adds, × backprop"]
    head += [f"activations, {net}, × backprop" for net in nets]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for wide, of_arm in by_arm.items():
        row = of_arm[WIDE[0]]
        cells = [format_bytes(row[key]) for key in ("gradients_bytes", "by_formula_bytes")]
        cells.append(f"{row['step'] / base[WIDE[0]]['step']:.2f}")
        for net in nets:
            size = of_arm[net]["activations_bytes"]
            cells.append(f"{format_bytes(size)}, {size / base[net]['activations_bytes']:.3f}")
        lines.append(f"| `{wide}` | " + " | ".join(cells) + " |")
    return lines


def peak(row: Row) -> int:
    """Bytes of all parts."""
    return sum(row["memory"][part] for part in PARTS)


def chosen(rows: Sequence[Row], net: str, batch_size: int) -> list[Row]:
    """The rows of one net and batch size, in the order of the arms."""
    return [row for row in rows if (row["net"], row["batch_size"]) == (net, batch_size) and row["refusal"] is None]


def memory_table(rows: Sequence[Row], batch_size: int) -> list[str]:
    """Peak by depth, and what it is made of at the greatest."""
    head = ["rule", *(f"{net}, × backprop" for net in DEPTHS), *(f"{part}, {DEPTHS[-1]}" for part in PARTS), "by formula"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    by_net = {net: {row["arm"]: row for row in chosen(rows, net, batch_size)} for net in DEPTHS}
    for arm, deepest in by_net[DEPTHS[-1]].items():
        cells = [
            f"{format_bytes(peak(by_net[net][arm]))}, {peak(by_net[net][arm]) / peak(by_net[net]['backprop']):.2f}"
            for net in DEPTHS
        ]
        cells += [format_bytes(deepest["memory"][part]) for part in PARTS]
        formula = deepest["by_formula"]
        known = formula["gradients_bytes"] is not None
        cells.append(format_bytes(formula["gradients_bytes"] + formula["activations_bytes"]) if known else "–")
        lines.append(f"| `{arm}` | " + " | ".join(cells) + " |")
    return lines


def flops_table(rows: Sequence[Row], net: str, batch_size: int) -> list[str]:
    """Multiply-adds of a step."""
    head = ["rule", "phases", "training step", "× backprop", "counted / formula", "scoring a batch", "× backprop",
            "orthogonalisation: once", "a step's share", "end of a pass"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    base = next(row for row in chosen(rows, net, batch_size) if row["arm"] == "backprop")
    for row in chosen(rows, net, batch_size):
        formula = row["by_formula"]["step"]
        cells = [
            str(len(row["by_phase"])),
            format_count(row["step"]),
            f"{row['step'] / base['step']:.3f}",
            f"{row['step'] / formula:.4f}" if formula else "–",
            format_count(row["evaluation"]),
            f"{row['evaluation'] / base['evaluation']:.2f}",
            format_count(row["orthogonalisation"]),
            format_count(row["orthogonalisation_per_step"]),
            format_count(row["end_of_pass"]),
        ]
        lines.append(f"| `{row['arm']}` | " + " | ".join(cells) + " |")
    return lines


def write(rows: Sequence[Row], wide: Sequence[Row]) -> None:
    """Figures and tables."""
    tables = {"wide": wide_table(wide)}
    for batch_size in BATCHES:
        drawn = [{"arm": r["arm"], "net": r["net"], **r["memory"]} for net in DEPTHS for r in chosen(rows, net, batch_size)]
        title = f"Memory at the highest moment of a training step: 784 inputs, batch {batch_size}, float32"
        write_atomic(DOCS / f"memory-batch-{batch_size}.svg", memory_bars(drawn, title))
        tables[f"memory {batch_size}"] = memory_table(rows, batch_size)
        for net in BATCHES[batch_size]:
            tables[f"flops {net} {batch_size}"] = flops_table(rows, net, batch_size)
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in tables.items():
        marked = re.compile(rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = marked.sub(lambda found, lines=lines: found[1] + "\n" + "\n".join(lines) + "\n\n" + found[2], page)
    write_atomic(PAGE, page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="use the results that are there")
    parser.add_argument("--wide", action="store_true", help="count only wide nets with large batches, use the rest as it is")
    options = parser.parse_args()
    if not options.show:
        made = {"command": "python benchmarks/cost.py", "bpfree": __version__, "dataset": DATASET}
        rows = json.loads(RESULTS.read_text())["rows"] if options.wide else count()
        write_atomic(RESULTS, json.dumps({**made, "rows": rows, "wide": count_wide()}, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    write(results["rows"], results["wide"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
