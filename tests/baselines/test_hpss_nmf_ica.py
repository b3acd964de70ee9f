"""HPSS and the sorting of NMF's and ICA's components: sustained against struck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_drums_bass import RATE, hits, sdr, tone

from sepcli.baselines.hpss import hpss, percussive_mask
from sepcli.baselines.ica import ica
from sepcli.baselines.nmf import factorize, nmf

HITS = hits([0.25, 0.8, 1.3, 1.9, 2.4])


@pytest.mark.parametrize(("method", "drums", "bass"), [(hpss, 8, 15), (nmf, 8, 15)])
def test_a_tone_and_clicks(method: object, drums: float, bass: float) -> None:
    stems = method(tone() + HITS, RATE)  # type: ignore[operator]
    assert sdr(HITS, stems[0]) > drums
    assert sdr(tone(), stems[1]) > bass


def test_lines_across_time_and_frequency() -> None:
    magnitude = np.zeros((60, 60))
    magnitude[20], magnitude[:, 40] = 1, 1
    mask = percussive_mask(magnitude)
    assert (np.delete(mask[:, 40], 20) == 1).all()
    assert (np.delete(mask[20], 40) == 0).all()


def test_ica_parts_a_low_tone_from_a_high_one() -> None:
    low, high = tone(frequency=200.0), tone(frequency=2000.0)
    stems = ica(low + high, RATE)
    assert sdr(high, stems[0]) > 15
    assert sdr(low, stems[1]) > 15


def test_nmf_finds_the_factors_of_a_product() -> None:
    rng = np.random.default_rng(0)
    product = np.outer(rng.uniform(0.5, 1, 30), rng.uniform(0.5, 1, 20))
    spectra, gains = factorize(product, 1, 50)
    np.testing.assert_allclose(spectra @ gains, product / product.max(), rtol=1e-3)


def test_the_tone_is_bass_even_when_it_is_alone() -> None:
    stems = hpss(tone(), RATE)
    assert sdr(tone(), stems[1]) > 25
    assert torch.linalg.vector_norm(stems[0]) < 0.1 * torch.linalg.vector_norm(stems[1])
