"""Training on excerpts of songs: sampled mixtures, the loss, and a run on a miniature of MUSDB18."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_songs import make_musdb
from train_request import run

from sepcli.catalog import resolve
from sepcli.datasets.stems import StemBank, concatenate
from sepcli.errors import InputError, PriorError, UsageError
from sepcli.priors.audio.load_denoisers import load_mdct_denoiser
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.recordings import REFERENCE
from sepcli.priors.audio.song_task import GAINS, PRESENT, SPECTRUM, SongTask, band_gains
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.training.task import LoopSettings

BINS, FRAMES = 32, 16
TINY = SpectralConfig(sample_rate=8000, bins=BINS, width=8, blocks=1, embedding=8, band_std=(0.1,) * BINS)


def noise_bank(levels: tuple[float, ...] = (0.1, 0.3, 0.05)) -> StemBank:
    """Stems of white noise of two songs, each source at a level of its own."""
    rng = np.random.default_rng(0)
    sources = [
        [
            (song, (32768 * level * rng.standard_normal(9000)).clip(-32768, 32767).astype(np.int16))
            for song in (0, 1)
        ]
        for level in levels
    ]
    return concatenate(("drums", "bass", "other"), 8000, sources)


def task(batch: int = 64, equalization: float = 0.0) -> SongTask:
    torch.manual_seed(0)
    prior, bank = SpectralPrior(TINY), noise_bank()
    return SongTask(prior, prior, bank, bank, batch, FRAMES, equalization, 64)


def test_equalization_is_interpolated_in_decibels() -> None:
    flat = band_gains(torch.full((2, 3, 8), 6.0), BINS)
    torch.testing.assert_close(flat, torch.full((2, 3, BINS), 10**0.3))
    slope = band_gains(torch.linspace(-7, 7, 8)[None, None], BINS)[0, 0]
    octaves = torch.log2(torch.arange(1, BINS + 1).float())
    torch.testing.assert_close(20 * slope.log10(), 14 * octaves / octaves[-1] - 7, atol=1e-4, rtol=0)


def test_stems_are_absent_at_times_but_never_the_source() -> None:
    waves, gains, levels, sigma, seeds = task(400).sample(np.random.default_rng(1))
    assert waves.shape == (400, 3, BINS * FRAMES)
    assert gains.shape == (400, 3, BINS)
    assert {len(rows) for rows in (levels, sigma, seeds)} == {400}
    absent = (waves == 0).all(dim=-1).double().mean(dim=0)
    assert absent[0] < 0.07  # a few are silent, see Gains
    assert 0.1 < absent[1] < 0.25
    assert 0.1 < absent[2] < 0.25


def test_the_loss_is_minus_the_signal_to_distortion_ratio_of_mixtures_at_their_level() -> None:
    """The untrained network is Wiener's filter of bands of 0.1: computed here from the mixture."""
    subject = task()
    waves, gains, _, _, seeds = subject.sample(np.random.default_rng(2))
    waves[:, 0] = 0.1 * torch.randn(len(waves), BINS * FRAMES)
    sigma = torch.full((len(waves),), 1e-3)
    levels = torch.full((len(waves),), REFERENCE)
    _, figures = subject.loss(waves, gains, levels, sigma, seeds)
    mixtures = waves.sum(dim=1)
    expected = (mixtures - waves[:, 0]).square().mean(dim=1) / waves[:, 0].square().mean(dim=1)
    floor = 1e-3 * mixtures.square().mean(dim=1) / waves[:, 0].square().mean(dim=1)
    decibels = 10 * ((expected + floor) / (1 + floor)).log10().mean()
    assert figures["error"] == pytest.approx(float(decibels), abs=0.1)


def test_equalization_changes_training_only() -> None:
    plain, equalized = task(), task(equalization=6.0)
    assert plain.validate() == equalized.validate()
    assert float(equalized.sample(np.random.default_rng(0))[1].std()) > 0.1
    assert plain.sample(np.random.default_rng(0))[1].unique().tolist() == [1.0]


def request(data: Path, out: Path, **changes: object) -> dict[str, object]:
    loop = LoopSettings(seconds=None, steps=2, validations=1)
    fields = {"family": "denoiser", "preset": "tiny", "sources": ("drums",), "batch": 2, "tokens": 16}
    fields |= {"device": torch.device("cpu"), "cache": None, "loop": loop, "validated": 2}
    return {**fields, "data": data, "out": out, **changes}


def test_a_prior_is_trained_on_songs(tmp_path: Path) -> None:
    data = make_musdb(tmp_path / "musdb")
    run(request(data, tmp_path / "first"))
    songs = {"songs": True, "interference": ("bass", "other"), "init": str(tmp_path / "first")}
    run(request(data, tmp_path / "p", **songs))
    config = load_mdct_denoiser(tmp_path / "p").config
    assert config.interference_trained
    assert (config.p_mean, config.p_std) == (SPECTRUM["p_mean"], SPECTRUM["p_std"])
    training = resolve.find(str(tmp_path / "p"))[0].parts["denoiser"].training
    assert np.isfinite(training["validation"]["error"])
    assert (training["gains_db"], training["interference_share"]) == ([GAINS.low, GAINS.high], PRESENT)
    for lacking in ({"interference": ()}, {"low_bands": True}):
        with pytest.raises(UsageError, match="songs"):
            run(request(data, tmp_path / "q", **{**songs, **lacking}))
    recordings = tmp_path / "musdb" / "train" / "A - One"
    with pytest.raises(InputError):
        run(request(recordings, tmp_path / "q", **{**songs, "interference": (str(recordings),)}))
    assert not (tmp_path / "q").exists()


def test_a_prior_of_a_chosen_width_is_trained_on_songs_from_nothing(tmp_path: Path) -> None:
    data, songs = make_musdb(tmp_path / "musdb"), {"songs": True, "interference": ("bass", "other")}
    run(request(data, tmp_path / "first", **songs, width=24))
    config = load_mdct_denoiser(tmp_path / "first").config
    assert (config.width, config.low, config.p_mean) == (24, 0, SPECTRUM["p_mean"])
    again = {**songs, "init": str(tmp_path / "first")}
    run(request(data, tmp_path / "second", **again, width=24))
    with pytest.raises(PriorError, match="another network"):
        run(request(data, tmp_path / "third", **again))
