"""The page: self-contained, escaped, accessible, and readable on a phone."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import shlex
from html.parser import HTMLParser
from xml.etree import ElementTree

import markupsafe
import pytest

from bpfree import report, rulesets
from bpfree.report.bundle import bundle
from bpfree.report.charts import charts
from bpfree.report.looks import glyph
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.svg import SERIES, inline, standalone

EVIL = '<script src="https://evil.example/x.js">alert(1)</script>'
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects the tags of a page, and fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(shared_runs):
    runs = shared_runs
    fashion = runs.grid(dataset="fashion-mnist", net="mlp:2x1000", energy=True)
    return report.build([runs(records=[*runs.grid(), *fashion], tuned=[runs.tuned("backprop")])]).page.read_text()


def without_scripts(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_nothing_is_loaded(text):
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "video", "audio", "form"} == set()
    assert all("src" not in script for script in page.all("script"))
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if value and name not in ("xmlns", "content") and re.search(r"\w+://|^//", value)
    ]
    assert addresses == []
    assert "url(http" not in without_scripts(text)
    assert "@import" not in without_scripts(text)


def test_the_policy_names_every_script_and_the_style(text):
    policy = next(meta["content"] for meta in Page(text).all("meta") if "default-src" in (meta.get("content") or ""))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    codes = [code for _tag, code in re.findall(r"<(script|style)>(.*?)</\1>", text, re.DOTALL)]
    digests = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes]
    assert len(digests) == 4
    assert re.findall(r"sha256-([^']+)", policy) == digests
    assert not re.search(r"<[^>]* (?:style|on\w+)=", without_scripts(text)), "the policy forbids these"


def test_it_is_light(text):
    assert len(text.encode()) < len(bundle().encode()) + 400_000
    assert len(without_scripts(text).encode()) < 350_000


def test_ids_are_unique_and_references_exist(text):
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {name for _, a in page.tags for name in (a.get("aria-labelledby") or "").split()}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", without_scripts(text)))
    assert wanted <= set(ids)


def test_charts_have_words_with_their_main_values(text):
    drawings = [a for tag, a in Page(text).tags if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(drawings) == 11  # five for each table, and the profiles
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in drawings)
    descriptions = re.findall(r"<desc[^>]*>([^<]+)</desc>", text)
    assert len(descriptions) == 11
    for description in descriptions:
        assert "mono-forward" in description
        assert re.search(r"\d\.\d|\d %", description)


def test_tables_have_scopes_and_captions(text):
    page = Page(text)
    assert len(page.all("caption")) == len(page.all("table")) == 14
    assert {a.get("scope") for a in page.all("th")} == {"row", "col"}
    labels = [a for a in page.all("td") if not a.get("data-label")]
    assert labels == [], "on a phone each cell is named by its data-label"


def test_phone_and_dark_mode(text):
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    for sentinel in (*SERIES, "#010203", "#040506", "#070809"):
        assert sentinel not in text
    assert "overflow-x: auto" in text
    for drawing in (a for tag, a in Page(text).tags if tag == "svg"):
        assert "width" not in drawing, "a fixed width would not fit a phone"


def test_names_of_users_are_escaped(runs):
    arms = ("backprop", f"{EVIL}|`*")
    records = [
        runs.record(arm, seed, arms=arms, algorithm=arm, dataset=EVIL, net=EVIL, plan={"command": EVIL, "arms": 3}, tier=EVIL)
        for seed in range(3)
        for arm in arms
    ]
    folder = EVIL.replace("/", "")
    paths = report.build([runs(folder, records, tuned=[runs.tuned(arms[1], EVIL, EVIL)])])
    assert str(markupsafe.escape(shlex.quote(folder))) in paths.page.read_text(), "in the command that makes the report again"
    page = Page(paths.page.read_text())
    kinds = [script.get("type") for script in page.all("script")]
    assert kinds == [*["application/json"] * (len(kinds) - 3), None, None, None], "none is that of a name"
    # An indented line is code in Markdown, and shown as it is.
    assert not [line for line in paths.markdown.read_text().splitlines() if "<script" in line and line[:4] != "    "]
    for figure in paths.figures:
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(figure).iter()}
        assert "script" not in tags


@pytest.mark.usefixtures("no_charts")
def test_markdown_tables_are_well_formed(runs):
    arms = ("backprop", "odd|name\nof `two` lines")
    lines = report.build([runs(records=runs.grid(arms=arms))]).markdown.read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    sizes = (2 + len(arms), 2 + len(arms), 1 + len(arms), 2 + len(arms))
    assert len(rows) == sum(sizes), "the results, passes, what the verdicts rest on, and the costs to a target"
    ends = list(itertools.accumulate(sizes))
    for table in (rows[end - size : end] for size, end in zip(sizes, ends, strict=True)):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
        assert re.fullmatch(r"\|( -+:? \|)+", table[1])
    assert lines[0].startswith("# ")


def test_the_answer_says_arms_difference_verdict_and_cost(runs):
    answer = report.summarise([runs(records=runs.grid(energy=True))])["tables"][0]["answer"]
    pattern = (
        r"Under ruleset quick, with flags \(short trials\), on digits with mlp:2x256, mono-forward, chosen from 3 arms "
        r"by its test mean, reached 97\.\d % test accuracy against backprop’s 97\.\d % "
        r"\(difference \+\d\.\d \[−\d\.\d, \+\d\.\d\] points: inconclusive, where \d\.\d points could be shown\), at "
        r"[\d.]+ \[[\d.]+, [\d.]+\] times the time \(slower in this search\) and "
        r"[\d.]+ \[[\d.]+, [\d.]+\] times the energy \([\w ]+\)\. The other arms: .*forward-forward 94\.\d % "
        r"\(behind in this search\)\."
    )
    assert re.fullmatch(pattern, answer)


@pytest.mark.usefixtures("no_charts")
def test_conditions_rules_size_and_commands_are_said(runs):
    directory = runs(tuned=[runs.tuned("forward-forward")])
    page = report.build([directory]).page.read_text()
    for said in (
        "conditional on one search",
        "conditional on one split",
        "1,797 images",
        "bpfree compare --dataset fashion-mnist --net mlp:2x1000 --data-dir DIR",
        "bpfree compare --seeds 5 --out runs/x",
        "bpfree report run<",
        "at the edge of its space",
        "log-uniform 3e-05 to 0.03",
        "has not improved for 10",
        "no energy source was given",
        "AMD EPYC",
        rulesets.digest(runs.ruleset),
    ):
        assert said in page, said
    assert page.index("Under ruleset quick") < page.index("Test accuracy, %") < page.index("conditional on one search")


@pytest.mark.usefixtures("no_charts")
def test_other_data_sets_are_not_called_small(runs):
    page = report.build([runs(records=runs.grid(dataset="mnist"))]).page.read_text()
    assert "1,797" not in page


def test_estimated_energy_is_in_no_table_and_no_figure(runs):
    records = [
        r.model_copy(update={"energy": r.energy.model_copy(update={"measured": False, "method": "estimate"})})
        for r in runs.grid(energy=True)
    ]
    paths = report.build([runs(records=records)])
    page = paths.page.read_text()
    assert "The energies of 20 of 20 runs are estimates, not measurements" in page
    assert "Energy, gross / net" in page.partition("Not measured for any arm")[2]
    assert "of training, energy not measured" in (paths.directory / "figures/accuracy-time.svg").read_text()
    assert not (paths.directory / "figures/accuracy-energy.svg").exists()


def test_many_arms_can_be_told_apart(runs):
    arms = ["backprop", *(f"rule-{k}" for k in range(13))]
    table = build_tables(read_material([runs(records=runs.grid(arms=arms, seeds=(0, 1)))]))[0]
    looks = {glyph(row) for row in table.rows}
    assert len(looks) == len(arms)
    assert len(charts(table)) == 4


def test_a_run_that_diverged_at_once_draws_no_curve(runs):
    records = [
        runs.record(r.arm, r.seed, status="diverged", history=[]) if r.arm == "forward-forward" else r for r in runs.grid()
    ]
    table = build_tables(read_material([runs(records=records)]))[0]
    passes = next(chart for chart in charts(table) if chart.name == "curves-passes")
    assert "forward-forward" not in passes.description


def test_svg_inline_and_alone():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="5" viewBox="0 0 10 5"><clipPath id="c" />'
        '<g clip-path="url(#c)" fill="#010203"><text>a &lt;b&gt; #010203</text></g></svg>'
    )
    page = inline(svg, "x", "T", "D & E")
    assert "url(#x-c)" in page and 'id="x-c"' in page
    assert 'fill="currentColor"' in page and "#010203</text>" in page
    assert '<title id="x-title">T</title>' in page and "D &amp; E" in page
    alone = ElementTree.fromstring(standalone(svg, "T", "D"))
    assert alone.get("width") == "10" and alone.get("viewBox") == "0 -28 10 33"
    assert not re.search(r"currentColor|var\(", standalone(svg, "T", "D"))
