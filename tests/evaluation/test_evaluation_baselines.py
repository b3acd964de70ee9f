"""The rows Average and oracle mask: closed forms and laws."""

from __future__ import annotations

import numpy as np
import torch

from sepcli.evaluation.baselines import average, oracle_mask
from sepcli.metrics.tracks import Signals

RATE = 8000


def _sources(k: int = 2, c: int = 1, t: int = 4000) -> Signals:
    return np.random.default_rng(0).standard_normal((k, c, t)).astype(np.float32)


def _column(values: tuple[float, ...]) -> Signals:
    return np.array(values, np.float32)[:, None, None]


def test_average_shares_the_mixture_equally() -> None:
    mixture = np.ones((1, 10), np.float32)
    shares = average(mixture, (0.5, 0.25))
    assert shares.dtype == np.float32
    np.testing.assert_array_equal(shares, np.broadcast_to(_column((1.0, 2.0)), (2, 1, 10)))
    for k in (2, 3, 5):
        weights = tuple(0.1 * (i + 1) for i in range(k))
        np.testing.assert_allclose((_column(weights) * average(mixture, weights)).sum(0), mixture, rtol=1e-6)


def test_oracle_shares_sum_to_the_mixture() -> None:
    x, weights = _sources(3, 2), (0.5, 0.3, 0.2)
    alpha = _column(weights)
    mixture = (alpha * x).sum(0)
    estimates = oracle_mask(mixture, x, weights, RATE)
    assert (estimates.shape, estimates.dtype) == (x.shape, np.float32)
    np.testing.assert_allclose((alpha * estimates).sum(0), mixture, atol=1e-5, rtol=0)


def test_oracle_is_exact_for_sources_in_separate_bands() -> None:
    t = np.arange(RATE) / RATE
    tones = np.stack([np.sin(2 * np.pi * f * t) for f in (250.0, 2000.0)])[:, None] * np.hanning(RATE)
    x = tones.astype(np.float32)
    estimates = oracle_mask(x.mean(0), x, (0.5, 0.5), RATE)
    np.testing.assert_allclose(estimates, x, atol=1e-3, rtol=0)


def test_oracle_of_a_long_track_is_that_of_the_whole_at_once() -> None:
    x, weights, n_fft = _sources(2, 2, 170_001), (0.5, 0.3), 512
    x = x * np.linspace(0.1, 2.0, 170_001, dtype=np.float32)
    alpha = _column(weights)
    mixture = (alpha * x).sum(0)

    def stft(signal: Signals) -> torch.Tensor:
        window = torch.hann_window(n_fft)
        words = {"window": window, "pad_mode": "constant", "return_complex": True}
        return torch.stft(torch.from_numpy(signal), n_fft, n_fft // 4, **words)

    powers = torch.stack([stft(part).abs().square() for part in alpha * x])
    for k, found in enumerate(oracle_mask(mixture, x, weights, 5500)):
        masked = stft(mixture) * powers[k] / powers.sum(0)
        whole = torch.istft(masked, n_fft, n_fft // 4, window=torch.hann_window(n_fft), length=170_001)
        np.testing.assert_allclose(weights[k] * found, whole.numpy(), atol=2e-6, rtol=1e-4)


def test_oracle_of_silence_and_of_short_signals() -> None:
    silence = np.zeros((2, 1, 4000), np.float32)
    assert not oracle_mask(silence[0], silence, (0.5, 0.5), RATE).any()
    short = _sources(t=100)
    assert oracle_mask(short.mean(0), short, (0.5, 0.5), RATE).shape == short.shape
