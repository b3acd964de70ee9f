"""Parts of pages by value: clips, spectrograms, waveforms, sizes, and the policy."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import sepcli.pages
from sepcli.pages.audio import (
    HIGHEST,
    LOWEST,
    ROWS,
    Scale,
    bitrate_for,
    encode_mp3,
    scale_of,
    spectrogram,
    spectrum,
    steps,
    waveform,
)
from sepcli.pages.image import EXACT, encode_all, zoom_of
from sepcli.pages.separation import About, Group, Row, Voice, audio_page, image_page

FOLDER = Path(sepcli.pages.__file__).parent
NASTY = "<script>alert(1)</script> & \"'{{ 7 * 7 }}"


def sine(hertz: float, rate: int = 22050, seconds: float = 2.0, channels: int = 2) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def page_of(*names: str, room: int = 10_000_000, seconds: float = 2.0) -> str:
    groups = [
        Group("Mixture", [Voice(names[0], lambda frames: sine(300, seconds=seconds)[:frames])]),
        Group(
            "Stems",
            [Voice(name, lambda frames: sine(300, seconds=seconds)[:frames], (3.0, None)) for name in names],
        ),
    ]
    return audio_page(About(NASTY, NASTY, [NASTY], [(NASTY, NASTY)]), groups, 22050, seconds, room)


def test_our_scripts_have_400_lines_at_most() -> None:
    lines = [len(path.read_text("utf-8").splitlines()) for path in FOLDER.glob("*.js")]
    assert lines
    assert sum(lines) <= 400


def test_the_policy_names_the_style_and_the_script_of_the_page_and_nothing_else() -> None:
    page = page_of("drums")
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.replace("&#39;", "'").split(";"))
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        ((text),) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_names_are_text() -> None:
    page = page_of(NASTY)
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "49" not in re.sub(r'"[^"]*"|<script.*?</script>', "", page, flags=re.S)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (22050, 1), (4000, 1), (96000, 2), (48000, 6)])
def test_a_clip_is_the_signal(rate: int, channels: int) -> None:
    signal = sine(440, rate, channels=channels)
    heard, found = soundfile.read(io.BytesIO(encode_mp3(signal, rate)), always_2d=True)
    assert heard.shape[1] == min(channels, 2 if channels <= 2 else 1)
    assert len(heard) / found == pytest.approx(2.0, abs=0.06)
    power = np.abs(np.fft.rfft(heard[:, 0]))
    assert power.argmax() * found / len(heard) == pytest.approx(440, abs=1)
    assert np.abs(heard[found // 2 : found]).max() == pytest.approx(0.5, abs=0.03)


def test_the_bit_rate_falls_before_a_recording_is_cut() -> None:
    assert bitrate_for(60, 3, 10_000_000) == (128_000, 60)
    assert bitrate_for(240, 9, 24_000_000) == (64_000, 240)
    assert bitrate_for(3600, 10, 24_000_000) == (48_000, 400)


@pytest.mark.parametrize("hertz", [60.0, 440.0, 5000.0])
def test_a_tone_is_in_its_row_of_the_spectrum(hertz: float) -> None:
    power = spectrum(sine(hertz, 44100), 44100)
    edges = np.geomspace(LOWEST, HIGHEST, ROWS + 1)
    expected = ROWS - 1 - (np.searchsorted(edges, hertz) - 1)
    assert abs(int(power.mean(axis=1).argmax()) - expected) <= (8 if hertz < 100 else 1)  # bins of 21 Hz
    signal = sine(hertz, 44100)
    with Image.open(io.BytesIO(spectrogram(power, scale_of(signal, power)))) as image:
        bright = np.asarray(image.convert("L"), float).mean(axis=1)
    assert abs(int(bright.argmax()) - expected) <= (8 if hertz < 100 else 2)


@pytest.mark.parametrize("count", [1, 7, 5000, 300_000])
def test_any_length_can_be_drawn(count: int) -> None:
    signal = np.ones((count, 1), np.float32)
    power = spectrum(signal, 8000)
    assert power.shape[0] == ROWS
    assert power.shape[1] <= 801
    assert np.isfinite(power).all()
    assert waveform(signal, Scale(2.0, 1.0)).startswith("M0 -50L")
    assert spectrogram(np.zeros_like(power), scale_of(0 * signal, 0 * power))


def test_confidence_is_drawn_per_second() -> None:
    path = steps((15.0, None, 40.0), 2.5, 30.0)
    assert path == "M0.0 100V50H400.0V100ZM800.0 100V0H1000.0V100Z"


def test_a_long_recording_is_cut_and_the_page_says_so() -> None:
    page = page_of("drums", "bass", room=30_000, seconds=12.0)
    assert "Only the first 2 of 12 s" in page
    assert 'data-seconds="1.667"' in page
    sounds = re.findall(r'<script type="text/plain" id="clip-\d+">(.*?)</script>', page)
    assert len(sounds) == 3
    assert sum(map(len, sounds)) <= 30_000 * 4 / 3 * 1.2
    assert "Only the first" not in page_of("drums")


def test_small_images_are_exact_and_large_ones_fit() -> None:
    noise = np.random.default_rng(0).random((3, 600, 900), np.float32)
    small = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    exact, large = encode_all([small, noise], 10**7)
    assert (exact.exact, exact.width, large.exact, large.width) == (True, 8, False, EXACT)
    with Image.open(io.BytesIO(base64.b64decode(exact.source.partition(",")[2]))) as image:
        np.testing.assert_array_equal(np.asarray(image), np.rint(255 * small[0]))
    assert zoom_of([exact]) == 8
    assert zoom_of([large]) == 1
    assert sum(len(one.source) for one in encode_all([noise] * 4, 200_000)) <= 200_000


def test_a_page_of_images_says_that_they_are_compressed() -> None:
    row = Row("Sources", [("a", np.zeros((1, 8, 8), np.float32))])
    assert "compressed" not in image_page(About("t", "x."), [row])
    assert "compressed" in image_page(
        About("t", "x."), [Row("S", [("a", np.zeros((1, 8, 999), np.float32))])]
    )
