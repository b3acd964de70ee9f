"""``Separator``: the class around an engine, with layouts, rates, gains, windows, seeds and ranking.

    separator = Separator([prior, prior], weights=[0.5, 0.5])
    result = separator.separate(mixture, samples=4, seed=0)

Colorization is the same call with another mixing operator: ``Separator(prior, mixing=ChannelMean())``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import DenoisingPrior, Engine, ProgressCallback, Sampler, ScorePrior
from sepcli.separation.arrays import Layout, Medium, channels_first
from sepcli.separation.audio_samples import AudioSamples, keeping, sample_audio, sample_audio_batch
from sepcli.separation.blocks import BlockReader, BlockWriter
from sepcli.separation.colorize import (
    NAMES,
    STEM,
    Colorizer,
    ColorSamples,
    sample_colors,
    sample_colors_batch,
)
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.image_samples import sample_images
from sepcli.separation.independent import IndependentPriors
from sepcli.separation.ranking import RankedSamples
from sepcli.separation.result import Result
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.settings import StreamSettings
from sepcli.separation.stem_report import StreamReport
from sepcli.separation.stream import OnSeconds, separate_stream
from sepcli.separation.weights import image_scale, mixing_weights
from sepcli.signal.mixing import ChannelSum, WeightedSum

UNIT = (0.0, 1.0)
"""The range of the values of images."""


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
        sample_rate: Hz, of audio; 0: images.
        device: where to compute; None: the CPU.

    Raises:
        UsageError: priors, weights and names differ in number; an unknown sampler or setting, or a value out
            of range.
    """

    def __init__(
        self,
        priors: ScorePrior | Sequence[ScorePrior],
        *,
        weights: Sequence[float] | None = None,
        mixing: WeightedSum | ChannelSum | None = None,
        names: Sequence[str] | None = None,
        sampler: str | Sampler | None = None,
        settings: Mapping[str, Any] | None = None,
        sample_rate: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        members = list(priors) if isinstance(priors, Sequence) else [priors]
        torch_device = torch.device(device or "cpu")
        chosen: str | Sampler = sampler if sampler is not None else "projected"
        options = (
            dict(settings or {}) if sampler is not None else {**_sigma_range(members), **(settings or {})}
        )
        bounds = None if sample_rate else UNIT
        self._stream, self._provenance = StreamSettings(), dict[str, Any]()
        self._colorizer: Colorizer | None = None
        self._gray: tuple[float, ...] = ()
        if isinstance(mixing, ChannelSum):
            if len(members) != 1 or weights is not None or sample_rate:
                raise UsageError(
                    "colorization takes one prior of color images",
                    "pass one prior, without weights",
                    argument="priors",
                )

            def engine_of(prior: DenoisingPrior, gray: Sequence[float]) -> ScoreEngine:
                return score_engine(
                    prior, NAMES, gray, torch_device, chosen, options, channels=1, bounds=bounds
                )

            self._colorizer = Colorizer(cast(DenoisingPrior, members[0]), engine_of)
            self._gray = mixing.weights
            self._engine: Engine = self._colorizer.engine(mixing.weights)
            self._groups: tuple[Hashable, ...] = NAMES
            return
        alphas = _weights(len(members), weights, mixing, bool(sample_rate))
        every = members * len(alphas) if len(members) == 1 else members
        titles = tuple(names) if names is not None else tuple(f"source-{k + 1}" for k in range(len(alphas)))
        if len({*titles}) != len(alphas):
            raise UsageError(
                f"{len(titles)} names for {len(alphas)} sources",
                "give each source a different name",
                argument="names",
            )
        scale = 1.0 if sample_rate else image_scale(alphas)
        relative = tuple(scale * weight for weight in alphas)
        engine = score_engine(
            IndependentPriors(every), titles, relative, torch_device, chosen, options, bounds=bounds
        )
        self._engine = replace(engine, weights=alphas, scale=scale, sample_rate=sample_rate)
        self._groups = tuple((id(prior), weight) for prior, weight in zip(every, alphas, strict=True))

    @classmethod
    def of(
        cls,
        engine: Engine,
        *,
        stream: StreamSettings | None = None,
        groups: Sequence[Hashable] | None = None,
        colorizer: Colorizer | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Separator:
        """Wrap an engine.

        Args:
            engine: samples the sources; of a colorizer, that of its default gray.
            stream: windows, samples per estimate and consistency of audio.
            groups: per source, of what kind it is: sources of one kind are interchangeable; None: none are.
            colorizer: creates the engines of a colorizer, whose default gray has the engine's weights.
            provenance: what records say of the priors: names, files with hashes.
        """
        separator = cls.__new__(cls)
        separator._engine, separator._stream, separator._colorizer = (
            engine,
            stream or StreamSettings(),
            colorizer,
        )
        separator._groups = tuple(groups) if groups is not None else tuple(range(len(engine.names)))
        separator._gray = tuple(engine.weights) if colorizer is not None else ()
        separator._provenance = dict(provenance or {})
        return separator

    @property
    def engine(self) -> Engine:
        """The engine, which samples the sources."""
        return self._engine

    @property
    def names(self) -> tuple[str, ...]:
        """The K names of the sources; of a colorizer one, ``colorized``."""
        return (STEM,) if self._colorizer is not None else tuple(self._engine.names)

    @property
    def weights(self) -> tuple[float, ...]:
        """The α_k of m = Σ α_k x_k; of a colorizer, the weights of red, green and blue."""
        return tuple(self._engine.weights)

    @property
    def sample_rate(self) -> int:
        """Hz, the engine's; 0 for images. Mixtures may have any rate."""
        return self._engine.sample_rate

    @property
    def medium(self) -> Medium:
        """Audio or image."""
        return "audio" if self._engine.sample_rate else "image"

    @property
    def stream(self) -> StreamSettings:
        """Windows, samples and consistency of recordings."""
        return self._stream

    @property
    def colorizer(self) -> Colorizer | None:
        """The colorizer; None: this separates sources."""
        return self._colorizer

    def configured(
        self, stream: StreamSettings | None = None, *, provenance: Mapping[str, Any] | None = None
    ) -> Separator:
        """Return the same separator with other windows, samples per estimate or consistency.

        Args:
            stream: None: as they are.
            provenance: what records say of the priors; None: as before.
        """
        return Separator.of(
            self._engine,
            stream=stream or self._stream,
            groups=self._groups,
            colorizer=self._colorizer,
            provenance=self._provenance if provenance is None else provenance,
        )

    def describe(self) -> dict[str, Any]:
        """Return the configuration for records: priors, engine, sampler, settings, weights, device and, of
        audio, the stream."""
        record = {**self._provenance, **self._engine.describe(), "weights": list(self.weights)}
        return {**record, "stream": asdict(self._stream)} if self.medium == "audio" else record

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
        """Separate one mixture.

        Args:
            signal: numpy array or tensor. Audio: (T,), or two axes, the shorter of which is the channels.
                Images:
                (H, W), or with a channel axis of length 1 or 3, values in [0, 1]. Integers are divided by
                their full scale.
            sample_rate: Hz of the mixture; required for audio unless it is the separator's.
            samples: S, posterior samples to keep.
            seed: at least 0; the same seed gives the same samples.
            channel_axis: the axis of the channels, where it is not evident.
            hint: of a colorizer: strokes of color (3, H, W) in [0, 1] and their opacity (H, W), 0 to 1.
            on_progress: called with (steps done, steps in all).

        Returns:
            Sources, samples and their quality, in the layout of the mixture.

        Raises:
            UsageError: an argument is out of range or does not fit.
            InputError: the mixture is empty, not finite, or of a size that the engine does not take.
        """
        if samples < 1:
            raise UsageError(f"samples is {samples}", "ask for 1 or more", argument="samples")
        if seed < 0:
            raise UsageError(f"the seed {seed} is negative", "use 0 or a positive number", argument="seed")
        array, layout = channels_first(signal, self.medium, channel_axis)
        if hint is not None and self._colorizer is None:
            raise UsageError("a hint is for colorization", "leave it out", argument="hint")
        if self.medium == "audio":
            rate = self.sample_rate if sample_rate is None else sample_rate
            if rate < 1:
                raise UsageError(f"a sample rate of {rate} Hz", "use a positive one", argument="sample_rate")
            settings = keeping(self._stream, samples)
            audio = sample_audio(self._engine, settings, array, rate, seed, on_progress)
            return self._audio_result(audio, layout, rate, seed)
        if sample_rate is not None:
            raise UsageError("images have no sample rate", "leave it out", argument="sample_rate")
        image = torch.from_numpy(array).float()
        if self._colorizer is not None:
            return self._colorize(image, layout, samples, seed, hint, on_progress)
        seeds = torch.tensor(sample_seeds(seed, 0, samples))
        (ranked,) = sample_images(
            self._engine, self.as_channels(image)[None], seeds[None], self._groups, on_progress
        )
        return self._image_result(ranked, layout, seeds.tolist())

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
            mixtures: tensors (C, *D): audio (C, T), or images (C, H, W) in [0, 1], one channel for
                colorization.
            seeds: one per mixture; each result is that of ``separate`` with this seed.
            samples: S, posterior samples to keep of each.
            sample_rate: Hz of audio; None: the separator's.
            on_progress: called with (steps done, steps in all).
        """
        medium = self.medium
        laid = [channels_first(mixture, medium, 0) for mixture in mixtures]
        if medium == "audio":
            rate = sample_rate or self.sample_rate
            settings, signals = keeping(self._stream, samples), [array for array, _ in laid]
            sampled = sample_audio_batch(self._engine, settings, signals, rate, seeds, on_progress)
            each = zip(sampled, laid, seeds, strict=True)
            return [self._audio_result(audio, layout, rate, seed) for audio, (_, layout), seed in each]
        every = torch.tensor([sample_seeds(seed, 0, samples) for seed in seeds])
        images = torch.stack([torch.from_numpy(array).float() for array, _ in laid])
        if self._colorizer is not None:
            colors = sample_colors_batch(self._colorizer, images[:, 0], self._gray, every, None, on_progress)
            ranked = [replace(one.ranked, samples=one.all_full()[:, None]) for one in colors]
        else:
            stacked = torch.stack([self.as_channels(image) for image in images])
            ranked = sample_images(self._engine, stacked, every, self._groups, on_progress)
        results = zip(ranked, laid, every.tolist(), strict=True)
        return [self._image_result(one, layout, row) for one, (_, layout), row in results]

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
        return separate_stream(
            reader, writers, self._engine, keeping(self._stream, samples), seed, on_progress
        )

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
        if self._colorizer is None:
            raise UsageError(
                "this separator does not colorize", "use mixing=ChannelMean()", argument="mixing"
            )
        seeds = torch.tensor(sample_seeds(seed, 0, samples))
        return sample_colors(self._colorizer, gray, tuple(weights or self._gray), seeds, hint, on_progress)

    def as_channels(self, image: Tensor) -> Tensor:
        """An image (C, H, W) with as many channels as the engine takes: gray is repeated.

        Raises:
            UsageError: the engine takes grayscale images, and this one has colors.
        """
        wanted = self._engine.channels
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

    def _audio_result(self, audio: AudioSamples, layout: Layout, sample_rate: int, seed: int) -> Result:
        laid = layout.restore(audio.stems)
        bounds = tuple(report.log_prior for report in audio.reports if report.log_prior is not None)
        return Result(
            sources={name: laid[0][k] for k, name in enumerate(self.names)},
            samples=laid,
            raw=layout.restore(audio.raw),
            residual=tuple(report.residual_rms for report in audio.reports) or (audio.residual,),
            agreement=tuple(report.agreement_db for report in audio.reports) or (float("nan"),),
            log_prior=bounds or None,
            settings=self.describe() | {"seed": seed, "samples": len(audio.stems)},
            seeds=audio.seeds,
            layout=layout,
            confidence=dict(zip(self.names, audio.confidence, strict=False)),
            sample_rate=sample_rate,
        )

    def _colorize(
        self,
        image: Tensor,
        layout: Layout,
        samples: int,
        seed: int,
        hint: tuple[Any, Any] | None,
        on_progress: ProgressCallback | None,
    ) -> Result:
        gray = ChannelSum(self._gray)(image[None, None])[0, 0] if len(image) == 3 else image[0]
        strokes = (
            None if hint is None else (torch.as_tensor(hint[0]).float(), torch.as_tensor(hint[1]).float())
        )
        colors = self.sample_colors(gray, samples=samples, seed=seed, hint=strokes, on_progress=on_progress)
        ranked = replace(colors.ranked, samples=colors.all_full()[:, None])
        return self._image_result(ranked, layout, sample_seeds(seed, 0, samples))

    def _image_result(self, ranked: RankedSamples, layout: Layout, seeds: Sequence[int]) -> Result:
        laid = layout.restore(ranked.samples.double())
        return Result(
            sources={name: laid[0][k] for k, name in enumerate(self.names)},
            samples=laid,
            residual=tuple(ranked.residual.tolist()),
            agreement=tuple(ranked.agreement.tolist()),
            raw=laid[0],
            log_prior=None if ranked.log_prior is None else tuple(ranked.log_prior.tolist()),
            settings=self.describe() | {"samples": len(seeds)},
            seeds=tuple(seeds[number] for number in ranked.order),
            layout=layout,
        )


def _weights(
    priors: int, weights: Sequence[float] | None, mixing: WeightedSum | None, audio: bool
) -> tuple[float, ...]:
    """The α_k of K sources."""
    if mixing is not None and weights is not None:
        raise UsageError("weights and mixing contradict each other", "pass one of them", argument="weights")
    given = mixing.weights if mixing is not None else weights
    count = len(given) if given is not None else max(2, priors)
    if count < 2 or priors not in (1, count):
        raise UsageError(
            f"{priors} priors for {count} sources",
            "pass one prior, or one per source; two sources or more",
            argument="priors",
        )
    return tuple(float(w) for w in mixing_weights(given, (), images=not audio, sources=count))


def _sigma_range(priors: Sequence[ScorePrior]) -> dict[str, float]:
    """The range of σ of priors that state theirs, for a sampler that is not given."""
    lows = [float(prior.sigma_min) for prior in priors if hasattr(prior, "sigma_min")]
    highs = [float(prior.sigma_max) for prior in priors if hasattr(prior, "sigma_max")]
    return {**({"sigma_min": max(lows)} if lows else {}), **({"sigma_max": min(highs)} if highs else {})}
