"""``Separator`` on arrays: layouts, seeds, batches, closed-form posteriors, colorization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fake_engine import FakeEngine
from torch import Tensor

import sepcli
from sepcli.errors import UsageError
from sepcli.separation.arrays import channels_first
from sepcli.separation.from_functions import DenoiserPrior
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.separator import Separator
from sepcli.separation.settings import StreamSettings

MEAN, VARIANCE = 0.4, 0.04


def gaussian(mean: float = MEAN, variance: float = VARIANCE) -> DenoiserPrior:
    """N(mean, variance) for every value: its denoiser and posterior variance are known."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return (variance * x + sigma**2 * mean) / (variance + sigma**2)

    def spread(x: Tensor, sigma: Tensor) -> Tensor:
        return (variance * sigma**2 / (variance + sigma**2)).expand_as(x)

    return sepcli.from_denoiser(denoise, 0.005, 4.0, spread)


class Halves(FakeEngine):
    """Each of two sources is the mixture plus noise of its own seed."""

    names, weights, sample_rate, channels = ("low", "high"), (0.5, 0.5), 8000, 1

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: Any = None) -> Tensor:
        rows = []
        for row in seeds.reshape(*seeds.shape[:2], -1)[..., 0].tolist():
            noise = [
                torch.randn((2, 1, mixture.shape[-1]), generator=torch.Generator().manual_seed(seed))
                for seed in row
            ]
            rows.append(torch.stack(noise))
        return mixture[:, None, None] + 0.01 * torch.stack(rows)


@pytest.mark.parametrize(
    ("shape", "medium", "axis", "first"),
    [
        ((90,), "audio", None, (1, 90)),
        ((90, 2), "audio", None, (2, 90)),
        ((2, 90), "audio", None, (2, 90)),
        ((4, 4), "audio", 1, (4, 4)),
        ((6, 7), "image", None, (1, 6, 7)),
        ((6, 7, 3), "image", None, (3, 6, 7)),
        ((3, 6, 7), "image", None, (3, 6, 7)),
        ((3, 6, 3), "image", 0, (3, 6, 3)),
    ],
)
@pytest.mark.parametrize("kind", ["float32", "float64", "tensor"])
def test_arrays_come_back_as_they_were(
    shape: tuple[int, ...], medium: Any, axis: int | None, first: tuple[int, ...], kind: str
) -> None:
    values = np.random.default_rng(0).random(shape)
    given: Any = torch.from_numpy(values).float() if kind == "tensor" else values.astype(kind)
    array, layout = channels_first(given, medium, axis)
    assert array.shape == first
    back = layout.restore(torch.from_numpy(array))
    assert type(back) is type(given)
    assert back.dtype == given.dtype
    np.testing.assert_array_equal(np.asarray(back), np.asarray(given))


def test_integers_are_divided_by_their_full_scale() -> None:
    array, layout = channels_first(np.array([[0, 255], [51, 102]], np.uint8), "image")
    np.testing.assert_allclose(array[0], [[0, 1], [0.2, 0.4]])
    assert layout.restore(torch.from_numpy(array)).dtype == np.float32
    half, _ = channels_first(np.array([-32768, 16384], np.int16), "audio")
    np.testing.assert_array_equal(half, [[-1.0, 0.5]])


@pytest.mark.parametrize(
    ("signal", "medium", "axis", "argument"),
    [
        (np.zeros((4, 4)), "audio", None, "channel_axis"),
        (np.zeros((3, 5, 3)), "image", None, "channel_axis"),
        (np.zeros((2, 5, 7)), "image", None, "channel_axis"),
        (np.zeros((2, 2, 2)), "audio", None, "signal"),
        (np.zeros(0), "audio", None, "signal"),
        (np.array([np.nan, 0.0]), "audio", None, "signal"),
        (np.array(["a"]), "audio", None, "signal"),
        (np.zeros((5, 2)), "audio", 2, "channel_axis"),
    ],
)
def test_arrays_that_cannot_be_read_name_the_argument(
    signal: Any, medium: Any, axis: int | None, argument: str
) -> None:
    with pytest.raises(sepcli.SepError) as error:
        channels_first(signal, medium, axis)
    assert error.value.argument == argument
    assert isinstance(error.value, ValueError)


