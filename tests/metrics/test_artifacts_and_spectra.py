"""SI-SAR, the multi-resolution STFT distance and the energy at silence, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sepcli.metrics.audio import RESOLUTIONS, energy_at_silence, mrstft, si_sar, si_sdr

RNG = np.random.default_rng(0)


def orthogonal(count: int, length: int = 4000) -> np.ndarray:
    """Signals (count, length, 1) of norm 1, orthogonal to each other."""
    return np.linalg.qr(RNG.standard_normal((length, count)))[0].T[:, :, None]


def test_interference_is_no_artifact() -> None:
    a, b, noise = orthogonal(3)
    sources = np.stack([a, b])
    estimates = np.stack([2 * a + 0.5 * b + 0.02 * noise, b + 0.1 * noise])
    np.testing.assert_allclose(si_sar(sources, estimates), [40.0, 20.0], atol=1e-9)
    assert si_sdr(a, estimates[0]) == pytest.approx(10 * np.log10(4 / (0.25 + 0.0004)))


def test_of_correlated_sources_all_of_their_span_is_left_out() -> None:
    a, c, noise = orthogonal(3)
    sources = np.stack([a, a + c])
    estimates = np.stack([3 * a - c + 0.1 * noise, sources[1]])
    target = 3.0**2  # of ⟨ŝ, s⟩² / ‖s‖²
    assert si_sar(sources, estimates)[0] == pytest.approx(10 * np.log10(target / 0.01))
    assert si_sar(sources, estimates)[1] > 200


def test_silence_has_no_artifacts() -> None:
    a, b = orthogonal(2)
    values = si_sar(np.stack([a, 0 * b]), np.stack([0 * a, b]))
    assert np.isnan(values).all()
    with pytest.raises(ValueError, match="T, C"):
        si_sar(a[:, 0], a[:, 0])


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_gain_has_its_distance_in_closed_form(factor: float) -> None:
    signal = RNG.standard_normal((3000, 2))
    expected = abs(1 - factor) + abs(np.log(factor))
    assert mrstft(signal, factor * signal) == pytest.approx(expected, rel=1e-3)
    assert mrstft(signal, signal) == 0
    assert mrstft(signal, -signal) == pytest.approx(0, abs=1e-12)  # phases do not count


def test_it_is_that_of_scipy_s_transform() -> None:
    from scipy.signal import ShortTimeFFT

    s, s_hat = RNG.standard_normal((2, 6000))
    values = []
    for size, hop, length in RESOLUTIONS:
        transform = ShortTimeFFT(np.pad(np.hanning(length), (size - length) // 2), hop, fs=1)
        count = len(s) // hop + 1
        a, b = (np.abs(transform.stft(x, p0=0, p1=count)) for x in (s, s_hat))
        values.append(np.linalg.norm(a - b) / np.linalg.norm(a) + np.abs(np.log(a / b)).mean())
    assert mrstft(s[:, None], s_hat[:, None]) == pytest.approx(np.mean(values), rel=1e-9)


def test_a_silent_reference_has_no_distance() -> None:
    signal = RNG.standard_normal((500, 1))
    assert np.isnan(mrstft(0 * signal, signal))
    assert np.isfinite(mrstft(signal, 0 * signal))
    with pytest.raises(ValueError, match="T, C"):
        mrstft(signal[:, 0], signal[:, 0])


def test_energy_at_silence_is_of_windows_in_which_the_reference_is_silent() -> None:
    mixture = RNG.standard_normal((400, 2))
    first = mixture.copy()
    first[:100] = 1e-4 * mixture[:100]  # 80 dB below
    references = np.stack([first, mixture - first])
    values = energy_at_silence(references, np.stack([0.1 * mixture, 0 * mixture]), mixture, 100)
    np.testing.assert_allclose(values, [[-20, *[np.nan] * 3], [np.nan, *[-120] * 3]])
    assert np.isnan(energy_at_silence(0 * references, references, 0 * mixture, 100)).all()
    assert energy_at_silence(references, references, mixture, 1000).shape == (2, 1)
    with pytest.raises(ValueError, match="need"):
        energy_at_silence(references, references, mixture[:10], 100)
