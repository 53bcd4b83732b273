"""docs/landscape.md from the documents of ``bpfree analyse landscape``: verdict first, then tables, figures, how to read them."""

from __future__ import annotations

import textwrap
from typing import Any

from bpfree.stats import OPTIONAL_STOPPING

Document = dict[str, Any]

CLAIM = 'ends in "a more favourable minimum in the validation loss landscape"'
FLATNESS = ("rise", "filter_normalised", "plain", "trace", "largest")
NAMES = {
    "loss": "validation loss, nats",
    "accuracy": "validation accuracy",
    "rise": "mean rise over slices, nats",
    "width": "width of slices at +0.1 nats, filter norms",
    "filter_normalised": "sharpness, filter-normalised, nats",
    "plain": "sharpness (SAM), nats",
    "trace": "trace of the Hessian",
    "largest": "largest eigenvalue",
    "barrier": "barrier from the baseline at the next seed, nats",
}

HOW = """
## How to read this

- **One loss for all rules**: the mean cross-entropy of the read-out on validation examples; scores are taken as logits. The same
  split decided which pass's weights were kept, for every rule alike.
- **Slices** (Li et al. 2018): random directions, each filter scaled to the norm of the trained filter; biases and BatchNorm stay.
- **Sharpness** (Foret et al. 2021): the rise of the loss after one step of length rho along the gradient. *Filter-normalised*:
  the step is measured in the norms of the filters (after Kwon et al. 2021).
- **Scale**: sharpness, trace and eigenvalue change when one layer is multiplied by c and the next divided by c, although the net
  computes the same (Dinh et al. 2017). The loss, slices and filter-normalised sharpness do not, and where the two kinds disagree,
  believe the second. A barrier stays the same only if both its ends are rescaled alike.
- **Confidence**: cross-entropy also depends on the scale of the scores. A net that is more certain of the same classes has a
  sharper loss. These numbers do not separate the two.
- **Barrier** (Entezari et al. 2022): the largest excess of the loss on the straight line over the line between the losses of its
  ends. Hidden units are *not* matched by permutation first, so a barrier between two starts is no proof of two basins. Backprop
  against itself at another seed is the yardstick. Each model is the end of two such lines, so the interval of a barrier is
  approximate.
- **Equivalent**: within a tenth of backprop's mean; accuracies within 0.25 points, as in the rulesets.
- **Plane** (Garipov et al. 2018): through backprop's minimum, the rule's minimum, and the weights that both started from.
- BatchNorm's statistics are recomputed on training examples at every point (these nets have none).
"""

COMMANDS = """
## Your own models

    bpfree train backprop --dataset mnist --net mlp:2x1000 --seed 0 --out runs/bp-0
    bpfree train mono-forward --dataset mnist --net mlp:2x1000 --seed 0 --out runs/mf-0
    bpfree analyse landscape runs/bp-0/model.safetensors runs/mf-0/model.safetensors --out runs/landscape

The first model's rule is the baseline. Models of several seeds are paired by seed. `--part slices` computes one part alone; the
command resumes. Formulas: `bpfree.analysis.slices`, `bpfree.analysis.curvature`, `bpfree.analysis.connectivity`.
"""


def page(documents: dict[str, Document], figures: dict[str, list[str]]) -> str:
    """The whole page.

    Args:
        documents: by the name of their directory, the one that decides first.
        figures: file names of each document's figures; they become links to ``figures:NAME/FILE``.
    """
    lines = [
        "# Minima: where backprop and Mono-Forward end",
        "",
        *_filled(f"The paper (arXiv 2509.19063) says that Mono-Forward {CLAIM}."),
        "",
        *_filled(in_short(list(documents.values()))),
    ]
    for document in documents.values():
        lines += ["", *verdict(document)]
    lines += ["", *_filled(OPTIONAL_STOPPING)]
    for name, document in documents.items():
        lines += ["", f"## {title(document)}", "", *conditions(document), "", *models_table(document), ""]
        lines += [*comparison_table(document), "", *lines_table(document), ""]
        lines += [f"![{file.removesuffix('.svg')}](figures:{name}/{file})\n" for file in figures[name]]
        lines += [line for note in document["notes"] for line in _filled(f"- {note}.")]
        lines += [line for what, why in document["reasons"].items() for line in _filled(f"- No {what}: {why}.")]
    return "\n".join(lines).rstrip() + "\n" + HOW + COMMANDS


