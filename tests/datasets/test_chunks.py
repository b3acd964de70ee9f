"""Random chunks of recordings: gains, silence, loudness."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.song_banks import open_songs
from sepcli.datasets.stems import concatenate


def test_chunks_come_at_random_gains(tiny_slakh: Path) -> None:
    bank = open_songs(tiny_slakh, "train", ("drums", "bass"), 22050, tiny_slakh / "cache")
    chunks = draw_chunks(bank, np.random.default_rng(0), 200, 512, Gains(low=-6, high=0, silent=0.25))
    assert chunks.shape == (200, 2, 512)
    assert chunks.dtype == np.float32
    peaks = np.abs(chunks[:, 1]).max(-1)  # bass: sines with a peak of 0.9
    assert 0.1 < (peaks == 0).mean() < 0.4
    assert 0.9 * 10 ** (-6 / 20) - 0.02 < peaks[peaks > 0].min() < 0.7
    assert peaks.max() <= 0.91
    plain = draw_chunks(bank, np.random.default_rng(0), 50, 512, None)
    assert np.sqrt((plain**2).mean(-1)).min() > Gains().min_rms


def test_related_chunks_are_of_one_song_at_one_time() -> None:
    ramp = np.arange(1000, 1100, dtype=np.int16)
    bank = concatenate(("a", "b"), 10, [[(0, ramp)], [(0, ramp)]])
    chunks = draw_chunks(bank, np.random.default_rng(0), 20, 10, Gains(low=0, high=0, silent=0), related=True)
    np.testing.assert_array_equal(chunks[:, 0], chunks[:, 1])
