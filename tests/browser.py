"""Headless Chromium for the tests of pages, and a recorder of what their players play."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (400, 800, 1200)
RECORDER = """
window.starts = [];
window.played = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  starts.push({ when, offset, ahead: when - this.context.currentTime, clock: this.context === window.clock });
  return start.call(this, when, offset);
};
const module = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([input]) {
    const peak = Math.max(0, ...(input[0] ?? []).map(Math.abs));
    if (peak > 0.05) this.port.postMessage({ time: currentTime, peak });
    return true;
  }
})`;
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...others) {
  if (target instanceof AudioDestinationNode && !window.clock) {
    window.clock = this.context;
    const url = `data:text/javascript,${encodeURIComponent(module)}`;
    window.ready = this.context.audioWorklet.addModule(url).then(() => {
      const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
      tap.port.onmessage = (event) => played.push(event.data);
      connect.call(this, tap);
    });
  }
  return connect.call(this, target, ...others);
};
const resume = AudioContext.prototype.resume;
AudioContext.prototype.resume = function () {
  return Promise.all([resume.call(this), window.ready]);
};
"""
"""Keeps when clips are started, and time and peak of all blocks of 128 samples that are not silent.

The page plays when the recorder is ready.
"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a browser; the test is skipped where Playwright or Chromium is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if PROGRAM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is open, and what it reports: messages of its console, and requests for anything else.

    Args:
        browser: that opens it.
        where: a file, or a URL.
        width: of the window in pixels.
        scheme: light or dark.
        script: runs before those of the page.
        quiet: types of messages that are problems; (): all.
    """

    def __init__(
        self,
        browser: Any,
        where: Path | str,
        width: int = 1200,
        scheme: str = "light",
        script: str = "",
        quiet: tuple[str, ...] = (),
    ) -> None:
        self.page = browser.new_page(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            bypass_csp=bool(script),  # which forbids all scripts but the page's
        )
        self.url = where if isinstance(where, str) else where.absolute().as_uri()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self._note(message, quiet))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        if script:
            self.page.add_init_script(script)
        self.page.goto(self.url)

    def _note(self, message: Any, quiet: tuple[str, ...]) -> None:
        if not quiet or message.type in quiet:
            self.problems.append(message.text)

    def check_quiet(self) -> None:
        """Assert that the page has no problem, and has asked for nothing but itself and what is in it."""
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith("data:")] == [self.url]

    def overflow(self) -> int:
        """Return the pixels by which the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return width

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong: WCAG 2.2, levels A and AA, and its best practices."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
        found = axe.Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]

    def close(self) -> None:
        """Close the page."""
        self.page.close()
