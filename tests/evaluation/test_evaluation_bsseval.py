"""ISR, SIR and SAR: those of museval, NaN where it has none."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest

from sepcli.errors import InputError
from sepcli.evaluation.score import score_track
from sepcli.metrics import find
from sepcli.metrics.bsseval import bss_eval

RATE = 500
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="museval needs ffmpeg on PATH")


def _material(t: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(t)
    reference = rng.standard_normal((2, t, 1))
    return reference, reference + 0.3 * rng.standard_normal((2, t, 1)) + 0.2 * reference[::-1]


@needs_ffmpeg
@pytest.mark.parametrize("t", [3 * RATE + 17, RATE - 100])
def test_values_are_musevals_and_so_are_their_medians(t: int) -> None:
    reference, estimate = _material(t)
    if t > RATE:
        reference[0, RATE : 2 * RATE] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import museval

        sdr, *theirs = museval.evaluate(reference, estimate, win=RATE, hop=RATE)
    ours = bss_eval(reference, estimate, RATE)
    np.testing.assert_allclose(ours, theirs, atol=1e-8, rtol=0)
    assert np.isnan(ours).any() == (t > RATE)
    metrics = [metric.name for metric in find(["usdr", "bsseval", "sdr"])]
    assert metrics == ["usdr", "sdr", "isr", "sir", "sar"]
    mixture = reference.sum(0)
    scores = score_track("a", "ours", ("x", "y"), reference, estimate, mixture, metrics, RATE)  # type: ignore[arg-type]
    for name, values in zip(("sdr", "isr", "sir", "sar"), (sdr, *theirs), strict=True):
        found = [score for score in scores if score.metric == name]
        np.testing.assert_allclose([s.value for s in found], np.nanmedian(values, axis=-1), atol=1e-8)
        assert [s.left_out for s in found] == [int(np.isnan(row).sum()) for row in values]


@needs_ffmpeg
def test_a_source_without_sound_has_no_values() -> None:
    reference, estimate = _material(2 * RATE)
    for silent in (reference, estimate):
        kept, silent[1] = silent[1].copy(), 0.0
        assert bss_eval(reference, estimate, RATE).shape == (3, 2, 2)
        assert np.isnan(bss_eval(reference, estimate, RATE)).all()
        silent[1] = kept
    assert bss_eval(reference[:, :0], estimate[:, :0], RATE).shape == (3, 2, 0)


def test_without_ffmpeg_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="ffmpeg"):
        bss_eval(*_material(RATE), RATE)
