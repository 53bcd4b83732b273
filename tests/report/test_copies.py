"""What is copied from a page: the table for LaTeX, Markdown and CSV, and the BibTeX of what was used."""

from __future__ import annotations

import csv
import io
import re

import pytest

from bpfree.cli.cite import used_in
from bpfree.report.copies import copies, latex_escaped, latex_table
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.origins import links, references


@pytest.fixture(scope="module")
def material(shared_runs):
    return read_material([shared_runs("copies", tuned=[shared_runs.tuned("backprop")])])


def test_the_latex_table_is_that_of_booktabs(material):
    (table,) = build_tables(material)
    lines = latex_table(table, ("SCALED",)).splitlines()
    assert [line.strip() for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"\caption{SCALED. Results on digits, mlp:2x256: means with 95 \% intervals.}" in lines[2]
    columns = re.search(r"begin\{tabular\}\{(l[lr]+)\}", lines[3])
    assert columns
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + len(table.rows)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(columns[1]) - 1}
    assert table.rows[1].accuracy_text.replace("±", r"$\pm$") in body[2]
    assert table.rows[1].difference_text().replace("−", "$-$") in body[2]


def test_names_of_users_cannot_break_latex():
    assert latex_escaped("a_b & 50 % \\input{x}\n<c>^~$#") == (
        r"a\_b \& 50 \% \textbackslash{}input\{x\} \textless{}c\textgreater{}\textasciicircum{}\textasciitilde{}\$\#"
    )


def test_the_other_formats_hold_the_same_table(material):
    (table,) = build_tables(material)
    texts = copies(table)
    assert list(texts) == ["LaTeX", "Markdown", "CSV"]
    assert len(texts["Markdown"].splitlines()) == 2 + len(table.rows)
    rows = list(csv.DictReader(io.StringIO(texts["CSV"])))
    assert [row["arm"] for row in rows] == [row.arm for row in table.rows]


def test_the_references_are_those_of_cite(material):
    directory = material.directories[0]
    (directory / "study.journal").touch()
    assert references(material).strip().split("\n\n") == list(dict.fromkeys(used_in(directory)))


def test_a_rule_of_another_package_is_named(shared_runs):
    runs = [shared_runs.record(arm, 0, algorithm=arm) for arm in ("backprop", "other-rule")]
    assert "% The rule other-rule is of another package" in references(read_material([shared_runs("other", runs)]))


def test_links_are_relative_escaped_and_lead_to_files(shared_runs):
    directory = shared_runs("javascript:a b#?", tuned=[shared_runs.tuned("backprop")])
    for out in (directory / "report", directory.parent / "elsewhere" / "deep"):
        ((name, entries),) = links([directory], out)
        assert name == "javascript:a b#?"
        assert [file for file, _address, _what in entries] == ["records.jsonl", "tuned.json", "ruleset.yaml", "environment.json"]
        for file, address, _what in entries:
            assert not re.search(r"[:#? ]", address)
            from urllib.parse import unquote

            assert (out / unquote(address)).resolve() == (directory / file).resolve()
