"""What a step needs, in the report: counts and bytes of the records, and nothing where nothing was counted."""

from __future__ import annotations

from bpfree import report
from bpfree.records import Flops, Memory
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.needs import memory_chart, needs_rows

FLOPS = Flops(train_step=30_000_000, evaluation=10_000_000, orthogonalisation=None, batch_size=64, method="counted")
MEMORY = Memory(weights=1024, auxiliary=0, gradients=2048, optimiser=4096, activations=512, method="counted")


def counted(records, **of_memory):
    """Mono-Forward's step is half of the others'."""
    steps = {record.arm: 15_000_000 if record.algorithm == "mono-forward" else 30_000_000 for record in records}
    return [
        record.model_copy(
            update={
                "flops": FLOPS.model_copy(update={"mean_step": steps[record.arm], "run_total": 10 * steps[record.arm]}),
                "evaluation_peak_bytes": 3072,
                "memory": MEMORY.model_copy(update=of_memory),
                "reasons": record.reasons | dict.fromkeys((f"memory.{part}" for part in of_memory), "not counted"),
            }
        )
        for record in records
    ]


def table_of(runs, records):
    (table,) = build_tables(read_material([runs(records=records)]))
    return table


def test_counts_and_bytes_stand_in_the_page(runs):
    directory = runs(records=counted(runs.grid()))
    (table,) = build_tables(read_material([directory]))
    rows = {cells[0]: cells[1:] for cells in needs_rows(table)}
    assert rows["backprop"] == ("30 M", "1.00", "–", "10 M", "1 KiB", "0 B", "4 KiB", "2 KiB", "512 B", "3 KiB")
    assert rows["mono-forward"][:2] == ("15 M", "0.50")
    paths = report.build([directory])
    page = paths.page.read_text()
    assert "What a step needs" in page
    assert "Together: backprop 7.5 KiB" in page
    assert any(path.name.endswith("memory.svg") for path in paths.figures)


def test_orthogonalisation_is_charged_by_its_share(runs):
    """1,000 operations in one of 4 steps; without a mean over the run, an old record has the step as it was counted."""
    records = counted(runs.grid(arms=("backprop",), seeds=(0, 1)))
    method = "counted; one orthogonalisation apart, done every 4 steps"
    flops = records[0].flops.model_copy(update={"orthogonalisation": 1000, "train_step": 7_000_000, "method": method})
    made = [record.model_copy(update={"flops": flops}) for record in records]
    assert needs_rows(table_of(runs, made))[0][1:4] == ("30 M", "1.00", "250")


def test_a_cache_of_features_is_named(runs):
    (first, *_) = needs_rows(table_of(runs, counted(runs.grid(), feature_cache=2**20)))
    assert first[6] == "0 B and 1 MiB of cached features"


def test_a_part_that_was_not_counted_is_a_dash_and_no_bar(runs):
    table = table_of(runs, counted(runs.grid(), gradients=None))
    assert needs_rows(table)[0][8] == "–"
    assert memory_chart(table) is None
