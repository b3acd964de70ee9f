"""The rows Average and oracle mask: closed forms and laws."""

from __future__ import annotations

import torch

from sepcli.evaluation.baselines import average, oracle_mask

RATE = 8000


def _sources(k: int = 2, c: int = 1, t: int = 4000) -> torch.Tensor:
    return torch.randn(k, c, t, generator=torch.Generator().manual_seed(0))


def test_average_shares_the_mixture_equally() -> None:
    mixture = torch.ones(1, 10)
    torch.testing.assert_close(
        average(mixture, (0.5, 0.25)), torch.tensor([1.0, 2.0])[:, None, None].expand(2, 1, 10)
    )
    for k in (2, 3, 5):
        weights = tuple(0.1 * (i + 1) for i in range(k))
        shares = torch.tensor(weights)[:, None, None] * average(mixture, weights)
        torch.testing.assert_close(shares.sum(0), mixture)


def test_oracle_shares_sum_to_the_mixture() -> None:
    x, weights = _sources(3, 2), (0.5, 0.3, 0.2)
    alpha = torch.tensor(weights)[:, None, None]
    mixture = (alpha * x).sum(0)
    estimates = oracle_mask(mixture, x, weights, RATE)
    assert estimates.shape == x.shape
    torch.testing.assert_close((alpha * estimates).sum(0), mixture, atol=1e-5, rtol=0)


def test_oracle_is_exact_for_sources_in_separate_bands() -> None:
    t = torch.arange(RATE) / RATE
    x = torch.stack([torch.sin(2 * torch.pi * f * t) for f in (250.0, 2000.0)])[:, None] * torch.hann_window(
        RATE
    )
    estimates = oracle_mask(x.mean(0), x, (0.5, 0.5), RATE)
    torch.testing.assert_close(estimates, x, atol=1e-3, rtol=0)


def test_oracle_of_a_long_track_is_that_of_the_whole_at_once() -> None:
    x, weights, n_fft = _sources(2, 2, 170_001), (0.5, 0.3), 512
    x = x * torch.linspace(0.1, 2.0, 170_001)
    alpha = torch.tensor(weights)[:, None, None]
    mixture = (alpha * x).sum(0)

    def stft(signal: torch.Tensor) -> torch.Tensor:
        window = torch.hann_window(n_fft)
        words = {"window": window, "pad_mode": "constant", "return_complex": True}
        return torch.stft(signal, n_fft, n_fft // 4, **words)

    powers = torch.stack([stft(part).abs().square() for part in alpha * x])
    for k, found in enumerate(oracle_mask(mixture, x, weights, 5500)):
        masked = stft(mixture) * powers[k] / powers.sum(0)
        whole = torch.istft(masked, n_fft, n_fft // 4, window=torch.hann_window(n_fft), length=170_001)
        torch.testing.assert_close(weights[k] * found, whole, atol=2e-6, rtol=1e-4)


def test_oracle_of_silence_and_of_short_signals() -> None:
    silent = oracle_mask(torch.zeros(1, 4000), torch.zeros(2, 1, 4000), (0.5, 0.5), RATE)
    assert not silent.any()
    short = _sources(t=100)
    assert oracle_mask(short.mean(0), short, (0.5, 0.5), RATE).shape == short.shape
