"""The report in a browser: drawn, answering the pointer, whole at every width, readable, and without a single request."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Chromium, Tab

pytestmark = pytest.mark.browser

DRAWN = (
    "[...document.querySelectorAll('figure.chart .live')].filter(live => live.dataset.drawn && live.querySelector('svg path'))"
)


def draw_all(tab: Tab) -> int:
    """Scroll through the page until every chart is drawn; returns how many there are."""
    n = tab.js("document.querySelectorAll('figure.chart').length")
    tab.js("""(async () => {
        for (const figure of document.querySelectorAll("figure.chart")) {
            figure.scrollIntoView();
            const drawn = () => figure.querySelector(".live svg path");
            for (let k = 0; k < 200 && !drawn(); k++) await new Promise((go) => setTimeout(go, 25));
        }
    })()""")
    tab.wait(f"{DRAWN}.length === {n}")
    settle(tab)
    return n


def settle(tab: Tab) -> None:
    """Wait until what was begun is on the screen; scrolling hides what a pointer shows."""
    tab.js("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go, 20))))")


def middle(tab: Tab, element: str, *, scroll: bool = True) -> list[float]:
    """Where the middle of an element is on the screen, after scrolling there."""
    if scroll:
        tab.js(f"{element}.scrollIntoView({{ block: 'center' }})")
        settle(tab)
    return tab.js(f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])({element}.getBoundingClientRect())")


def colour(label: str) -> str:
    from bpfree.report.palette import arm_colour

    return f"var(--arm-{arm_colour(label)})"


def test_charts_are_drawn_and_answer_the_pointer(browser: Chromium, four_arms: Path) -> None:
    with browser.tab() as tab:
        tab.open(four_arms.as_uri())
        assert draw_all(tab) == 5
        assert tab.js("[...document.querySelectorAll('.still')].every(still => still.hidden)")
        # Hover: the point of an arm in the first chart tells its label, its difference and the interval.
        place = middle(tab, "[...document.querySelector('figure.chart .live').querySelectorAll('.mark-symbol path')].at(-1)")
        tab.point(*place)
        tab.wait("document.querySelector('.tip')")
        lines = tab.js("[...document.querySelectorAll('.tip > *')].map(line => line.textContent)")
        assert lines[0] == "forward-forward"
        assert middle(tab, "document.querySelector('.ring')", scroll=False) == pytest.approx(place, abs=1)
        assert re.fullmatch(r"difference to backprop, percentage points: −[\d.]+ \[−[\d.]+, −[\d.]+\]", lines[1])
        shown = [float(text.replace("−", "-")) for text in re.findall(r"−[\d.]+", lines[1])]
        cell = tab.js(
            "[...document.querySelectorAll('#table-1 tbody tr')].at(-1).querySelector('[data-column=difference]').innerText"
        )
        assert [f"{value:.2f}" for value in shown] == [text.replace("−", "-") for text in re.findall(r"−[\d.]+", cell)[:3]]
        # A curve answers too, though its line is one pixel wide.
        curve = tab.js("""(() => {
            const live = document.querySelectorAll('figure.chart .live')[2];
            live.scrollIntoView({ block: 'center' });
            const box = live.querySelector('.mark-line path').getBoundingClientRect();
            return [box.x + box.width / 2, box.y + 2];
        })()""")
        settle(tab)
        tab.point(*curve)
        tab.wait("document.querySelector('.tip') && /^(seed|mean)/.test(document.querySelector('.tip').children[1].textContent)")
        assert tab.problems == []
        assert set(tab.requests) == {four_arms.as_uri()}


def test_the_legend_switches_an_arm_off_in_every_chart(browser: Chromium, four_arms: Path) -> None:
    paints = """(colour) => [...document.querySelectorAll('figure.chart .live svg')].map(svg =>
        [...svg.querySelectorAll('[class*=mark-] *')].filter(each => [each.getAttribute('stroke'), each.getAttribute('fill')]
        .includes(colour)).length)"""
    with browser.tab() as tab:
        tab.open(four_arms.as_uri())
        draw_all(tab)
        pale = json.dumps(colour("forward-forward"))
        assert all(count > 0 for count in tab.js(f"({paints})({pale})")[:4])
        tab.js("document.querySelector('.legend input[value=forward-forward]').click()")
        tab.wait(f"({paints})({pale}).every(count => count === 0)")
        assert all(count > 0 for count in tab.js(f"({paints})({json.dumps(colour('mono-forward'))})")[:4])
        tab.js("document.querySelector('.legend input[value=forward-forward]').click()")
        tab.wait(f"({paints})({pale}).slice(0, 4).every(count => count > 0)")
        assert tab.problems == []


def test_logarithms_and_zoom(browser: Chromium, four_arms: Path) -> None:
    ticks = "[...document.querySelectorAll('figure.chart .live')][3].querySelector('.role-axis-label').textContent"
    with browser.tab() as tab:
        tab.open(four_arms.as_uri())
        draw_all(tab)
        seen = [tab.js(ticks)]
        for name in ("log x", "log x", "+", "all"):
            press = "[...document.querySelectorAll('figure.chart')][3].querySelectorAll('.tools button')"
            tab.js(f"[...{press}].find(button => button.textContent === {json.dumps(name)}).click()")
            if name == "all" or len(seen) == 2:
                tab.wait(f"{ticks} === {json.dumps(seen[0])}")
            else:
                tab.wait(f"{ticks} !== {json.dumps(seen[-1])}")
            seen.append(tab.js(ticks))
        # The wheel with Ctrl zooms at the pointer; without it the page moves.
        x, y = middle(tab, "document.querySelectorAll('figure.chart .live')[3]")
        tab.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-300, modifiers=2)
        tab.wait(f"{ticks} !== {json.dumps(seen[-1])}")
        assert tab.problems == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", ["four_arms", "twenty_arms", "evil", "suite_page"])
def test_no_column_is_cut(browser: Chromium, page: str, width: int, request: pytest.FixtureRequest) -> None:
    with browser.tab(width) as tab:
        tab.open(request.getfixturevalue(page).as_uri())
        assert tab.js("document.documentElement.scrollWidth") <= width
        cut = "[...document.querySelectorAll('.scroll')].filter(part => part.scrollWidth > part.clientWidth + 1)"
        assert tab.js(f"{cut}.map(part => part.getAttribute('aria-labelledby') || part.getAttribute('aria-label'))") == []


def test_columns_are_chosen_and_sorted(browser: Chromium, four_arms: Path) -> None:
    names = "[...document.querySelectorAll('#table-1 tbody th')].map(cell => cell.textContent)"
    with browser.tab() as tab:
        tab.open(four_arms.as_uri())
        before = tab.js(names)
        press = "document.querySelector('#table-1 th[data-column=accuracy] button').click()"
        values = "[...document.querySelectorAll('#table-1 td[data-column=accuracy]')].map(cell => Number(cell.dataset.sort))"
        tab.js(press)
        assert tab.js(values) == sorted(tab.js(values))
        tab.js(press)
        assert tab.js(values) == sorted(tab.js(values), reverse=True)
        tab.js(press)
        assert tab.js(names) == before
        tab.js("document.querySelector('.columns input[value=time]').click()")
        assert tab.js("document.querySelector('#table-1 td[data-column=time]').offsetWidth") == 0
        assert tab.problems == []


def test_four_arms_are_printed_on_two_pages_in_light_colours(browser: Chromium, four_arms: Path, tmp_path: Path) -> None:
    with browser.tab(dark=True) as tab:
        tab.open(four_arms.as_uri())
        draw_all(tab)
        printed = tab.pdf()
        assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == 2
        tab.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert tab.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.js("document.querySelector('#table-1 thead').offsetHeight") > 0, "a table, not the cards of a phone"
        assert tab.js("[...document.querySelectorAll('.still')].every(still => still.offsetHeight > 0)")


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_and_labels(browser: Chromium, axe: str, four_arms: Path, dark: bool) -> None:
    with browser.tab(dark=dark) as tab:
        tab.open(four_arms.as_uri())
        draw_all(tab)
        if not dark:  # what is folded has the same classes, and most of the cells
            tab.js("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert serious(tab, axe, *(["color-contrast"] if dark else [])) == []


def serious(tab: Tab, axe: str, *rules: str) -> list[Any]:
    """What axe-core calls serious or critical, with the elements; of some rules alone where they are given."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    tab.js(axe + "; 0")
    violations = tab.js(f"axe.run({json.dumps(options)}).then(result => result.violations)")
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"]])
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


