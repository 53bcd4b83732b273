"""Stamps at the top of a page: what must be seen before a number is read."""

from __future__ import annotations

import pytest

from bpfree import report, rulesets
from bpfree.report.flags import flags
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.stamps import stamps


def stamped(directory):
    material = read_material([directory])
    tables = build_tables(material)
    return [stamp.text for stamp in stamps(tables, material, flags(tables, material))]


def test_a_look_with_five_seeds(runs):
    entry = runs.tuned("backprop") | {"at_edge": ["lr"]}
    assert stamped(runs(tuned=[entry])) == [
        "A LOOK, NOT A CLAIM", "SHORT TRIALS", "EDGE OF SPACE",
    ]  # fmt: skip


def test_few_seeds_the_cap_and_changed_rules(runs):
    rules = rulesets.load("quick").with_changes(trials=3)
    digest = rulesets.digest(rules)
    records = runs.grid(arms=("backprop", "frozen"), seeds=(0, 1), digest=digest)
    cut = [run.model_copy(update={"stops": [run.stops[0].model_copy(update={"reason": "cap"})]}) for run in records[:3]]
    texts = stamped(runs(records=[*cut, records[3]], ruleset=rules))
    for text in ("FEW SEEDS: 2", "CAP REACHED: 3 OF 4 RUNS", "CHANGED RULES"):
        assert text in texts
    assert texts.index("FEW SEEDS: 2") < texts.index("CHANGED RULES"), "the gravest come first"


@pytest.mark.usefixtures("no_charts")
def test_the_page_begins_with_stamps_and_a_short_verdict(runs):
    page = report.build([runs()]).page.read_text()
    head = page.partition("<body>")[2].partition("</header>")[0]
    short = head.partition('<p class="answer">')[2].partition("</p>")[0]
    assert short.startswith("digits, mlp:2x256: mono-forward against backprop +0.")
    assert short.endswith("] points: inconclusive.")
    assert len(short) < 120
    assert (
        head.index("A LOOK, NOT A CLAIM") < head.index(short) < head.index("Under ruleset quick") < head.index("Read this first")
    )
