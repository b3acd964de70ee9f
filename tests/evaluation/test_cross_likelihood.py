"""Cross-likelihood: verdicts, closed forms of flows and of the bound, items, and what is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from tiny_songs import HERTZ, RATE, make_musdb, tone
from tiny_sound import make_sound
from tiny_waves import make_flow

from sepcli.catalog import card as cards
from sepcli.datasets.waves import ToyWaves
from sepcli.errors import InputError, PriorError, SepError, UsageError
from sepcli.evaluation.cross_likelihood import CrossLikelihood, cross_likelihood
from sepcli.evaluation.density_evaluators import LENGTH, folder_items, open_evaluators, song_items, toy_items
from sepcli.evaluation.plots import heat_map, save_figure
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.likelihood import Likelihood
from sepcli.posterior.elbo import log_density_bound
from sepcli.priors.audio.engine import AUDIBLE
from sepcli.priors.audio.load_denoisers import load_mdct_denoiser
from sepcli.priors.audio.load_flows import load_wave_flow
from sepcli.signal.mdct import mdct

CPU = torch.device("cpu")


def table(*means: tuple[float, ...], spread: float = 0.1) -> CrossLikelihood:
    rng = np.random.default_rng(0)
    values = np.array(means)[..., None] + spread * rng.standard_normal((len(means), len(means), 200))
    names = tuple("abc"[: len(means)])
    return CrossLikelihood(names, names, values, {"seed": 0})


def test_a_clear_diagonal_discriminates() -> None:
    found = table((3.0, 0.0, 1.0), (0.0, 2.0, 0.0), (2.5, -900.0, 2.0))
    assert found.discriminates
    assert [v.against for v in found.verdicts()] == ["c", "a", "a"]
    assert [v.margin for v in found.verdicts()] == pytest.approx([0.5, 2.0, 1.0], abs=0.03)
    low, high = found.verdicts()[0].ci95
    assert low < 0.5 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.1 * 2**0.5 / 200**0.5, rel=0.2)
    assert re.search(r"\bc\b", found.sentence())
    document = json.loads(json.dumps(found.as_dict()))
    assert document["discriminates"] is True
    assert (document["n"], document["margins"][0]["against"]) == (200, "c")


def test_a_column_that_another_prior_wins_does_not() -> None:
    found = table((1.0, 3.0), (0.0, 2.0))
    assert not found.discriminates
    assert [v.wins for v in found.verdicts()] == [True, False]
    assert re.search(r"\bb\b", found.sentence())
    assert found.sentence() != table((3.0, 0.0), (0.0, 2.0)).sentence()


def test_a_single_item_has_no_interval() -> None:
    values = np.array([[3.0, 0.0], [0.0, 2.0]])[..., None]
    found = CrossLikelihood(("a", "b"), ("a", "b"), values, {"seed": 0})
    assert "nan" not in found.sentence()
    assert "%" not in found.sentence()
    assert not found.discriminates


def test_nor_does_a_diagonal_that_wins_by_chance() -> None:
    found = table((1.0, 0.0), (0.998, 1.0), spread=1.0)
    chance = next(v for v in found.verdicts() if v.source == "a")
    assert not chance.sure
    assert not found.discriminates


def test_conditioned_flows_are_told_the_mel_frames_of_the_clean_item(tmp_path: Path) -> None:
    words = [make_flow(tmp_path / name, name, mels=2) for name in "ab"]
    rng = torch.Generator().manual_seed(0)
    for folder in map(Path, words):
        flow = load_wave_flow(folder)
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng)
        save_file(flow.state_dict(), folder / "flow" / "model.safetensors")
        cards.write(cards.with_files(cards.read(folder), folder), folder)
    evaluator, flow = open_evaluators(words, 0.3, CPU)[1], load_wave_flow(Path(words[1]))
    assert evaluator.kind["likelihood"] == "log p given 2 mel bands"
    signal, eps = (np.random.default_rng(n).standard_normal(600, np.float32) for n in range(2))
    clean, noisy = 0.01 * signal, 0.01 * signal + float(flow.noise_at(torch.tensor(0.3))) * eps
    x, y = (torch.from_numpy(one[:512])[None, None].float() for one in (clean, noisy))
    expected = float(flow.log_prob(y[:, :, None], 0.3, flow.mel_frames(x))) / 512
    assert evaluator(clean, eps) == pytest.approx(expected, rel=1e-5)
    assert abs(float(flow.log_prob(y[:, :, None], 0.3, flow.mel_frames(y))) / 512 - expected) > 1e-3


def test_flows_say_log_p_per_sample_under_noise(tmp_path: Path) -> None:
    stds, sigma = (0.5, 0.25), 0.3
    words = [make_flow(tmp_path / str(n), str(n), std=std) for n, std in enumerate(stds)]
    items = [0.2 * np.ones((2, 5001), np.float32) for _ in range(3)]
    task = Likelihood(open_evaluators(words, sigma, CPU), lambda: iter(items), 3, "items")
    found = cross_likelihood(run(task), {"x": 1})
    energy = 0.2**2 + sigma**2 + 1e-6
    expected = [-0.5 * energy / std**2 - math.log(std) - 0.5 * math.log(2 * math.pi) for std in stds]
    np.testing.assert_allclose(found.means, np.repeat(np.array(expected)[:, None], 2, 1), atol=0.03)
    assert found.values.std(axis=2).min() > 0  # every item meets noise of its own, the same for all priors
    gaps = (found.values[0] - found.values[1]).ravel()
    energies = (gaps + math.log(2)) / (0.5 / 0.25**2 - 0.5 / 0.5**2)
    np.testing.assert_allclose(found.values[0].ravel(), -2 * energies - math.log(0.5) - 0.9189385, rtol=1e-3)
    assert (found.sources, found.priors, found.how["x"]) == (("0", "1"), ("0", "1"), 1)


def test_denoisers_say_a_bound(tmp_path: Path) -> None:
    words = [make_sound(tmp_path / name, name) for name in ("kit", "bass guitar")]
    evaluators = open_evaluators(words, 0.0, CPU)
    signal = 0.05 * np.random.default_rng(0).standard_normal(512).astype(np.float32)
    scaled = torch.from_numpy(signal * np.float32(0.1 / np.sqrt(np.square(signal).mean())))
    for evaluator, word in zip(evaluators, words, strict=True):
        network = load_mdct_denoiser(Path(word))
        x = mdct(scaled[None, None], 32)[:, None]
        bound = log_density_bound(network, x, sigma_max=AUDIBLE[0], sigma_min=AUDIBLE[1])
        assert evaluator(signal, 0 * signal) == pytest.approx(float(bound) / 512, rel=0.02)
    coarse = open_evaluators(words, 0.5, CPU)[0]
    assert coarse(signal, 0 * signal) > evaluators[0](signal, 0 * signal)


def test_items_are_of_toys_or_of_folders(tmp_path: Path) -> None:
    items, count = toy_items(("square", "sine"), 3, 14700, 5)
    found = list(items)
    assert (count, len(found)) == (3, 3)
    assert np.array_equal(found[2], ToyWaves(("square", "sine"), "test", 5).item(2, LENGTH))
    for name, hertz in (("low", 100), ("high", 400)):
        (tmp_path / name).mkdir()
        for n in range(3):
            tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(3000) / 8000 + 0.3)
            soundfile.write(tmp_path / name / f"{n}.wav", tone, 8000, subtype="FLOAT")
    items, count = folder_items(tmp_path, ("low", "high"), 2, 4000)
    found = list(items)
    assert (count, len(found), found[0].shape) == (2, 2, (2, 1500))
    crossings = [int((np.diff(np.sign(row[100:-100])) != 0).sum()) for row in found[0]]
    assert crossings == pytest.approx([2 * 100 * 1300 / 4000, 2 * 400 * 1300 / 4000], abs=3)


def test_items_of_songs_are_segments_that_are_not_quiet(tmp_path: Path) -> None:
    data, names = make_musdb(tmp_path), ("bass", "vocals")
    long_pause = np.concatenate([tone("bass"), np.zeros(12 * RATE)])
    soundfile.write(data / "test" / "C - Three" / "bass.wav", long_pause, RATE)
    found = np.stack(list(song_items(data, "test", names, 6, RATE, 0)))
    assert found.shape == (6, 2, LENGTH)
    assert np.sqrt(np.square(found).mean(axis=2)).min() > 0.02
    for k, name in enumerate(names):
        assert {int(np.abs(np.fft.rfft(x)).argmax() * RATE / LENGTH + 0.5) for x in found[:, k]} == {
            HERTZ[name]
        }
    np.testing.assert_array_equal(list(song_items(data, "test", names, 2, RATE, 0)), found[:2])
    assert not np.array_equal(list(song_items(data, "test", names, 6, RATE, 1)), found)
    assert len(list(song_items(data, "validation", names, 3, RATE, 0))) == 3


def test_what_is_refused(tmp_path: Path, tiny_images: Path) -> None:
    first = make_flow(tmp_path / "a", "a")
    cases: list[tuple[list[str], float, type[SepError], str]] = [
        ([first], 0.0, UsageError, "prior"),
        ([first, first], 0.0, UsageError, "source"),
        ([first, make_flow(tmp_path / "capital", "A")], 0.0, UsageError, "capital"),
        ([first, make_flow(tmp_path / "b", "b", noise=0.1)], 0.0, UsageError, "noise"),
        ([first, make_flow(tmp_path / "c", "c", sample_rate=8000)], 0.0, UsageError, "sample_rate"),
        ([first, make_sound(tmp_path / "d", "d")], 0.0, UsageError, "likelihood"),
        ([first, make_flow(tmp_path / "m", "m", mels=2)], 0.0, UsageError, "likelihood"),
        ([first, make_flow(tmp_path / "e", "e", stream={})], 0.0, UsageError, "level"),
        ([first, make_flow(tmp_path / "f", "f", sigma_max=0.0)], 0.2, UsageError, r"0\.001"),
        ([first, str(tiny_images)], 0.0, PriorError, "score"),
    ]
    for words, noise, kind, message in cases:
        with pytest.raises(kind, match=message):
            open_evaluators(words, noise, CPU)
    with pytest.raises(UsageError, match="14700"):
        toy_items(("sine",), 1, 8000, 0)
    with pytest.raises(InputError):
        folder_items(tmp_path / "nowhere", ("a",), 1, 8000)


def test_the_heat_map_shows_every_number(tmp_path: Path) -> None:
    found = table((3.0, -900.0), (0.0, 2.0), spread=0.0)
    axes = heat_map(found).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "-900", "0", "2"]
    shades = np.asarray(axes.images[0].get_array())
    assert shades[0, 0] == shades[1, 1] == shades.max()
    assert shades[0, 1] == shades.min()
    save_figure(heat_map(found), tmp_path / "heat.png")
    assert (tmp_path / "heat.png").read_bytes()[:4] == b"\x89PNG"
