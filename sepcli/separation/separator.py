"""``Separator``: the class around an engine, with layouts, rates, gains, windows, seeds and ranking.

    separator = Separator([prior, prior], weights=[0.5, 0.5])
    result = separator.separate(mixture, samples=4, seed=0)

Colorization is the same call with another mixing operator: ``Separator(prior, mixing=ChannelMean())``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Engine, ProgressCallback, Sampler, ScorePrior
from sepcli.separation.arrays import Layout, Medium, channels_first, checked_rate
from sepcli.separation.audio_samples import keeping, sample_audio, sample_audio_batch
from sepcli.separation.blocks import BlockReader, BlockWriter
from sepcli.separation.colorize import STEM, Colorizer, ColorSamples, sample_colors
from sepcli.separation.compose import compose
from sepcli.separation.denoising import image_errors
from sepcli.separation.fit import FitReference
from sepcli.separation.ranking import sample_images
from sepcli.separation.result import Result, image_result
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.settings import StreamSettings
from sepcli.separation.stem_report import StreamReport
from sepcli.separation.stream import OnSeconds, separate_stream
from sepcli.settings import Samples, Seed, require
from sepcli.signal.mixing import ChannelSum, WeightedSum
from sepcli.signal.windows import Signal


class Separator:
    """Separates mixtures with an engine.

    Args:
        priors: p(x) of one source; one for all sources, or one per source.
        weights: α_k of m = Σ α_k x_k; None: 1 each for audio, 1/K each for images.
        mixing: instead of weights: ``WeightedSum`` of the sources, or ``ChannelSum`` (``ChannelMean()``,
            ``Luma()``) of the channels of one image, which makes this a colorizer.
        names: of the sources; None: ``source-1`` and so on.
        sampler: a sampler of signals, or its command-line name; None: projected, within the prior's range of
            σ.
        settings: of the sampler, if it is given by name, and of the posterior (see ``sepcli samplers``).
        preset: estimate (None; sharp, for one answer) or draws (samples of the posterior, by another
            sampler, for several); see ``sepcli.separation.presets``.
        sample_rate: Hz, of audio; 0: images.
        device: where to compute; None: the CPU.

    Attributes:
        engine: samples the sources.
        stream: windows, samples and consistency of recordings.
        colorizer: None: this separates sources.

    Raises:
        UsageError: priors, weights and names differ in number; an unknown sampler or setting, or a value out
            of range.
    """

    engine: Engine
    stream: StreamSettings
    colorizer: Colorizer | None

    def __init__(
        self,
        priors: ScorePrior | Sequence[ScorePrior],
        *,
        weights: Sequence[float] | None = None,
        mixing: WeightedSum | ChannelSum | None = None,
        names: Sequence[str] | None = None,
        sampler: str | Sampler | None = None,
        settings: Mapping[str, Any] | None = None,
        preset: str | None = None,
        sample_rate: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        torch_device = torch.device(device or "cpu")
        self.engine, self._groups, self.colorizer = compose(
            priors, weights, mixing, names, sampler, settings or {}, preset, sample_rate, torch_device
        )
        self.stream, self._provenance = StreamSettings(), dict[str, Any]()
        self._fit: FitReference | None = None

    @classmethod
    def of(
        cls,
        engine: Engine,
        *,
        stream: StreamSettings | None = None,
        groups: Sequence[Hashable] | None = None,
        colorizer: Colorizer | None = None,
        provenance: Mapping[str, Any] | None = None,
        fit: FitReference | None = None,
    ) -> Separator:
        """Wrap an engine.

        Args:
            engine: samples the sources; of a colorizer, that of its default gray.
            stream: windows, samples per estimate and consistency of audio.
            groups: per source, of what kind it is: sources of one kind are interchangeable; None: none are.
            colorizer: creates the engines of a colorizer, whose default gray has the engine's weights.
            provenance: what records say of the priors: names, files with hashes.
            fit: by what it is assessed whether the priors explain a mixture.
        """
        separator = cls.__new__(cls)
        separator.engine, separator.colorizer = engine, colorizer
        separator.stream = stream or StreamSettings()
        separator._groups = tuple(range(len(engine.names)) if groups is None else groups)
        separator._provenance, separator._fit = dict(provenance or {}), fit
        return separator

    @property
    def names(self) -> tuple[str, ...]:
        """The K names of the sources; of a colorizer one, ``colorized``."""
        return (STEM,) if self.colorizer is not None else tuple(self.engine.names)

    @property
    def weights(self) -> tuple[float, ...]:
        """The α_k of m = Σ α_k x_k; of a colorizer, the weights of red, green and blue."""
        return tuple(self.engine.weights)

    @property
    def sample_rate(self) -> int:
        """Hz, the engine's; 0 for images. Mixtures may have any rate."""
        return self.engine.sample_rate

    @property
    def medium(self) -> Medium:
        """Audio or image."""
        return "audio" if self.engine.sample_rate else "image"

    def configured(
        self,
        stream: StreamSettings | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        fit: FitReference | None = None,
    ) -> Separator:
        """Return the same separator with other stream settings, entries of records on its priors, or fit."""
        return Separator.of(
            self.engine,
            stream=stream or self.stream,
            groups=self._groups,
            colorizer=self.colorizer,
            provenance=self._provenance if provenance is None else provenance,
            fit=self._fit if fit is None else fit,
        )

    def describe(self) -> dict[str, Any]:
        """Return the configuration for records: priors, engine, sampler, settings, weights, device and, of
        audio, the stream."""
        record = {**self._provenance, **self.engine.describe(), "weights": list(self.weights)}
        return {**record, "stream": asdict(self.stream)} if self.medium == "audio" else record

    def separate(
        self,
        signal: Any,
        *,
        sample_rate: int | None = None,
        samples: int = 1,
        seed: int = 0,
        channel_axis: int | None = None,
        hint: tuple[Any, Any] | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Result:
        """Separate one mixture; its sources come in its layout.

        Args:
            signal: numpy array or tensor. Audio: (T,), or two axes, the shorter of which is the channels.
                Images: (H, W), or with a channel axis of length 1 or 3, values in [0, 1]. Integers are
                divided by their full scale.
            sample_rate: Hz of the mixture, which need not be the prior's; required for audio: a wrong
                one gives wrong sources, without an error.
            samples: S, posterior samples to keep.
            seed: at least 0; the same seed gives the same samples.
            channel_axis: the axis of the channels, where it is not evident.
            hint: of a colorizer: strokes of color (3, H, W) in [0, 1] and their opacity (H, W), 0 to 1.
            on_progress: called with (steps done, steps in all).

        Raises:
            UsageError: an argument is out of range or does not fit.
            InputError: the mixture is empty, not finite, or of a size that the engine does not take.
        """
        require(Samples, samples=samples)
        require(Seed, seed=seed)
        array, layout = channels_first(signal, self.medium, channel_axis)
        if hint is not None and self.colorizer is None:
            raise UsageError("a hint is for colorization", "leave it out", argument="hint")
        rate = checked_rate(self.medium, sample_rate, self.sample_rate)
        if self.medium == "image":
            return self._separate_images([(array, layout)], [seed], samples, hint, on_progress)[0]
        audio = sample_audio(
            self.engine, keeping(self.stream, samples), array, rate, seed, on_progress, self._fit_sigma
        )
        return audio.result(layout, self.names, self.describe() | {"seed": seed}, rate, self._fit)

    def separate_batch(
        self,
        mixtures: Sequence[Tensor],
        *,
        seeds: Sequence[int],
        samples: int = 1,
        sample_rate: int | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> list[Result]:
        """Separate several mixtures; those of equal shape share calls of the engine.

        Args:
            mixtures: tensors (C, *D): audio (C, T), or images (C, H, W) in [0, 1].
            seeds: one per mixture; each result is that of ``separate`` with this seed.
            samples: S, posterior samples to keep of each.
            sample_rate: Hz of the mixtures; required for audio.
            on_progress: called with (steps done, steps in all).
        """
        require(Samples, samples=samples)
        for seed in seeds:
            require(Seed, seeds=seed)
        laid = [channels_first(mixture, self.medium, 0) for mixture in mixtures]
        rate = checked_rate(self.medium, sample_rate, self.sample_rate)
        settings = keeping(self.stream, samples)
        if self.medium == "image":
            return self._separate_images(laid, seeds, samples, None, on_progress)
        signals = [signal for signal, _ in laid]
        sampled = sample_audio_batch(
            self.engine, settings, signals, rate, seeds, on_progress, self._fit_sigma
        )
        each, described = zip(sampled, laid, seeds, strict=True), self.describe()
        return [
            audio.result(layout, self.names, described | {"seed": seed}, rate, self._fit)
            for audio, (_, layout), seed in each
        ]

    def separate_blocks(
        self,
        reader: BlockReader,
        writers: Sequence[BlockWriter],
        *,
        samples: int = 1,
        seed: int = 0,
        on_progress: OnSeconds | None = None,
    ) -> StreamReport:
        """Separate a recording of any length in constant memory.

        Args:
            reader: the mixture, at its start.
            writers: one per sample, in the order of sampling; see the report's ``samples.order``.
            samples: S; 1: the one set of stems combines ``stream.samples`` samples.
            seed: at least 0.
            on_progress: called with (seconds done, seconds in all).
        """
        require(Samples, samples=samples)
        require(Seed, seed=seed)
        settings = keeping(self.stream, samples)
        return separate_stream(
            reader, writers, self.engine, settings, seed, on_progress, fit_sigma=self._fit_sigma
        )

    def fit_of(self, report: StreamReport) -> float | None:
        """Return the fit of a separated recording; see ``Result.fit``."""
        return None if self._fit is None else self._fit.fit(report.denoising_error)

    def sample_colors(
        self,
        gray: Tensor,
        *,
        weights: Sequence[float] | None = None,
        samples: int = 1,
        seed: int = 0,
        hint: tuple[Tensor, Tensor] | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> ColorSamples:
        """Sample the colors of a grayscale image (H, W), float32 in [0, 1]; see ``separate``.

        Raises:
            UsageError: this is not a colorizer.
        """
        if self.colorizer is None:
            raise UsageError(
                "this separator does not colorize", "use mixing=ChannelMean()", argument="mixing"
            )
        require(Samples, samples=samples)
        require(Seed, seed=seed)
        seeds = torch.tensor([sample_seeds(seed, 0, samples)])
        shades = tuple(weights or self.weights)
        return sample_colors(self.colorizer, gray[None], shades, seeds, hint, on_progress)[0]

    def as_channels(self, image: Tensor) -> Tensor:
        """An image (C, H, W) with as many channels as the engine takes: gray is repeated.

        Raises:
            UsageError: the engine takes grayscale images, and this one has colors.
        """
        wanted = self.engine.channels
        if wanted in (None, len(image)):
            return image
        if len(image) == 1:
            return image.expand(wanted, -1, -1)
        if wanted == 1 and all(bool((channel == image[0]).all()) for channel in image[1:]):
            return image[:1]
        raise UsageError(
            f"an image of {len(image)} channels for a prior of {wanted}",
            "use a prior of color images, or pass its gray",
            argument="signal",
        )

    def _separate_images(
        self,
        laid: Sequence[tuple[Signal, Layout]],
        seeds: Sequence[int],
        samples: int,
        hint: tuple[Any, Any] | None,
        on_progress: ProgressCallback | None,
    ) -> list[Result]:
        """Separate or colorize images (C, H, W) of one size."""
        images = [torch.from_numpy(signal).float() for signal, _ in laid]
        every = torch.tensor([sample_seeds(seed, 0, samples) for seed in seeds])
        if self.colorizer is None:
            mixtures = torch.stack([self.as_channels(image) for image in images])
            ranked = sample_images(self.engine, mixtures, every, self._groups, on_progress)
        else:
            gray_of = ChannelSum(self.weights)
            grays = [gray_of(image[None, None])[0] if len(image) == 3 else image for image in images]
            strokes = None if hint is None else (_floats(hint[0]), _floats(hint[1]))
            each = sample_colors(self.colorizer, torch.cat(grays), self.weights, every, strokes, on_progress)
            ranked = [replace(one.ranked, samples=one.all_full()[:, None]) for one in each]
        each_laid, described = zip(ranked, laid, every.tolist(), strict=True), self.describe()
        results = [
            image_result(one, layout, self.names, described, row) for one, (_, layout), row in each_laid
        ]
        if self.colorizer is not None or self._fit is None:
            return results
        first = torch.stack([one.samples[one.order.index(0)] for one in ranked])
        errors = image_errors(self.engine, mixtures, first, self._fit.sigma, every[:, 0])
        return [
            replace(result, fit=self._fit.fit(error), denoising_error=error)
            for result, error in zip(results, errors, strict=True)
        ]

    @property
    def _fit_sigma(self) -> float | None:
        return None if self._fit is None else self._fit.sigma


def _floats(values: Any) -> Tensor:
    return torch.as_tensor(values).float()
