"""Which published number a row of a suite is compared with."""

from __future__ import annotations

from bpfree import published
from bpfree.bench.suites.schema import Row, Section


def test_a_row_may_name_another_table_than_its_section() -> None:
    """Both tables have backprop on MNIST with this net, with other accuracies."""
    where = {"dataset": "mnist", "net": "mlp:2x1000", "arm": "backprop"}
    for_both = [published.find(table, *where.values()) for table in ("mf2025", "spyra2025-legacy")]
    assert for_both[0].accuracy != for_both[1].accuracy
    plain, named = Row.model_validate(where), Row.model_validate(where | {"published": "spyra2025-legacy"})
    for row, number in zip((plain, named), for_both, strict=True):
        section = Section(title="a table", ruleset="quick", published="mf2025", rows=(row,))
        assert section.number(row) == number
