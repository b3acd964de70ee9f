"""The page of a report in a real browser: lists, players, widths, accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import RECORDER, WIDTHS, Visit, chromium

from sepcli.evaluation.html_report import html_page
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Failure, make_report
from sepcli.evaluation.score import TrackScore

pytestmark = pytest.mark.slow
STEMS, RATE = ("bass", "drums", "other", "vocals"), 22050
HIDDEN = """[...document.querySelectorAll(".wide")]
.filter((one) => one.scrollWidth > one.clientWidth).length"""
"""Number of tables that are wider than what is seen of them."""
METHODS = {"htdemucs": 3.0, "mdx": 2.0, "average": 0.0, "oracle mask": 9.0}


def clips(track: str) -> list[Clip]:
    noise = 0.1 * np.random.default_rng(0).standard_normal((6, RATE, 2)).astype(np.float32)
    estimates = {method: noise[1:5] + 0.1 * noise[5] for method in ("htdemucs", "mdx")}
    return clips_of_rows(STEMS, noise[0], {REFERENCE: noise[1:5], **estimates}, RATE)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores = [
        TrackScore(f"A song with a long name, number {track}", method, stem, metric, value + shift)
        for metric in ("sdr", "si-sdr")
        for method, shift in METHODS.items()
        for track, value in enumerate((5.0, 1.0, 10.0, 2.0))
        for stem in STEMS
    ]
    protocol = Protocol(("sdr", "si-sdr"), "estimates", STEMS, "sum", 4, settings={"sampler": "projected"})
    report = make_report(protocol, scores, [Failure("Lost", "no estimate of bass")], ["A note."])
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html_page(replace(report, clips_of=clips)), "utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_quiet_narrow_and_accessible(browser: Any, page: Path, scheme: str) -> None:
    for width in WIDTHS:
        visit = Visit(browser, page, width, scheme)
        assert visit.overflow() <= 0
        assert visit.page.evaluate(HIDDEN) == 0
        if width == WIDTHS[-1]:
            visit.page.click("summary:has-text('How the numbers')")
            assert visit.violations() == []
        visit.check_quiet()
        visit.close()


def test_the_list_is_sorted_and_filtered_and_leads_to_the_players(browser: Any, page: Path) -> None:
    visit = Visit(browser, page, script=RECORDER)
    tab = visit.page
    rows = "[...document.querySelectorAll('#tracks tbody tr:not([hidden])')]"
    names = rows + ".map((row) => row.innerText.match(/number (.)/)[1])"
    assert tab.evaluate(names) == ["0", "1", "2", "3"]
    tab.click("#tracks th button >> nth=1")
    assert tab.evaluate(names) == ["2", "0", "3", "1"]
    tab.keyboard.press("Enter")
    assert tab.evaluate(names) == ["1", "3", "0", "2"]
    assert tab.get_attribute("#tracks th >> nth=1", "aria-sort") == "ascending"
    tab.fill("input[type=search]", "number 3")
    assert tab.evaluate(names) == ["3"]
    assert tab.inner_text("output[data-filter]") == "1 of 4"
    tab.click("#tracks a:visible")
    deck = "details:has(summary:has-text('number 3'))"
    assert tab.is_visible(f"{deck} .play")
    assert "(-1.00 to htdemucs)" in tab.inner_text(f"{deck} .voice[data-group$='-3'] >> nth=0")
    tab.click(f"{deck} .play")
    tab.wait_for_function("starts.length === 4")  # the four stems of the first method
    tab.click("details:has(summary:has-text('number 2')) .play")
    assert tab.inner_text(f"{deck} .play") == "Play"  # one deck plays at a time
    visit.close()


def test_it_prints_without_controls(browser: Any, page: Path) -> None:
    visit = Visit(browser, page)
    visit.page.emulate_media(media="print")
    for hidden in (".play", ".solo", "input[type=search]"):
        assert not visit.page.is_visible(f"{hidden} >> nth=0")
    assert visit.page.is_visible("#tracks")
    assert len(visit.page.pdf()) > 10_000
    visit.close()
