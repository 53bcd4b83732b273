"""A page for each rule: its docstring, its hyper-parameters, what it can train, what was counted and measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bpfree import catalogue
from bpfree.algorithms import documentation, rule_class
from bpfree.units import format_bytes, format_count
from tools.docs_pages.curves import svg
from tools.docs_pages.markdown import as_markdown, escaped, table
from tools.docs_pages.measured import counted_costs, curves_of, table_of_runs

__all__ = ["write_rules"]

COUNTED_NETS = (("mlp:3x256", 1024), ("mlp:32x256", 1024), ("mlp:4x2000", 128))


def write_rules(folder: Path) -> list[Path]:
    """``NAME.md`` for each rule of the package, with ``NAME.svg`` where a run was recorded; and ``index.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for name in catalogue.rules():
        page = folder / f"{name}.md"
        page.write_text(_page(name, folder), encoding="utf-8")
        pages.append(page)
    index = folder / "index.md"
    index.write_text(_index(), encoding="utf-8")
    return [*pages, index]


def _index() -> str:
    rows = [[f"[{name}]({name}.md)", escaped(entry.words)] for name, entry in catalogue.rules().items()]
    names = "\n".join(catalogue.rules())
    return (
        "# The rules\n\nEach page has the mathematics of the rule, its hyper-parameters, its known weakness and its paper, and "
        f"what was counted and measured of it here.\n\n{table(('rule', 'in one line'), rows)}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


def _page(name: str, folder: Path) -> str:
    text = documentation(rule_class(name))
    first, _, rest = text.partition("\n")
    parts = [
        f"# {name}",
        escaped(first),
        f"On the command line: `--arms {name}`; its papers: `bpfree cite {name}`.",
        _hyper_parameters(name),
        _curve(name, folder),
        _runs(name),
        _costs(name),
        as_markdown(rest.strip("\n")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _hyper_parameters(name: str) -> str:
    entry = catalogue.rules()[name]
    rows = [[f"`{key}`", f"`{entry.defaults[key]}`", escaped(admitted.words())] for key, admitted in entry.ranges.items()]
    return f"## Hyper-parameters\n\n{table(('name', 'default', 'range'), rows)}"


def _curve(name: str, folder: Path) -> str:
    drawn = curves_of(name)
    if drawn is None:
        return ""
    title, series = drawn
    (folder / f"{name}.svg").write_text(svg(title, series), encoding="utf-8")
    return (
        f"## Curve\n\n![{title}]({name}.svg)\n\nOne run of each arm with given values, best state chosen on validation. Learning "
        "rates are not tuned alike, so the distance between two lines is no verdict."
    )


def _runs(name: str) -> str:
    heading, rows = table_of_runs(name)
    if not rows:
        return (
            "## Measured\n\n`benchmarks/marks.yaml` has no run of this rule yet. `bpfree train "
            f"{name} --dataset mnist --net mlp:2x1000` makes one."
        )
    headings = [{"mark": "target"}.get(cell.strip(), cell.strip()) for cell in heading.strip("|").split("|")]
    return (
        "## Measured\n\nOne seed, no augmentation. *Target* is what the rule had to reach here; seconds are of a "
        "shared two-core machine. Made by `python benchmarks/marks.py`.\n\n"
        f"{table([*headings[:3], *(f' {each}' for each in headings[3:])], rows)}"
    )


def _costs(name: str) -> str:
    rows = []
    for row in counted_costs():
        if row["arm"].partition(":")[0] == name and (row["net"], row["batch_size"]) in COUNTED_NETS and not row["refusal"]:
            rows.append([f"`{row['arm']}`", row["net"], str(row["batch_size"]), *_beside_backprop(row)])
    if not rows:
        return ""
    headings = ("arm", "net", " batch", " memory of a step", " × backprop", " multiply-adds of a step", " × backprop")
    return (
        "## Counted\n\nPeak bytes of a training step and its multiply-adds, mean over phases, orthogonalisation with its share. "
        f"Made by `python benchmarks/cost.py`; [more](../../memory-and-flops.md).\n\n{table(headings, rows)}"
    )


def _beside_backprop(row: dict[str, Any]) -> list[str]:
    (base,) = [
        each
        for each in counted_costs()
        if each["arm"] == "backprop" and (each["net"], each["batch_size"]) == (row["net"], row["batch_size"])
    ]
    memory, of_base = (sum(value or 0 for value in each["memory"].values()) for each in (row, base))
    macs, macs_of_base = row["whole_step"] / 2, base["whole_step"] / 2
    return [format_bytes(memory), f"{memory / of_base:.2f}", format_count(macs), f"{macs / macs_of_base:.2f}"]
