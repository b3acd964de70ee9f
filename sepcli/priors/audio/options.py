"""Options for training priors of audio; this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sepcli.errors import UsageError
from sepcli.settings import check


@dataclass(frozen=True)
class DenoiserOptions:
    """Options of a denoiser of MDCT coefficients.

    Attributes:
        interference: other sources to reject, mixed into a share of the chunks: folders of recordings, or
            classes of the songs in the data set.
        low_bands: whether only a second network for the waveform of the lowest bands is trained, added to the
            prior that training starts from; needs ``interference``.
        songs: whether all networks are trained together on excerpts of songs with stems: ``interference`` is
            some or all of the named stems at once, half of the time of the same song.
        width: channels of the network of all bands; default: the preset's.
        equalization: with ``songs``, standard deviation in dB of random changes of the spectrum of each stem.
        compile: whether the loss is compiled first, which takes a minute and a C++ compiler.
        validated: held-out chunks per validation, four times as many with ``interference``.
        rank: rank of a difference from ``base``, which alone is trained of every matrix; the prior can then
            be stored in a fraction of its size, if ``base`` is a bundled prior. Needs a prior to start from.
            0: all weights are trained.
        base: prior from which the difference is taken; default: the one that training starts from.
    """

    interference: tuple[str, ...] = ()
    low_bands: bool = False
    songs: bool = False
    width: Annotated[int, Meta(ge=8, le=4096)] | None = None
    equalization: Annotated[float, Meta(ge=0, le=24)] = 0.0
    compile: bool = False
    validated: Annotated[int, Meta(ge=1, le=100_000)] = 64
    rank: Annotated[int, Meta(ge=0, le=4096)] = 0
    base: str | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, and ``base``, ``low_bands`` and ``songs`` without what they need."""
        check(self)
        if self.base is not None and not self.rank:
            raise UsageError("base needs rank", "set rank, too", argument="settings.base")
        for name in ("low_bands", "songs"):
            if getattr(self, name) and not self.interference:
                raise UsageError(
                    f"{name} needs sources to reject", "add interference", argument=f"settings.{name}"
                )
        if self.low_bands and self.rank:
            raise UsageError(
                "low_bands and rank cannot be combined",
                "choose one of them",
                argument="settings.rank",
            )
        if self.low_bands and self.songs:
            raise UsageError(
                "low_bands trains one network and songs both", "choose one of them", argument="settings.songs"
            )


@dataclass(frozen=True)
class FlowOptions:
    """Options of a flow of waveforms.

    Attributes:
        variant: waveglow (invertible 1x1 convolutions), flowavenet (even and odd samples), spectral (as
            waveglow, of the frames of a lapped transform) or tarflow (patches of samples one after the other,
            by transformers).
        mels: mel bands of the frames that the flow is conditioned on, such as 80; such a flow has a
            likelihood, but cannot separate. 0: unconditional.
        noise: standard deviation of the noise that is always added to the data; default: 0.001.
        clean: whether to train under ``noise`` only; default: under noise of any level.
        denoising: weight of the error of denoising in the loss; 0: likelihood alone.
    """

    variant: Literal["waveglow", "flowavenet", "spectral", "tarflow"] = "waveglow"
    mels: Annotated[int, Meta(ge=0, le=128)] = 0
    noise: Annotated[float, Meta(ge=1e-5, lt=1)] | None = None
    clean: bool = False
    denoising: Annotated[float, Meta(ge=0, le=1e6)] = 0.0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class EncodersOptions:
    """Options of variational posteriors of mixtures.

    Attributes:
        prior: flows of waveforms, one per source; ``--prior`` on the command line.
        noise: least standard deviation of the noise under which the flows evaluate sources; default: 0.02.
        mixture_noise: standard deviation of the noise of mixtures; 0: the sources sum to the mixture exactly.
    """

    prior: tuple[str, ...] = ()
    noise: Annotated[float, Meta(ge=0, lt=1)] | None = None
    mixture_noise: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        check(self)
