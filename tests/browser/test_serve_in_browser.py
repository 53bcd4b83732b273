"""``serve`` in a browser: the list of runs leads to a report, which works under the server's policy too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfree.cli.serve.server import RunServer
from tests.browser.chromium import Chromium
from tests.browser.test_report_in_browser import draw_all, serious

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(four_arms: Path, evil: Path) -> Iterator[str]:
    root = four_arms.parents[2]
    assert evil.is_relative_to(root)
    with RunServer(root, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_list_is_whole_and_names_are_text(browser: Chromium, address: str, axe: str, width: int) -> None:
    with browser.tab(width) as tab:
        tab.open(address)
        assert tab.js("document.documentElement.scrollWidth") <= width
        assert tab.js("globalThis.evil") is None
        assert tab.js("document.body.innerText.includes('<img src=x onerror=')")
        assert serious(tab, axe) == []
        assert tab.problems == []


def test_a_report_is_opened_from_the_list(browser: Chromium, address: str) -> None:
    with browser.tab() as tab:
        tab.open(address)
        tab.js("[...document.querySelectorAll('th a')].find(link => link.textContent === 'four').click()")
        tab.wait("location.pathname === '/four/report/index.html' && document.readyState === 'complete'")
        assert draw_all(tab) == 5
        tab.js("[...document.querySelectorAll('a')].find(link => link.textContent === 'records.jsonl').click()")
        tab.wait("location.pathname === '/four/records.jsonl' && document.readyState === 'complete'")
        assert tab.js("document.body.innerText.startsWith('{')")
        assert tab.problems == []
        assert all(request.startswith(address) for request in tab.requests)