def in_short(documents: list[Document]) -> str:
    """Whether any rule was shown to end in a better minimum, and what was shown against it, with its evidence."""
    shown: dict[str, list[str]] = {"better": [], "worse": []}
    unjudged = []
    for document in documents:
        measures = [(name, document["comparison"].get(name, {})) for name in ("loss", *FLATNESS)]
        rows = [(name, label, row) for name, labels in measures for label, row in labels.items() if row.get("verdict")]
        for name, label, row in rows:
            if row["verdict"] in shown:
                evidence = row["sentence"].split(": ", 1)[1].rstrip(".")
                shown[row["verdict"]].append(f"{label} on {document['dataset']}, {NAMES[name]}: {evidence}")
        if rows and all(row["verdict"].startswith("not judged") for *_, row in rows):
            unjudged.append(title(document))
    better = f"**A more favourable minimum was shown by {'; '.join(shown['better'])}.**"
    found = better if shown["better"] else "**A more favourable minimum was not shown in any measure.**"
    against = f" The opposite was shown by {'; '.join(shown['worse'])}." if shown["worse"] else ""
    few = f" Not judged, for want of seeds: {'; '.join(unjudged)}." if unjudged else ""
    return f"{found}{against}{few}"


def _filled(text: str) -> list[str]:
    """The text in lines of one width; those after the first of an item are indented."""
    return textwrap.wrap(text, 128, subsequent_indent="  " if text.startswith("- ") else "", break_on_hyphens=False)


def title(document: Document) -> str:
    """Data, net and seeds."""
    counts: dict[str, int] = {}
    for model in document["models"]:
        counts[model["label"]] = counts.get(model["label"], 0) + 1
    if len(set(counts.values())) == 1:
        seeds = f"{_seeds(next(iter(counts.values())))} of each rule"
    else:
        seeds = ", ".join(f"{_seeds(n)} of {label}" for label, n in counts.items())
    return f"{document['dataset']}, {document['net']}, {seeds}"


def _seeds(n: int) -> str:
    return f"{n} seed{'s' if n > 1 else ''}"


def verdict(document: Document) -> list[str]:
    """What the numbers say of the claim, in its two readings, for each rule."""
    baseline = document["models"][0]["label"]
    rivals = list(dict.fromkeys(model["label"] for model in document["models"] if model["label"] != baseline))
    lines = _filled(
        f"**On {title(document)}**, against {baseline}, paired by seed, with 95 % intervals; nothing was tuned, and "
        f"{capped(document)}:"
    )
    lines.append("")
    for label in rivals:
        row = document["comparison"]["loss"][label]
        alone = "" if _known(row["difference"]) else f" Difference {_interval(row['difference'])}."
        lines += _filled(f"- {label}, read as a lower validation loss (nats): {row['sentence']}{alone}")
        lines += _filled(f"- {label}, read as a flatter minimum: {flatness(document, label)}")
        lines += _filled(f"- {label}, on the straight line: {connection(document, baseline, label)}")
    return lines


def flatness(document: Document, label: str) -> str:
    """The words that the measures of flatness give, and which intervals exclude 0."""
    rows = {name: document["comparison"].get(name, {}).get(label) for name in FLATNESS}
    words: dict[str, list[str]] = {}
    for name, row in rows.items():
        if row:
            words.setdefault(row["verdict"].split(":")[0], []).append(f"{NAMES[name]} {_interval(row['difference'])}")
    counted = ". ".join(f"{word} in {len(names)} measures: {'; '.join(names)}" for word, names in words.items())
    if not any(row and _known(row["difference"]) for row in rows.values()):
        return f"{counted}."
    clear = [NAMES[name] for name, row in rows.items() if row and _excludes_zero(row["difference"])]
    tail = f"the interval of {'; '.join(clear)} excludes 0" if clear else "no interval excludes 0"
    return f"{counted}. Before any correction, {tail}."


def connection(document: Document, baseline: str, label: str) -> str:
    """The barrier from the same start, and from another beside the yardstick."""
    kinds = barriers(document)
    same = kinds.get((baseline, label, "same start"), [])
    words = [f"barrier to {baseline} from the same start {_mean(same)} nats"] if same else []
    row = document["comparison"].get("barrier", {}).get(label)
    if row:
        words.append(
            f"from another start {_mean(kinds[baseline, label, 'other start'])}, {baseline} to itself "
            f"{_mean(kinds[baseline, baseline, 'other start'])}; their difference: {row['sentence'].rstrip('.')}"
        )
    return "; ".join(words) + "." if words else "not measured."


