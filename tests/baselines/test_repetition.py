"""REPET, REPET-SIM and FT2D: what repeats is parted from what comes once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_drums_bass import RATE, pattern, phrase, sdr

from sepcli.baselines.ft2d import ft2d
from sepcli.baselines.masks import frame_rate
from sepcli.baselines.repet import beat_spectrum, repet, repet_sim


@pytest.mark.parametrize(("method", "least"), [(repet, 10), (repet_sim, 6), (ft2d, 5)])
def test_a_pattern_and_a_phrase(method: object, least: float) -> None:
    stems = method(pattern() + phrase(), RATE)  # type: ignore[operator]
    assert sdr(phrase(), stems[0]) > least
    assert sdr(pattern(), stems[1]) > least


def test_the_beat_spectrum_peaks_at_the_period() -> None:
    frames = np.zeros((4, 120))
    frames[0, ::12] = 1
    frames[1, 3::12] = 0.5
    beats = beat_spectrum(frames)
    assert int(np.argmax(beats[5:40])) + 5 in (12, 24, 36)
    assert beats[12] > 5 * beats[11]


def test_only_repetition_is_background() -> None:
    stems = repet(pattern(), RATE)
    assert sdr(pattern(), stems[1]) > 15


def test_too_short_to_repeat_is_shared_equally() -> None:
    short = phrase()[:, : round(0.5 * RATE)] + pattern()[:, : round(0.5 * RATE)]
    stems = repet(short, RATE)
    torch.testing.assert_close(stems[0], stems[1], atol=1e-6, rtol=0)


def test_frames_per_second() -> None:
    assert frame_rate(22050) == pytest.approx(22050 / 512)
    assert frame_rate(44100) == pytest.approx(44100 / 1024)
