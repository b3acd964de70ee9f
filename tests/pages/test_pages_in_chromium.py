"""Pages of separations in a real browser: sound, solo and mute, widths, keyboard, accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import RECORDER, WIDTHS, Visit, chromium

from sepcli.pages.separation import About, Group, Row, Voice, audio_page, image_page

pytestmark = pytest.mark.slow
RATE, SECONDS = 44100, 20.0
CLICKS = {"drums": 0.5, "bass": 0.8}
"""Second of the click of a stem; the mixture has both."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def click(second: float) -> np.ndarray:
    signal = np.zeros((round(SECONDS * RATE), 2), np.float32)
    start = round(second * RATE)
    signal[start : start + 200] = 0.4 * np.sin(np.arange(200) / 3)[:, None]
    return signal


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stems = {name: click(second) for name, second in CLICKS.items()}
    groups = [Group("Mixture", [Voice("mixture", lambda frames: sum(stems.values()))])]
    for title in ("Sample 1, the best", "Sample 2", "Sample 3"):
        voices = [
            Voice(name, lambda frames, name=name: stems[name], (12.0, *[None] * 15, 7.5)) for name in stems
        ]
        groups.append(Group(title, voices, "agreement with the others 12.0 dB"))
    about = About("A song", "One sentence.", ["The prior does not fit."], [("seed", "0")], [("prior", "# x")])
    path = tmp_path_factory.mktemp("audio") / "page.html"
    path.write_text(audio_page(about, groups, RATE, SECONDS), "utf-8")
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    digits = [Row(f"Sample {n}", [(k, rng.random((1, 28, 28), np.float32)) for k in "ab"]) for n in (1, 2)]
    photos = [(f"Sample {n}", "note", rng.random((3, 300, 700), np.float32)) for n in (1, 2)]
    row = Row("Samples", [(name, pixels) for name, _, pixels in photos])
    pages = {
        "digits": image_page(About("Digits", "Two."), digits),
        "photo": image_page(About("Photo", "One."), [row], photos[0][2][:1], photos),
    }
    for name, page in pages.items():
        (folder / name).with_suffix(".html").write_text(page, "utf-8")
    return {name: folder / f"{name}.html" for name in pages}


def onsets(visit: Visit) -> list[float]:
    """Play on to behind the last click; return the seconds, since the scheduled start, of what is heard."""
    visit.page.wait_for_function("document.querySelector('.seek').value > 1.1")
    peaks, starts = visit.page.evaluate("[played, starts]")
    assert all(start["clock"] for start in starts)
    heard = [one["time"] - starts[0]["when"] + starts[0]["offset"] for one in peaks]
    return [time for k, time in enumerate(heard) if k == 0 or time - heard[k - 1] > 0.05]


def test_players_start_together_on_one_clock_when_they_are_scheduled(browser: Any, audio: Path) -> None:
    visit = Visit(browser, audio, script=RECORDER)
    visit.page.click(".play")
    heard = onsets(visit)
    starts = visit.page.evaluate("starts")
    assert len(starts) == 2  # the stems of the first sample; others are decoded when they are wanted
    assert len({(start["when"], start["offset"]) for start in starts}) == 1
    assert all(start["ahead"] > 0 for start in starts)
    assert heard == pytest.approx([*CLICKS.values()], abs=0.02)
    visit.page.click(".play")
    assert visit.page.inner_text(".play") == "Play"
    visit.close()


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (".voice[data-group=group-1]:nth-of-type(1) .solo", [CLICKS["drums"]]),
        (".voice[data-group=group-1]:nth-of-type(1) .mute", [CLICKS["bass"]]),
        ("input[value=group-0]", [*CLICKS.values()]),
    ],
)
def test_solo_and_mute_and_the_choice_of_a_sample(
    browser: Any, audio: Path, choose: str, expected: list[float]
) -> None:
    visit = Visit(browser, audio, script=RECORDER)
    visit.page.click(choose)
    visit.page.click(".play")
    assert onsets(visit) == pytest.approx(expected, abs=0.02)
    visit.close()


def test_a_voice_that_joins_later_is_in_time(browser: Any, audio: Path) -> None:
    visit = Visit(browser, audio, script=RECORDER)
    visit.page.click("input[value=group-2] >> nth=0")
    visit.page.click(".play")
    visit.page.wait_for_function("starts.length === 2")
    visit.page.click("input[value=group-1]")
    heard = onsets(visit)
    starts = visit.page.evaluate("starts")
    origins = [start["when"] - start["offset"] for start in starts]
    assert len(origins) == 4
    assert np.ptp(origins) < 1e-6
    for second in heard:  # a click may be over before the voice joins
        assert min(abs(second - click) for click in CLICKS.values()) < 0.02
    visit.close()


def test_the_keyboard_plays_and_moves_and_a_click_seeks(browser: Any, audio: Path) -> None:
    visit = Visit(browser, audio, script=RECORDER)
    page, label = visit.page, ".play"
    page.keyboard.press("Space")
    page.wait_for_function("starts.length > 0")
    assert page.inner_text(label) == "Pause"
    page.keyboard.press("Space")
    assert page.inner_text(label) == "Play"
    before = float(page.input_value(".seek"))
    page.keyboard.press("ArrowRight")
    assert float(page.input_value(".seek")) == pytest.approx(before + 5)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(".time") == "0:00.0 / 0:20.0"
    box = page.locator(".strip").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert page.inner_text(".time").startswith("0:10.0")
    assert page.inner_text(".now >> nth=0") == ""
    assert "–" in page.inner_text(".now >> nth=1")  # the second without a value
    page.focus(".seek")
    page.keyboard.press("ArrowRight")
    assert page.input_value(".seek") == "10.01"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.name")
    assert focused == "group"
    visit.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_audio_page_is_quiet_narrow_and_accessible(browser: Any, audio: Path, scheme: str) -> None:
    for width in WIDTHS:
        visit = Visit(browser, audio, width, scheme)
        assert visit.overflow() <= 0
        if width == WIDTHS[-1]:
            visit.page.click("summary >> nth=0")
            assert visit.violations() == []
        visit.check_quiet()
        visit.close()


@pytest.mark.parametrize("name", ["digits", "photo"])
def test_pages_of_images(browser: Any, images: dict[str, Path], name: str) -> None:
    for width in WIDTHS:
        visit = Visit(browser, images[name], width)
        visit.page.fill("#zoom", "6")
        assert visit.overflow() <= 0
        if width == WIDTHS[0]:
            assert visit.violations() == []
        visit.check_quiet()
        visit.close()


def test_images_are_zoomed_and_colors_compared(browser: Any, images: dict[str, Path]) -> None:
    visit = Visit(browser, images["digits"])
    width = "document.querySelector('.scroll img').getBoundingClientRect().width"
    assert visit.page.evaluate(width) == pytest.approx(5 * 28, abs=3)
    visit.page.fill("#zoom", "10")
    assert visit.page.evaluate(width) == pytest.approx(10 * 28, abs=3)
    visit.close()
    visit = Visit(browser, images["photo"])
    page, shown = visit.page, "document.querySelector('.after').src"
    first = page.evaluate(shown)
    page.focus(".samples input >> nth=0")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".chosen") == "Sample 2"
    assert page.evaluate(shown) != first
    page.fill(".split", "25")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.after')).clipPath")
        == "inset(0px 0px 0px 25%)"
    )
    visit.close()
