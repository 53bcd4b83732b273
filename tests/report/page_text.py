"""A report as plain text: what a reader sees on the page, in Markdown and on a terminal, and what the charts are drawn from."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bpfree import __version__, rulesets
from bpfree.report import ReportPaths
from bpfree.report.tables import TextTable

__all__ = ["report_text"]

_LINES = {
    "h1", "h2", "h3", "h4", "p", "li", "dt", "dd", "tr", "caption", "figcaption", "pre", "title", "desc", "summary", "legend",
    "label",
}  # fmt: skip
_HIDDEN = {"style", "text", "script"}
"""``text``: labels inside a drawing; their values stand in the data of the chart, as do those of a script."""


class _Text(HTMLParser):
    """The text of a page: a line for each paragraph or row of a table, with its tag; classes of second lines in braces."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in _LINES:
            self.lines.append(f"<{tag}> ")
        elif tag == "strong" and "figcaption" not in self.open:
            self.lines.append("<strong> ")
        elif tag in ("td", "th"):
            self.lines[-1] += " | "
        elif tag in ("span", "br"):
            kind = (values.get("class") or "").strip()
            self.lines[-1] += f" {{{kind}}} " if kind else " "
        elif tag == "a":
            self.lines[-1] += f" [{values['href']}] "
        if tag == "meta" and values.get("name") == "description":
            self.lines.append(f"<meta> {values['content']}")
        if tag not in ("meta", "br", "path", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not _HIDDEN & set(self.open):
            if not self.lines:
                self.lines.append("")
            self.lines[-1] += data


_LONG_NUMBER = re.compile(r"-?\d+\.\d{6,}(?:e[-+]\d+)?")
"""As in the CSV to copy."""


def _page(html: str) -> Iterator[str]:
    reader = _Text()
    reader.feed(html)
    for line in reader.lines:
        flat = _LONG_NUMBER.sub(lambda number: _cell(number[0]), " ".join(line.split()))
        if not re.fullmatch(r"<\w+>", flat):
            yield flat


def _chart(spec: dict[str, Any]) -> Iterator[str]:
    """Its size, its layers with what is drawn from which field, then the data."""
    yield f"  {spec['width']} x {spec['height']}"
    for layer in spec.get("layer", [spec]):
        mark = {name: value for name, value in layer["mark"].items() if name not in ("type", "color")}
        channels = []
        for name, channel in sorted(layer["encoding"].items()):
            facts = {key: value for key, value in channel.items() if key not in ("field", "scale", "type") and value is not None}
            facts |= {key: value for key, value in (channel.get("scale") or {}).items() if key != "range"}
            channels.append(f"{name}={channel.get('field', '')} {facts or ''}".rstrip())
        yield f"  {layer['mark']['type']} {mark or ''} on {(layer.get('data') or spec['data'])['name']}: {'; '.join(channels)}"
    for name, rows in spec["datasets"].items():
        series: dict[str, list[str]] = {}
        for row in rows:
            names = " ".join(str(value) for key, value in row.items() if isinstance(value, str) or key == "run")
            numbers = [f"{key}={value:.5g}" for key, value in row.items() if not (isinstance(value, str) or key == "run")]
            series.setdefault(names, []).append(" ".join(numbers))
        for names, points in series.items():
            yield f"  {name} {names}: {', '.join(points)}"


def _figure(path: Path) -> Iterator[str]:
    yield path.name
    for tag, text in re.findall(r"<(title|desc|text)\b[^>]*>([^<]*)<", path.read_text(encoding="utf-8")):
        yield f"  {tag}: {text}"


def _terminal(table: TextTable) -> Iterator[str]:
    yield f"{table.title}"
    for row in (table.headings, *table.rows):
        yield "  " + " | ".join(cell.replace("\n", " // ") for cell in row)


def _rounded(value: Any) -> Any:
    """With six digits of every fraction, so that the text is the same on every processor."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) > 1e-12 else 0.0
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value


def _json(value: Any, name: str = "") -> Iterator[str]:
    """A line for each field of a summary, or for each group of plain values."""
    if isinstance(value, dict) and any(isinstance(entry, dict | list) for entry in value.values()):
        for key, entry in value.items():
            yield from _json(entry, f"{name}.{key}")
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for number, entry in enumerate(value):
            yield from _json(entry, f"{name}[{number}]")
    else:
        yield f"{name}: {json.dumps(_rounded(value), ensure_ascii=False)}"


def _csv(text: str) -> Iterator[str]:
    """A line for each field of a table, with six digits of each number."""
    for row in csv.DictReader(io.StringIO(text)):
        cells = (f"{key}={_cell(cell)}" for key, cell in row.items() if cell)
        yield "; ".join(cells)


def _cell(cell: str) -> str:
    try:
        return f"{_rounded(float(cell)):g}"
    except ValueError:
        return cell


def report_text(
    build: Callable[[], ReportPaths],
    terminal: Callable[[], Sequence[TextTable]],
    summary: Callable[[], dict[str, Any]],
    rules: rulesets.Ruleset | None,
    root: Path,
) -> str:
    """Everything that a reader sees of a report.

    Drawings are not made (that takes most of the time); their data are listed instead. The version, the digest and the words
    of the ruleset, which other tests compare, and the folder of the test are left out.

    Args:
        build: writes the report.
        terminal: the tables for a terminal.
        summary: the report as JSON values.
        rules: of the report; None for that of a suite.
        root: a folder whose name must not appear.
    """
    specs: list[dict[str, Any]] = []

    def render(spec: dict[str, Any]) -> str:
        specs.append(spec)
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1" viewBox="0 0 1 1"></svg>'

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpfree.report.looks.render", render)
        paths = build()
        tables, values = terminal(), summary()
    files = sorted(path.relative_to(paths.directory).as_posix() for path in paths.directory.rglob("*") if path.is_file())
    figures = [line for path in paths.figures for line in _figure(path)]
    lines = ["FILES", *files, "", "FIGURES", *figures, "", "PAGE", *_page(paths.page.read_text(encoding="utf-8"))]
    lines += ["", "MARKDOWN", *paths.markdown.read_text(encoding="utf-8").splitlines()]
    lines += ["", "TERMINAL", *(line for table in tables for line in _terminal(table))]
    lines += ["", "CSV", *_csv(paths.csv.read_text(encoding="utf-8")), "", "JSON", *_json(values), "", "CHARTS"]
    for number, spec in enumerate(specs, start=1):
        lines += [f"chart {number}", *_chart(spec)]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    for value, name in ((str(root), "ROOT"), (f"bpfree {__version__}", "bpfree VERSION")):
        text = text.replace(value, name)
    if rules is not None:
        digest = rulesets.digest(rules)
        for value in (digest, digest[:16], rulesets.short_digest(rules)):
            text = text.replace(value, "DIGEST")
        words = rulesets.in_words(rules)
        for line in words:
            text = text.replace(f"<li> {line}\n", "").replace(f"- {line}\n", "")
    return text
