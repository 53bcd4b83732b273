"""The tables of the page that helps to choose a rule: made of the code and of the committed results at every build."""

from __future__ import annotations

import warnings
from pathlib import Path

from bpfree import nets
from bpfree.algorithms import check_net, documentation, make, names, rule_class
from bpfree.catalogue import rules
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.report.quantities import points
from tools.docs_pages.markdown import escaped, table
from tools.docs_pages.measured import counted_costs, summary_of, table_of_runs

__all__ = ["write_tables"]

NETS = ("mlp:2x64", "lenet5", "mf-cnn4", "cnn3", "resnet8", "vit", "mixer")
PLACES = ("mlp:2x1000", "mlp:2x256", "mlp:1x1024", "cnn3", "mf-cnn4")
WITH_LIMITS = "(1)"
"""A net that the rule trains with a warning."""


def write_tables(folder: Path) -> list[Path]:
    """``choose-*.md``, to be included."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "choose-traits.md": _traits(),
        "choose-nets.md": _nets(),
        "choose-costs.md": _costs(),
        "choose-accuracy.md": _accuracy(),
        "choose-verdicts.md": _verdicts(),
        "choose-weaknesses.md": _weaknesses(),
    }
    for name, text in pages.items():
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return [folder / name for name in pages]


def _link(name: str) -> str:
    return f"[{name}](generated/rules/{name}.md)"


def _traits() -> str:
    net = nets.build("mlp:4x64", (1, 8, 8), 10)
    rows = []
    for name in rules():
        traits = make(name).traits(net)
        rows.append([
            _link(name),
            f"{traits.forward_passes:g}",
            str(traits.gradient_path),
            "yes" if traits.local else "no",
            "yes" if traits.trains_output else "no",
            escaped(traits.note),
        ])  # fmt: skip
    return table(
        ("rule", " forward passes", " blocks a gradient crosses", "local", "predicts by the net's output", "remark"), rows
    )


def _answer(name: str, net: Chain) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_net(make(name), net)
        except UsageError:
            return "–"
    return f"yes {WITH_LIMITS}" if caught else "yes"


def _nets() -> str:
    built = [nets.build(text, (3, 32, 32), 10) for text in NETS]
    rows = [[_link(name), *(_answer(name, net) for net in built)] for name in rules()]
    return table(("rule", *(f"`{text}`" for text in NETS)), rows)


def _costs() -> str:
    cells: dict[tuple[str, str, int], tuple[int, float]] = {}
    for row in counted_costs():
        if not row["refusal"]:
            memory = sum(value or 0 for value in row["memory"].values())
            cells[row["arm"], row["net"], row["batch_size"]] = (memory, row["whole_step"])
    places = (("mlp:3x256", 1024), ("mlp:32x256", 1024), ("mlp:32x256", 128))

    def ratio(arm: str, net: str, batch: int, which: int) -> str:
        mine, base = cells.get((arm, net, batch)), cells["backprop", net, batch]
        return "–" if mine is None else f"{mine[which] / base[which]:.2f}"

    arms = dict.fromkeys(row["arm"] for row in counted_costs())
    rows = [
        [
            f"`{arm}`",
            *(ratio(arm, *place, 0) for place in places),
            ratio(arm, "mlp:32x256", 1024, 1),
            ratio(arm, "mlp:4x2000", 128, 1),
        ]
        for arm in arms
    ]
    headings = [
        "arm",
        " memory, 3 blocks, batch 1,024",
        " memory, 32 blocks, batch 1,024",
        " memory, 32 blocks, batch 128",
        " multiply-adds, 32 blocks of 256",
        " multiply-adds, 4 blocks of 2000",
    ]
    return table(headings, rows)


def _accuracy() -> str:
    rows = []
    for name in rules():
        for cells in table_of_runs(name)[1]:
            arm, net, data, accuracy, *_ = cells
            if data == "mnist" and net in PLACES and arm in (name, _first_arm(name)):
                rows.append([_link(name), f"`{arm}`", f"`{net}`", accuracy, cells[6]])
    return table(("rule", "values", "net", " test accuracy on MNIST, %", " passes"), rows)


def _first_arm(name: str) -> str:
    """The first arm of a rule that has a run on MNIST, where its defaults have none."""
    arms = [cells[0] for cells in table_of_runs(name)[1] if cells[2] == "mnist" and cells[1] in PLACES]
    return name if not arms or name in arms else arms[0]


def _verdicts() -> str:
    rows = []
    for directory in ("mnist-mlp-2x1000", "fashion-mnist-mlp-2x1000"):
        for row in summary_of(directory):
            if row["verdict"]:
                low, mean, high = (points(float(row[f"{end}_difference_fraction"])) for end in ("low95", "mean", "high95"))
                rows.append([row["dataset"], f"`{row['net']}`", f"`{row['arm']}`", f"{mean} [{low}, {high}]", row["verdict"]])
    return table(("data", "net", "arm", " difference to backprop, points", "verdict"), rows)


def _weaknesses() -> str:
    from bpfree.algorithms._documentation import sections  # its place: the rule kit reads it too

    assert set(rules()) <= set(names())
    rows = []
    for name in rules():
        text = " ".join(sections(documentation(rule_class(name)))["Known weakness"].split())
        rows.append([_link(name), escaped(text)])
    return table(("rule", "known weakness"), rows)