def barriers(document: Document) -> dict[tuple[str, str, str], list[float]]:
    """Labels at both ends and kind of pair to the barriers (nats)."""
    label = {model["name"]: model["label"] for model in document["models"]}
    kinds: dict[tuple[str, str, str], list[float]] = {}
    for entry in document["line"]:
        first, last = (label[name] for name in entry["of"])
        kinds.setdefault((first, last, entry["between"]), []).append(entry["barrier"])
    return kinds


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.3g}"


def _excludes_zero(interval: Document) -> bool:
    return _known(interval) and not interval["low"] <= 0 <= interval["high"]


def _known(interval: Document) -> bool:
    return interval["low"] is not None


def capped(document: Document) -> str:
    """How many runs the cap ended, and not patience."""
    training = document["training"]
    n = sum(run["passes"] >= training["max_passes"] for run in training["ended"])
    return f"{n} of {len(training['ended'])} runs ended at the cap of {training['max_passes']} passes"


def conditions(document: Document) -> list[str]:
    """What was measured, on what."""
    training = document["training"]
    passes: dict[tuple[str, ...], list[str]] = {}
    for run in training["ended"]:
        passes.setdefault(_same_values(run["arm"]), []).append(str(run["passes"]))
    ran = "; ".join(f"{':'.join(arm)}: {', '.join(counts)}" for arm, counts in passes.items())
    n_seeds = len({run["seed"] for run in training["ended"]})
    return [
        *_filled(
            f"Made by `{document['command']} --seeds {n_seeds}`. Batch {training['batch_size']}, patience 10 on validation "
            f"accuracy, best state restored, at most {training['max_passes']} passes in all phases together. Passes by seed: "
            f"{ran}. {capped(document)}. Nothing was tuned."
        ),
        "",
        *_filled(
            f"The loss is taken on {document['examples']} validation examples; {document['directions']} random directions, "
            f"{document['points']} points on each, radius {document['radius']:g}; rho {document['rho']:g}; {document['probes']} "
            "probes of the trace, which is given with its standard error over them; "
            f"{'float64' if document['double'] else 'float32'}."
        ),
    ]


def _same_values(arm: str) -> tuple[str, ...]:
    """The arm with its numbers as numbers are printed: ``lr=2.2e-4`` and ``lr=0.00022`` are one."""
    words = []
    for word in arm.split(":"):
        key, _, value = word.partition("=")
        try:
            words.append(f"{key}={float(value):g}")
        except ValueError:
            words.append(word)
    return tuple(words)


def models_table(document: Document) -> list[str]:
    """One row for each model."""
    keys = ("loss", "accuracy", "rise", "width", "filter_normalised", "plain", "trace", "largest")
    values: dict[str, Document] = {model["name"]: {} for model in document["models"]}
    for part in ("slices", "sharpness", "curvature"):
        for entry in document[part]:
            values[entry["of"][0]].update(entry)
    keys = tuple(key for key in keys if any(row.get(key) is not None for row in values.values()))
    heading = ["| model | " + " | ".join(NAMES[key] for key in keys) + " |", "|---|" + "---:|" * len(keys)]
    return heading + [f"| {name} | " + " | ".join(_cell(row, key) for key in keys) + " |" for name, row in values.items()]


def _cell(row: Document, key: str) -> str:
    error = row.get("trace_error") if key == "trace" else None
    return _number(row.get(key)) + ("" if error is None else f" ± {error:.2g}")


def comparison_table(document: Document) -> list[str]:
    """Means and paired differences, with 95 % intervals."""
    lines = ["| quantity | rule | mean | difference to the baseline | verdict |", "|---|---|---:|---:|---|"]
    for name, rows in document["comparison"].items():
        for label, row in rows.items():
            difference = _interval(row["difference"]) if "difference" in row else ""
            lines.append(f"| {NAMES[name]} | {label} | {_interval(row['interval'])} | {difference} | {row.get('verdict', '')} |")
    return lines


def lines_table(document: Document) -> list[str]:
    """Mean and range of the barriers of each kind of pair."""
    lines = ["| straight line | weights | lines | barrier, nats: mean (range) |", "|---|---|---:|---:|"]
    for (first, last, kind), of_kind in barriers(document).items():
        spread = f" ({min(of_kind):.3g} to {max(of_kind):.3g})" if len(of_kind) > 1 else ""
        lines.append(f"| {first} to {last} | {kind} | {len(of_kind)} | {_mean(of_kind)}{spread} |")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(interval: Document) -> str:
    if interval["mean"] is None:
        return ""
    if interval["low"] is None:
        return f"{interval['mean']:.4g} (no interval)"
    return f"{interval['mean']:.4g} [{interval['low']:.4g}, {interval['high']:.4g}]"