def test_a_gaussian_prior_has_its_posterior() -> None:
    """For equal priors and weights a, x_k | m has the mean μ + (m - 2aμ)/(2a) and half the variance."""
    separator = Separator(
        gaussian(),
        weights=(0.5, 0.5),
        sampler="projected",
        settings={"eta": "ancestral", "weigh": 1, "bounded": 0},
    )
    mixture = np.full((24, 24), 0.5)
    result = separator.separate(mixture, samples=24, seed=3)
    assert result.samples.shape == (24, 2, 24, 24)
    expected = MEAN + 0.5 * (0.5 - MEAN) / 0.5
    assert result.mean.mean() == pytest.approx(expected, abs=0.01)
    assert result.samples.var() == pytest.approx(VARIANCE / 2, rel=0.12)
    np.testing.assert_allclose(0.5 * result.samples.sum(1), np.broadcast_to(mixture, (24, 24, 24)), atol=1e-5)
    assert max(result.residual) < 1e-5
    assert result.settings["sampler"] == "projected"
    assert result.settings["settings"]["eta"] == "ancestral"


def test_seeds_repeat_and_a_batch_is_its_items() -> None:
    separator = Separator([gaussian(0.3), gaussian(0.7)], settings={"steps": 6}, sampler="projected")
    images = torch.rand((3, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    together = separator.separate_batch(list(images), seeds=[5, 6, 7], samples=2)
    for image, seed, result in zip(images, (5, 6, 7), together, strict=True):
        alone = separator.separate(image, seed=seed, samples=2, channel_axis=0)
        torch.testing.assert_close(alone.samples, result.samples)
        assert alone.seeds == result.seeds
        assert set(alone.seeds) == set(sample_seeds(seed, 0, 2))
    assert not torch.equal(
        together[0].samples, separator.separate(images[0], seed=6, samples=2, channel_axis=0).samples
    )


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shape", [(12000,), (12000, 2), (2, 12000)])
def test_audio_keeps_layout_length_and_sum(shape: tuple[int, ...], samples: int) -> None:
    mixture = np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32)
    separator = Separator.of(Halves(), stream=StreamSettings(window=0.5, overlap=0.1))
    result = separator.separate(mixture, sample_rate=16000, samples=samples, seed=2)
    assert tuple(result.sources) == ("low", "high")
    assert result["low"].shape == shape
    assert result["low"].dtype == np.float32
    assert result.samples.shape == (samples, 2, *shape)
    np.testing.assert_allclose(result["low"] + result["high"], mixture, atol=1e-6)
    assert len(result.residual) == samples
    assert bool(result.confidence) == (samples > 1)


def test_short_recordings_share_a_call_and_keep_their_seeds() -> None:
    separator = Separator.of(Halves(), stream=StreamSettings(window=3.0, samples=2))
    signals = [torch.from_numpy(np.random.default_rng(n).uniform(-0.5, 0.5, (1, 8000))) for n in range(3)]
    together = separator.separate_batch(signals, seeds=[1, 2, 3], sample_rate=8000)
    for signal, seed, result in zip(signals, (1, 2, 3), together, strict=True):
        alone = separator.separate(signal, sample_rate=8000, seed=seed, channel_axis=0)
        torch.testing.assert_close(alone.samples, result.samples)
        torch.testing.assert_close(alone.raw, result.raw)
    assert not torch.equal(together[0].raw, together[0].samples[0])


@pytest.mark.parametrize("rate", [None, 0, 999, 1_000_001, 44100.5, float("nan"), "44100"])
def test_audio_has_a_sample_rate(rate: Any) -> None:
    """The prior's is no default: a file of another rate would be separated at a wrong pitch."""
    separator, mixture = Separator.of(Halves()), np.ones(100)
    for separate in (
        lambda: separator.separate(mixture, sample_rate=rate),
        lambda: separator.separate_batch([torch.ones(1, 100)], seeds=[0], sample_rate=rate),
    ):
        with pytest.raises(UsageError) as error:
            separate()
        assert error.value.argument == "sample_rate"
        assert rate is not None or str(separator.sample_rate) in error.value.hint
    assert separator.separate(mixture, sample_rate=np.int64(8000)).sample_rate == 8000


@pytest.mark.parametrize("signal", ["song.wav", Path("song.wav"), b"RIFF" * 100, ["a.wav", "b.wav"]])
@pytest.mark.parametrize("medium", ["audio", "image"])
def test_a_path_is_no_mixture(signal: Any, medium: str) -> None:
    separator = Separator.of(Halves()) if medium == "audio" else Separator(gaussian())
    with pytest.raises(UsageError) as error:
        separator.separate(signal)
    assert error.value.argument == "signal"
    assert ("soundfile.read" if medium == "audio" else "PIL.Image.open") in error.value.hint
    assert len(error.value.message) < 100


def test_a_file_is_read_as_the_hint_says(tmp_path: Path) -> None:
    path, sound = tmp_path / "song.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (900, 2))
    soundfile.write(path, sound, 8000, subtype="FLOAT")
    mixture, sample_rate = soundfile.read(path)
    result = Separator.of(Halves()).separate(mixture, sample_rate=sample_rate)
    np.testing.assert_allclose(result["low"] + result["high"], sound, atol=1e-6)


def test_colorization_is_the_same_call() -> None:
    photo = np.random.default_rng(0).random((8, 10))
    separator = Separator(gaussian(), mixing=sepcli.ChannelMean(), sampler="projected", settings={"steps": 5})
    result = separator.separate(photo, samples=2)
    assert tuple(result.sources) == ("colorized",)
    assert result["colorized"].shape == (8, 10, 3)
    np.testing.assert_allclose(result["colorized"].mean(-1), photo, atol=1e-6)
    assert separator.weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    strokes = (np.zeros((3, 8, 10)), np.zeros((8, 10)))
    hinted = separator.separate(photo, hint=strokes)
    assert hinted["colorized"].shape == (8, 10, 3)


def test_a_result_is_saved_once(tmp_path: Any) -> None:
    separator = Separator(gaussian(), names=("a", "b/c"), sampler="projected", settings={"steps": 3})
    result = separator.separate(np.full((6, 6), 0.4))
    assert len(repr(result)) < 100
    assert all(name in repr(result) for name in result.names)
    assert tuple(result) == result.names
    assert len(result) == len(result.names)
    files = result.save(tmp_path / "stems")
    assert [path.name for path in files] == ["a.png", "b_c.png", "run.json"]
    with pytest.raises(sepcli.OutputError):
        result.save(tmp_path / "stems")
    result.save(tmp_path / "stems", overwrite=True)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"weights": (1.0,)}, "priors"),
        ({"weights": (0.5, 0.5), "mixing": sepcli.WeightedSum((0.5, 0.5))}, "weights"),
        ({"names": ("a", "a")}, "names"),
        ({"sampler": "beam"}, "sampler"),
        ({"sampler": "projected", "settings": {"steps": "many"}}, "settings.steps"),
        ({"sampler": "projected", "settings": {"walk": 1}}, "settings.walk"),
        ({"mixing": sepcli.ChannelMean(), "sample_rate": 8000}, "priors"),
    ],
)
def test_what_does_not_fit_names_its_argument(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(UsageError) as error:
        Separator(gaussian(), **options)
    assert error.value.argument == argument


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"samples": 0}, "samples"),
        ({"seed": -1}, "seed"),
        ({"sample_rate": 8000}, "sample_rate"),
        ({"hint": (0, 0)}, "hint"),
    ],
)
def test_calls_that_do_not_fit_name_their_argument(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(UsageError) as error:
        Separator(gaussian()).separate(np.full((4, 4), 0.5), **options)
    assert error.value.argument == argument