def test_the_page_of_a_suite(browser: Chromium, axe: str, suite_page: Path) -> None:
    with browser.tab() as tab:
        tab.open(suite_page.as_uri())
        assert draw_all(tab) == 3
        tab.js("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert serious(tab, axe) == []
        assert tab.problems == []


def test_without_scripts_the_drawings_stay(browser: Chromium, four_arms: Path) -> None:
    with browser.tab(scripts=False) as tab:
        tab.open(four_arms.as_uri())
        assert tab.js("[...document.querySelectorAll('.still svg')].every(svg => svg.getBoundingClientRect().height > 100)")
        assert tab.js("document.querySelectorAll('.live').length") == 0


def test_where_the_charts_cannot_be_drawn_the_drawings_stay(browser: Chromium, four_arms: Path, tmp_path: Path) -> None:
    text = four_arms.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("globalThis.vegaEmbed=", "globalThis.other="), encoding="utf-8")
    with browser.tab() as tab:
        tab.open(broken.as_uri())
        assert any("Content Security Policy" in problem for problem in tab.problems), "a script that was changed must not run"
        assert tab.js("[...document.querySelectorAll('.still svg')].every(svg => svg.getBoundingClientRect().height > 100)")


def test_names_that_are_html_are_text(browser: Chromium, evil: Path) -> None:
    from tests.browser.conftest import EVIL

    with browser.tab() as tab:
        tab.open(evil.as_uri())
        draw_all(tab)
        assert tab.js("globalThis.evil") is None
        assert tab.js("[...document.querySelectorAll('#table-1 tbody th')].map(cell => cell.textContent)")[1].startswith(
            EVIL[:20]
        )
        assert tab.js("[...document.querySelectorAll('.legend input')].map(box => box.value)")[1] == EVIL
        assert tab.js("document.querySelectorAll('img').length") == 0
        assert tab.problems == []


def test_twenty_arms(browser: Chromium, twenty_arms: Path) -> None:
    assert twenty_arms.stat().st_size < 2_000_000
    with browser.tab() as tab:
        tab.open(twenty_arms.as_uri())
        draw_all(tab)
        assert tab.problems == []
