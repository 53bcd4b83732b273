"""Minima compared over seeds: means with intervals, and differences to the baseline paired by seed.

Barriers are paired too: at every seed the barrier from the baseline to a rival of the next seed, less the barrier from the
baseline to itself at the next seed, which is the yardstick. Each model is the end of two lines, so these pairs are not quite
independent, and the interval is approximate.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from bpfree.analysis.slices import RISE
from bpfree.stats import Interval, TableValues, compare_tables, mean_interval

__all__ = ["QUANTITIES", "compared", "unknown"]

QUANTITIES: dict[str, tuple[str, str, bool]] = {
    "loss": ("slices", "validation loss (nats)", False),
    "accuracy": ("slices", "validation accuracy", True),
    "rise": ("slices", "mean rise of the loss over the slices (nats)", False),
    "width": ("slices", "distance at which the loss has risen by 0.1 nats (filter norms)", True),
    "filter_normalised": ("sharpness", "sharpness within rho, filter-normalised (nats)", False),
    "plain": ("sharpness", "sharpness within rho (nats)", False),
    "trace": ("curvature", "trace of the Hessian", False),
    "largest": ("curvature", "largest eigenvalue of the Hessian", False),
}
"""Name to the part that has it, what it is called, and whether more of it is what the claim calls favourable."""

MARGIN = 0.1
"""Of equivalence: a share of the baseline's mean."""

ACCURACY_MARGIN = 0.0025
"""Of equivalence in accuracy, a fraction, as in the rulesets: a tenth of an accuracy of 98 % would be ten points."""

Entry = dict[str, Any]


def compared(document: Entry) -> Entry:
    """The table of a document: for each quantity each label's mean and interval, and its difference to the baseline.

    The words are those of :mod:`bpfree.stats` for so many seeds, after Holm's correction over the whole table.
    """
    models = {model["name"]: model for model in document["models"]}
    baseline = document["models"][0]["label"]
    tables = {
        name: _by_seed(document[part], name, models)
        for name, (part, _, _) in QUANTITIES.items()
        if document[part] and all(entry[name] is not None for entry in document[part])
    }
    tables = {name: values for name, values in tables.items() if values.get(baseline)}
    barriers = _barriers(document["line"], models, baseline)
    if barriers.get(baseline) and all(entry["barrier"] is not None for entry in document["line"]):
        tables["barrier"] = barriers
    judged = compare_tables(
        {
            name: TableValues(
                values=values,
                baseline=baseline,
                margin=ACCURACY_MARGIN if name == "accuracy" else _margin(values[baseline]),
                higher_is_better=name in QUANTITIES and QUANTITIES[name][2],
                percent=False,
            )
            for name, values in tables.items()
        }
    )
    result: Entry = {}
    for name, values in tables.items():
        rows: Entry = {}
        for label, of_label in values.items():
            row: Entry = {"by_seed": {str(seed): value for seed, value in of_label.items()}}
            row |= {"interval": _as_json(mean_interval(list(of_label.values())))}
            if label != baseline:
                comparison = judged[name][label]
                row["difference"] = _as_json(comparison.paired.interval)
                row["verdict"] = comparison.verdict.text
                row["sentence"] = comparison.verdict.sentence
            rows[label] = row
        result[name] = rows
    return result


def unknown(document: Entry) -> dict[str, str]:
    """Quantities that some models have and others do not, with the reason: they are not compared.

    Over the models that have one the comparison would be of others: without a width are the flattest.
    """
    reasons: dict[str, str] = {}
    for name, (part, _, _) in QUANTITIES.items():
        without = [entry["of"][0] for entry in document[part] if entry[name] is None]
        if without and name == "width" and len(without) < len(document[part]):
            why = f"the loss does not rise by {RISE:g} nats within the slices of {', '.join(without)}; give a larger --radius"
            reasons["comparison of width"] = why
        elif without and name != "width":
            reasons[f"comparison of {name}"] = f"it is not finite for {', '.join(without)}"
    endless = [" and ".join(entry["of"]) for entry in document["line"] if entry["barrier"] is None]
    if endless:
        reasons["comparison of barrier"] = f"it is not finite between {', '.join(endless)}"
    return reasons


def _by_seed(entries: list[Entry], name: str, models: Mapping[str, Entry]) -> dict[str, dict[int, float]]:
    """Label to seed to value."""
    table: dict[str, dict[int, float]] = {}
    for entry in entries:
        model = models[entry["of"][0]]
        if model["seed"] is not None:
            table.setdefault(model["label"], {})[model["seed"]] = entry[name]
    return table


def _barriers(lines: list[Entry], models: Mapping[str, Entry], baseline: str) -> dict[str, dict[int, float]]:
    """Label to the baseline's seed to the barrier between the baseline there and the label at the next seed."""
    table: dict[str, dict[int, float]] = {}
    for entry in lines:
        first, last = (models[name] for name in entry["of"])
        if entry["between"] == "other start" and first["label"] == baseline and first["seed"] is not None:
            table.setdefault(last["label"], {})[first["seed"]] = entry["barrier"]
    return table


def _margin(values: Mapping[int, float]) -> float:
    return MARGIN * abs(statistics.fmean(values.values())) or MARGIN


def _as_json(interval: Interval) -> Entry:
    fields = {"mean": interval.mean, "low": interval.low, "high": interval.high, "level": interval.level, "n": interval.n}
    return fields | ({"reason": interval.reason} if interval.reason else {})
