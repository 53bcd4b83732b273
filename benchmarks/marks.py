"""The table of marks: rule x net x data set -> test accuracy, passes, seconds, multiply-adds, beside mark and published number.

    python benchmarks/marks.py --data-dir DIR [--only WORD ...] [--max-hours H]     # resumes: finished rows are not run again
    python benchmarks/marks.py --show                                               # the table of what was measured

Every row is one run with fixed hyper-parameters (nothing is tuned on any split), best state chosen on validation, test split
read once at the end. Records go to ``benchmarks/results/marks.jsonl``, the table to ``benchmarks/results/marks.md``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from bpfree import data, rulesets
from bpfree.bench import Arm, Setting, environment, measure
from bpfree.bench.measure import RunFailed
from bpfree.files import write_atomic
from bpfree.meter import Meter
from bpfree.records import Record, append_record, read_records
from bpfree.units import format_count, format_time

HERE = Path(__file__).parent
RECORDS = HERE / "results" / "marks.jsonl"
TABLE = HERE / "results" / "marks.md"


Key = tuple[str, str, str, int, str]
"""Arm, data set, net, passes, schedule of the learning rate."""


def rows() -> list[dict[str, Any]]:
    """Rows of ``marks.yaml`` with their defaults."""
    raw = yaml.safe_load((HERE / "marks.yaml").read_text())
    return [{**raw["defaults"], **row} for row in raw["rows"]]


def rules_of(row: dict[str, Any]) -> rulesets.Ruleset:
    """``quick`` with the row's budget, and no augmentation."""
    changes = {"max_passes": row["passes"], "batch_size": row["batch_size"], "patience": row["patience"], "augmentation": "none"}
    changes |= {"train_examples": row.get("limit"), "lr_schedule": row["lr_schedule"]}
    return rulesets.load("quick").with_changes(changes)


def key_of(row: dict[str, Any]) -> Key:
    """The row's cell; a limited data set has its size behind its name."""
    name = f"{row['dataset']}[{row['limit']}]" if row.get("limit") else row["dataset"]
    return (row["arm"], name, row["net"], row["passes"], row["lr_schedule"])


def measured() -> dict[Key, Record]:
    """Finished rows; one that was interrupted is never written."""
    found = {}
    for record in read_records(RECORDS):
        plan = record.plan
        found[(record.arm, record.dataset, record.net, plan["max_passes"], plan.get("lr_schedule", "constant"))] = record
    return found


def run(row: dict[str, Any], data_dir: Path | None, device: torch.device) -> Record:
    """Measure one row."""
    rules = rules_of(row)
    torch.backends.cudnn.allow_tf32 = False  # as in every comparison
    loaded = data.load(row["dataset"], data_dir=data_dir)
    if row.get("limit"):
        loaded = loaded.limited(row["limit"])
    plan = {
        "command": "python benchmarks/marks.py",
        "max_passes": row["passes"],
        "group": row["group"],
        "lr_schedule": row["lr_schedule"],
    }
    setting = Setting(rules, loaded.to(device), row["net"], device, Meter.detect(device), None, plan, environment.facts(device))
    try:
        return measure(setting, Arm.parse(row["arm"]), {}, 0, None)
    except RunFailed as failure:
        if isinstance(failure.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from failure
        return failure.record


def table() -> str:
    """Markdown, in the order of ``marks.yaml``."""
    found = measured()
    lines = [
        "# Marks",
        "",
        "Made by `python benchmarks/marks.py`; one seed, no augmentation. Seconds are of a shared "
        "two-core machine and only an order of magnitude; multiply-adds are counted (half the FLOPs) for one training pass.",
        "",
        "| rule | net | data | test accuracy, % | mark | published | passes | best within | time | MACs a pass | peak memory |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows():
        record = found.get(key_of(row))
        lines.append("| " + " | ".join(_cells(row, record)) + " |")
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any], record: Record | None) -> list[str]:
    arm, name, net, passes, schedule = key_of(row)
    if schedule != "constant":
        arm += f", {schedule} schedule"
    mark = "" if row["mark"] is None else f"{row['mark']:.1f}"
    published = "" if row.get("published") is None else f"{row['published']:.2f}"
    head = [arm, net, name]
    if record is None:
        return [*head, "not run yet", mark, published, "", str(passes), "", "", ""]
    if record.test_accuracy is None:
        return [*head, record.status, mark, published, str(record.passes), str(passes), "", "", ""]
    accuracy = f"{100 * record.test_accuracy:.2f}"
    if row["mark"] is not None and 100 * record.test_accuracy < row["mark"]:
        accuracy += " (below)"
    macs = None
    if record.flops is not None and record.flops.train_step is not None:
        n_train = row.get("limit") or {"digits": 1_077, "mnist": 50_000, "fashion-mnist": 54_000}.get(row["dataset"], 45_000)
        macs = record.flops.train_step / 2 * n_train / record.flops.batch_size
    memory = f"{record.peak_memory_bytes / 2**20:.1f} MiB" if record.peak_memory_bytes else ""
    return [
        *head,
        accuracy,
        mark,
        published,
        str(record.passes),
        str(passes),
        format_time(record.time_s),
        format_count(macs),
        memory,
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--only", nargs="*", default=[], help="rows whose arm, net, data set or group holds one of these words")
    parser.add_argument("--max-hours", type=float, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    started_s = time.monotonic()
    for row in [] if options.show else rows():
        words = " ".join((*map(str, key_of(row)), row["group"]))
        if key_of(row) in measured() or (options.only and not any(word in words for word in options.only)):
            continue
        if options.max_hours is not None and time.monotonic() - started_s > 3600 * options.max_hours:
            print("time is up; the same command goes on")  # noqa: T201
            break
        record = run(row, options.data_dir, torch.device(options.device))
        append_record(RECORDS, record)
        write_atomic(TABLE, table())
        print(_cells(row, record), flush=True)  # noqa: T201
    write_atomic(TABLE, table())
    print(table())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
