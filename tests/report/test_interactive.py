"""What a script draws a chart from: the same data, with a filter by arm, and nothing that could end its element."""

from __future__ import annotations

import json
import re

import pytest

from bpfree.report.bundle import bundle, bundle_file
from bpfree.report.charts import charts
from bpfree.report.interactive import HIDDEN, ZOOM, live
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.needs import memory_chart
from bpfree.report.palette import SENTINELS, USE_SENTINELS
from bpfree.report.searches import dashboard_commands, trial_rows


@pytest.fixture(scope="module")
def drawn(shared_runs):
    (table,) = build_tables(read_material([shared_runs("live")]))
    return {chart.name: chart for chart in [*charts(table), memory_chart(table)]}


def test_the_data_are_those_of_the_drawing(drawn):
    for chart in drawn.values():
        given = json.loads(live(chart.drawing.spec))
        for name, packed in given["data"].items():
            rows = [
                {
                    key: packed["texts"][value] if key in packed["named"] else value
                    for key, value in zip(packed["keys"], values, strict=True)
                    if value is not None
                }
                for values in packed["rows"]
            ]
            assert rows == chart.drawing.spec["datasets"][name]


def test_every_layer_of_arms_is_filtered_and_the_legend_is_that_of_the_page(drawn):
    for chart in drawn.values():
        given = json.loads(live(chart.drawing.spec))
        assert given["spec"]["params"] == [{"name": HIDDEN, "value": []}]
        for layer in given["spec"]["layer"]:
            of_arms = "arm" in given["data"][layer["data"]["name"]]["keys"]
            assert ("transform" in layer) == of_arms
            if of_arms and layer["encoding"].get("color", {}).get("field") == "arm":
                assert layer["encoding"]["color"]["legend"] is None


def test_axes_that_can_be_zoomed_and_made_logarithmic(drawn):
    given = {name: json.loads(live(chart.drawing.spec)) for name, chart in drawn.items()}
    assert {name: each["log"] for name, each in given.items()} == {
        "difference": [], "accuracy-time": ["x", "y"], "curves-passes": ["x", "y"], "curves-seconds": ["x", "y"], "memory": [],
    }  # fmt: skip
    assert {name: each["zoom"] for name, each in given.items()} == {
        "difference": ["x"], "accuracy-time": ["x", "y"], "curves-passes": ["x", "y"], "curves-seconds": ["x", "y"], "memory": [],
    }  # fmt: skip
    for each in given.values():
        named = [param["name"] for layer in each["spec"]["layer"] for param in layer.get("params", [])]
        assert named == ([ZOOM] if each["zoom"] else [])


def test_what_a_pointer_shows_has_the_titles_of_the_axes(drawn):
    titles = json.loads(live(drawn["curves-passes"].drawing.spec))["titles"]
    assert titles == {"x": "passes over the training data", "y": "validation accuracy (%)"}


def test_colours_are_those_of_the_page(drawn):
    text = "".join(live(chart.drawing.spec) for chart in drawn.values())
    assert "var(--arm-0)" in text
    assert "var(--use-0)" in text
    assert not any(sentinel in text for sentinel in (*SENTINELS, *USE_SENTINELS, "#010203", "#040506", "#070809"))


def test_no_name_can_end_the_element(runs):
    evil = "</script><!--<script>"
    arms = ("backprop", evil)
    (table,) = build_tables(read_material([runs(records=runs.grid(arms=arms, seeds=(0, 1)))]))
    for chart in charts(table):
        text = live(chart.drawing.spec)
        assert "<" not in text
        assert evil in json.loads(text)["data"][next(iter(json.loads(text)["data"]))]["texts"]


def test_the_bundle_is_offline_and_cannot_end_its_element():
    code = bundle()
    assert not re.search(r"</script|<!--", code, re.IGNORECASE)
    assert 300_000 < len(code.encode()) < 1_300_000
    assert "\r" not in code


def test_the_history_of_a_search_says_which_trial_was_taken(runs):
    entry = runs.tuned("backprop")
    material = read_material([runs(tuned=[entry])])
    rows = trial_rows(build_tables(material), material)
    assert len(rows) == len(entry["tried"]) == 8
    assert [row[1] for row in rows] == [str(k) for k in range(8)]
    assert [row[5] for row in rows] == ["taken", *[""] * 6, "diverged"]
    assert rows[0][3] == "97.66"
    assert f"lr = {entry['best']['lr']:.3g}" in rows[0][2]


def test_the_command_that_opens_the_searches(runs, tmp_path):
    directory = runs("a b")
    assert dashboard_commands([directory]) == []
    (directory / "study.journal").touch()
    assert dashboard_commands([directory]) == ["optuna-dashboard 'a b/study.journal'"]


def test_the_bundle_is_kept_and_made_again_where_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: made.append(snippet) or "x = '</script>'\r\n")
    expected = "x = '<\\/script>'\n"
    assert bundle.__wrapped__() == expected
    assert bundle.__wrapped__() == expected
    assert len(made) == 1
    assert bundle_file().is_relative_to(tmp_path)
    bundle_file().write_text(bundle_file().read_text()[:-3])
    assert bundle.__wrapped__() == expected
    assert len(made) == 2
    bundle_file().unlink()
    bundle_file().mkdir()
    assert bundle.__wrapped__() == expected, "a cache that cannot be written is done without"


def test_what_json_cannot_hold_is_left_out():
    layer = {"mark": {"type": "point"}, "encoding": {"x": {"field": "x", "type": "quantitative", "title": "t"}}}
    rows = [{"arm": "a", "x": 1.0}, {"arm": "a", "x": float("nan")}, {"arm": "b", "x": float("inf")}]
    given = json.loads(live({"data": {"name": "data"}, "layer": [layer], "datasets": {"data": rows}}))
    assert given["data"]["data"]["rows"] == [[0, 1.0], [0, None], [1, None]]
    assert given["log"] == ["x"]
