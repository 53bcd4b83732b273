"""What using the trained models costs stands in the table; where it was not measured there is a dash."""

from __future__ import annotations

import pytest

from bpfree.records import Inference, InferenceAt
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.tables import arm_displays, csv_text


def with_inference(record, one_s: float, batch_s: float):
    at = {"latency_p95_s": 2 * batch_s, "images_per_s": 100.0, "joules_per_1000": 3.0, "n_calls": 40}
    by_batch = {"1": InferenceAt(latency_p50_s=one_s, **at), "128": InferenceAt(latency_p50_s=batch_s, **at)}
    inference = Inference(batch_size=128, latency_s=batch_s, joules_per_1000=3.0, by_batch=by_batch)
    return record.model_copy(update={"inference": inference})


@pytest.mark.usefixtures("no_charts")
def test_latency_is_the_mean_over_seeds_and_a_dash_where_there_is_none(runs) -> None:
    records = runs.grid(arms=("backprop", "mono-forward"), seeds=(0, 1))
    made = [with_inference(record, 1e-3 * (1 + record.seed), 4e-3) if record.arm == "backprop" else record for record in records]
    table = build_tables(read_material([runs(records=made)]))[0]
    displays = {row.arm: arm_displays(row)["inference"] for row in table.rows}
    assert (displays["backprop"].text, displays["backprop"].sub) == ("1.5 ms / 4 ms", "p95 8 ms / 8 ms")
    assert (displays["mono-forward"].text, displays["mono-forward"].sub) == ("–", "")
    header, backprop, other = (line.split(",") for line in csv_text([table]).splitlines())
    assert float(backprop[header.index("mean_inference_p50_one_example_s")]) == pytest.approx(1.5e-3)
    assert float(backprop[header.index("mean_inference_of_1000_j")]) == 3.0
    assert other[header.index("mean_inference_p50_one_example_s")] == ""


@pytest.mark.usefixtures("no_charts")
def test_an_arm_of_which_only_some_runs_have_it_shows_none(runs) -> None:
    first, second = runs.grid(arms=("backprop",), seeds=(0, 1))
    table = build_tables(read_material([runs(records=[with_inference(first, 1e-3, 4e-3), second])]))[0]
    assert arm_displays(table.rows[0])["inference"].text == "–"
