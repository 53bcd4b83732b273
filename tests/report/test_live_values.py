"""What a page is made of besides its text: charts for a script, cells to sort by, the template filled in; each whole."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from bpfree.report import rendering, sections
from bpfree.report.interactive import live
from bpfree.report.labels import arm_label
from bpfree.report.palette import SENTINELS


def axis(field: str, title: str | None = "", kind: str = "quantitative") -> dict[str, Any]:
    return {"field": field, "type": kind, "title": title}


def layer(name: str | None = None, mark: str = "line", **encoding: Any) -> dict[str, Any]:
    return {"mark": {"type": mark}, "encoding": encoding, **({"data": {"name": name}} if name else {})}


def made(layers: list[dict[str, Any]], rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return json.loads(live({"data": {"name": "d"}, "layer": layers, "datasets": {"d": rows, **more}}))


def test_a_whole_chart_as_text() -> None:
    """The first layer has no axis of numbers, so the second is zoomed; what is coloured or shaped by arm loses its legend."""
    first = layer("names", "text", x=axis("arm", None, "nominal"), text={"field": "arm"})
    key = {"field": "arm", "legend": {"orient": "top"}}
    second = layer(
        x=axis("s", "time (µs)"), y=axis("y", "y<x"), y2={"field": "y1"}, color=key, shape=key,
        fill={"field": "arm", "legend": {"orient": "top"}},
    )  # fmt: skip
    spec = {
        "$schema": "left out", "width": 3, "data": {"name": "d"}, "layer": [first, second], "config": {"fill": SENTINELS[2]},
        "datasets": {"names": [{"k": 1}, {"arm": "b"}], "d": [{"arm": "b", "s": 1.5}, {"s": 2, "arm": "a", "y": 0}]},
    }  # fmt: skip
    text = live(spec)
    assert "µ" in text
    assert "\\u003cx" in text
    assert ": " not in text.replace("time (µs)", "")
    without = {"field": "arm", "legend": None}
    hidden = [{"filter": "indexof(hidden_arms, datum.arm) < 0"}]
    select = {"type": "interval", "encodings": ["x", "y"], "zoom": "wheel![event.ctrlKey||event.metaKey]"}
    assert json.loads(text) == {
        "spec": {
            "width": 3,
            "config": {"fill": "var(--arm-2)"},
            "params": [{"name": "hidden_arms", "value": []}],
            "layer": [
                {**first, "transform": hidden},
                {
                    "data": {"name": "d"}, "mark": {"type": "line"}, "transform": hidden,
                    "encoding": {**second["encoding"], "color": without, "shape": without},
                    "params": [{"name": "zoom", "select": select, "bind": "scales"}],
                },
            ],
        },
        "data": {
            "names": {"keys": ["k", "arm"], "named": ["arm"], "texts": ["b"], "rows": [[1, None], [None, 0]]},
            "d": {"keys": ["arm", "s", "y"], "named": ["arm"], "texts": ["b", "a"], "rows": [[0, 1.5, None], [1, 2, 0]]},
        },
        "titles": {"s": "time (µs)", "y": "y<x"},
        "log": ["x"],
        "zoom": ["x", "y"],
    }  # fmt: skip


def test_a_layer_without_arms_is_left_as_it_is() -> None:
    plain = layer(x=axis("x"), color={"field": "arm", "legend": {}})
    assert made([layer(x=axis("x")), plain], [{"x": 1}])["spec"]["layer"][1] == {"data": {"name": "d"}, **plain}


@pytest.mark.parametrize("marks", [("bar", "line"), ("line", "bar")])
def test_bars_are_neither_zoomed_nor_made_logarithmic(marks: tuple[str, str]) -> None:
    given = made([layer(mark=mark, x=axis("x")) for mark in marks], [{"x": 1}])
    assert given["zoom"] == given["log"] == []
    assert not any("params" in each for each in given["spec"]["layer"])


def test_a_chart_without_an_axis_of_numbers_is_not_zoomed() -> None:
    given = made([layer(x=axis("x", kind="nominal"))], [{"x": "a"}])
    assert given["zoom"] == given["log"] == []


@pytest.mark.parametrize(
    ("rows", "log"),
    [
        ([{"x": 1, "y": 2}, {"x": 0.5, "y": 1}], ["x", "y"]),
        ([{"x": 1, "y": 2}, {"x": 0, "y": 1}], ["y"]),
        ([{"x": 0, "y": 0}, {"x": 1, "y": -1}], []),
        ([{"x": 1, "y": 2}, {"x": 1}], ["x", "y"]),
    ],
)
def test_an_axis_is_logarithmic_only_where_all_of_its_values_are_above_0(rows: list[dict[str, Any]], log: list[str]) -> None:
    assert made([layer(y=axis("y")), layer(x=axis("x"))], rows)["log"] == log
    both = made([layer(x=axis("x"), y=axis("y")), layer("more", x=axis("x"))], [{"x": 1, "y": 1}], more=rows)
    assert both["log"] == (["x", "y"] if "x" in log else ["y"])


def test_a_pointer_shows_titles_but_not_those_of_the_lower_end_of_an_interval() -> None:
    axes = (axis("a1", "low"), axis("b", "title"), axis("c", None), axis("d", ""), axis("e1", None))
    assert made([layer(x=each) for each in axes], [{}])["titles"] == {"b": "title"}


def test_what_json_has_no_number_for_is_refused_outside_of_the_data() -> None:
    spec = {"layer": [layer("d", x=axis("x"))], "datasets": {"d": [{"x": float("inf")}]}}
    assert json.loads(live(spec))["data"]["d"]["rows"] == [[None]]
    with pytest.raises(ValueError, match="JSON"):
        live({**spec, "width": float("inf")})


def test_a_chart_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "inline", lambda *given: "|".join(given))
    monkeypatch.setattr(sections, "live", lambda spec: f"live {spec}")
    values = {"title": "T", "caption": "C", "svg": "S", "description": "D", "drawing": SimpleNamespace(spec="P")}
    for name, printed in (("timeline-power", False), ("curves", True)):
        chart: Any = SimpleNamespace(name=name, **values)
        assert sections.chart_values(chart, "chart-3-x") == {
            "title": "T", "caption": "C", "svg": "S|chart-3-x|T|D", "description": "D", "printed": printed, "live": "live P",
        }  # fmt: skip


def test_cells_are_sorted_by_whole_numbers_and_those_without_one_come_last() -> None:
    assert sections._sorts({"a": None, "b": float("nan"), "c": 0.1, "d": 0, "e": 1 / 3}) == {
        "a": "", "b": "", "c": "0.1", "d": "0", "e": "0.3333333333333333",
    }  # fmt: skip


@pytest.mark.parametrize("has_charts", [True, False])
def test_a_template_is_filled_without_blank_lines_and_with_a_policy(monkeypatch: pytest.MonkeyPatch, has_charts: bool) -> None:
    template = (
        "{{ version }}\n{% if true %}\n  {% if true %}\n{{ text }}\n  {% endif %}\n{% endif %}\n{{ policy }}\n{{ style }}\n"
    )
    files = {"page.css": "\n css \n", "page.js": " page \n", "charts.js": " charts \n", "t": template + "{{ scripts }}\n"}
    monkeypatch.setattr(rendering, "PackageLoader", lambda package: jinja2.DictLoader(files))
    monkeypatch.setattr(rendering, "bundle", lambda: "bundle")
    monkeypatch.setattr(rendering, "style_sheet", lambda: "colours")
    monkeypatch.setattr(rendering, "_digest", lambda code: f"[{code}]")
    monkeypatch.setattr(rendering, "__version__", "V")
    codes = ["bundle", "charts", "page"] if has_charts else ["page"]
    digests = " ".join(f"[{code}]" for code in codes)
    scripts = "\n".join(f"<script>{code}</script>" for code in codes)
    assert rendering.fill("t", has_charts=has_charts, text="a <b>") == (
        f"V\na &lt;b&gt;\ndefault-src &#39;none&#39;; style-src [css\ncolours]; script-src {digests}; base-uri &#39;none&#39;\n"
        f"<style>css\ncolours</style>\n{scripts}\n"
    )
    with pytest.raises(jinja2.UndefinedError):
        rendering.fill("t", has_charts=has_charts)


def test_a_policy_names_a_text_by_its_sha256() -> None:
    assert rendering._digest("") == "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


@pytest.mark.parametrize(
    ("variant", "label"),
    [
        ("", "r"), ("schedule=staged:lr=0.03", "r (staged, lr=0.03)"), ("on=true:off=false", "r (on=true, off=false)"),
        ("m=a1", "r (a1)"), ("m=:n=-x", "r (m=, n=-x)"), (":m=tw", "r (tw)"),
    ],
)  # fmt: skip
def test_the_label_of_an_arm(variant: str, label: str) -> None:
    assert arm_label("r", variant) == label
