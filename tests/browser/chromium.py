"""A headless Chromium, spoken to over two pipes in the protocol of its developer tools. Nothing but the browser is needed.

https://chromedevtools.github.io/devtools-protocol/ lists the methods and events.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Chromium", "Tab"]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 30.0


class Chromium:
    """One browser; its messages are read in the order in which it sends them."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start it with a new profile."""
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The browser reads file 3 and writes file 4.
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._last = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            self.send("Browser.close")
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method and return its result; events that come first are collected."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
        raise AssertionError

    def _messages(self) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + PATIENCE_S
        while True:
            while b"\0" not in self._rest:
                if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                    raise TimeoutError(f"the browser did not answer within {PATIENCE_S:g} s")
                chunk = os.read(self._in, 1 << 20)
                if not chunk:
                    raise OSError("the browser has ended")
                self._rest += chunk
            line, _, self._rest = self._rest.partition(b"\0")
            yield json.loads(line)

    @contextlib.contextmanager
    def tab(self, width: int = 1280, height: int = 900, *, dark: bool = False, scripts: bool = True) -> Iterator[Tab]:
        """A new tab of a size in pixels."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.send(f"{domain}.enable")
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        if not scripts:
            tab.send("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield tab
        finally:
            self.send("Target.closeTarget", targetId=target)


class Tab:
    """One page."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser, self._session = browser, session

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method on this page."""
        return self._browser.send(method, self._session, **params)

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """Parameters of the events of these names so far."""
        mine = [event for event in self._browser.events if event.get("sessionId") == self._session]
        return [event["params"] for event in mine if event["method"] in methods]

    def open(self, address: str) -> None:
        """Load an address, to the end."""
        self.send("Page.navigate", url=address)
        self.wait(f"document.readyState == 'complete' && location.href.startsWith({json.dumps(address)})")

    def js(self, expression: str) -> Any:
        """Value of an expression, awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, patience_s: float = 20.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + patience_s
        while not self.js(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not within {patience_s:g} s: {condition}"
            time.sleep(0.05)

    def point(self, x: float, y: float, kind: str = "mouseMoved") -> None:
        """Move the mouse there, or press or release its button."""
        button = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    @property
    def problems(self) -> list[str]:
        """What the page wrote to the console as a warning or an error, and what it threw."""
        called = [each for each in self.events("Runtime.consoleAPICalled") if each["type"] in ("error", "warning", "assert")]
        logged = [each["entry"] for each in self.events("Log.entryAdded") if each["entry"]["level"] in ("error", "warning")]
        thrown = [each["exceptionDetails"] for each in self.events("Runtime.exceptionThrown")]
        return [
            *(" ".join(str(part.get("value", part.get("description"))) for part in each["args"]) for each in called),
            *(each["text"] for each in logged),
            *(str(each.get("exception", each)) for each in thrown),
        ]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        return [each["request"]["url"] for each in self.events("Network.requestWillBeSent")]

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        taken = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))
