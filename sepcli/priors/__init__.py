"""Generative priors of clean sources.

``FAMILIES`` is the table of model families; this module imports no torch.
A family's room holds everything about it: network, loss, presets, loading, engine and training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

Medium = Literal["audio", "image"]


@dataclass(frozen=True)
class Training:
    """How a family is trained on data of one medium; references are ``module:attribute``.

    Attributes:
        options: the frozen dataclass of the options of the family.
        task: (options, ``TrainConfig``) → ``sepcli.training.run.Recipe``.
        batch: items per step by default.
        tokens: tokens or frames per item by default; 0: the length varies between items.
        learning_rate: initial learning rate by default.
        init: whether training can start from a trained prior.
    """

    options: str
    task: str
    batch: int
    tokens: int
    learning_rate: float
    init: bool = False


@dataclass(frozen=True)
class Family:
    """A row of ``FAMILIES``; references are ``module:attribute``.

    Attributes:
        name: on the command line and in ``[parts.NAME] family`` of a card.
        medium: what it is a prior of.
        part: the folder, inside a prior's folder, that holds its network.
        weights: name of the file of weights in there, beside ``config.json``.
        summary: one line.
        presets: names of its sizes, the smallest first.
        training: medium → how it is trained; empty if it cannot be trained here.
        load: medium → function: folder → network, float32 on the CPU.
        engine: score, lass or variational; "" for parts that do not separate by themselves.
        separator: medium → function: (``sepcli.priors.selection.Selection``, device) → its engine.
        colorizer: (selection, device) → ``sepcli.separation.colorize.Colorizer``; "" if it does not colorize.
        shape: (card, folder) → (channels, height, width) and names of classes, of priors of images.
        needs: files of other parts that separation needs.
    """

    name: str
    medium: Literal["audio", "image", "both"]
    part: str
    summary: str
    presets: tuple[str, ...] = ("tiny", "small", "base")
    training: Mapping[Medium, Training] = field(default_factory=dict)
    load: Mapping[Medium, str] = field(default_factory=dict)
    engine: Literal["score", "lass", "variational", ""] = ""
    separator: Mapping[Medium, str] = field(default_factory=dict)
    colorizer: str = ""
    shape: str = ""
    needs: tuple[str, ...] = ()
    weights: str = "model.safetensors"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that a card has to list for separation."""
        return (*self.needs, f"{self.part}/config.json", f"{self.part}/{self.weights}")


_IMAGES, _AUDIO, _LASS = "sepcli.priors.images", "sepcli.priors.audio", "sepcli.priors.lass"
_IMAGE_LOAD: Mapping[Medium, str] = {"image": f"{_IMAGES}.load:load_image_prior"}
_IMAGE_ENGINE: Mapping[Medium, str] = {"image": f"{_IMAGES}.load:image_engine"}
_COLORIZER, _SHAPE = f"{_IMAGES}.colorizer:make_colorizer", f"{_IMAGES}.load:describe_images"


def _images(options: str) -> Training:
    return Training(f"{_IMAGES}.options:{options}", f"{_IMAGES}.train:recipe", 128, 0, 1e-3, init=True)


def _audio(kind: str, options: str, tokens: int, rate: float, init: bool = False) -> Training:
    return Training(f"{_AUDIO}.options:{options}", f"{_AUDIO}.train_{kind}:recipe", 16, tokens, rate, init)


def _lass(options: str, task: str, batch: int, tokens: int, rate: float, init: bool = False) -> Training:
    return Training(f"{_LASS}.options:{options}", f"{_LASS}.recipes:{task}", batch, tokens, rate, init)


def _image_family(name: str, part: str, summary: str, options: str, **fields: Any) -> Family:
    """Return the row of a score prior of images; without ``options`` it is not trained here."""
    return Family(
        name,
        "image",
        part,
        summary,
        training={"image": _images(options)} if options else {},
        load=_IMAGE_LOAD,
        engine="score",
        separator=_IMAGE_ENGINE,
        colorizer=_COLORIZER,
        shape=_SHAPE,
        **fields,
    )


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "vqvae",
            "both",
            "codec",
            "codec of LASS: signals to tokens and back",
            training={
                "audio": _lass("AudioOptions", "codec", 24, 192, 2e-3),
                "image": _lass("ImageCodecOptions", "codec", 128, 0, 1e-3),
            },
        ),
        Family(
            "transformer",
            "both",
            "transformer",
            "autoregressive prior over a codec's tokens",
            training={
                "audio": _lass("AudioOptions", "transformer", 16, 512, 1e-3, init=True),
                "image": _lass("ImageTransformerOptions", "transformer", 128, 0, 1e-3, init=True),
            },
            load=dict.fromkeys(("audio", "image"), f"{_LASS}.load:load_transformer"),
            engine="lass",
            separator=dict.fromkeys(("audio", "image"), f"{_LASS}.build:lass_engine"),
            shape=f"{_LASS}.build:describe_images",
            needs=("codec/config.json", "codec/model.safetensors", "table/table.safetensors"),
        ),
        Family("encodec", "audio", "encodec", "codec of several codebooks, of the package transformers", ()),
        Family(
            "musicgen",
            "audio",
            "musicgen",
            "autoregressive prior over several codebooks, of the package transformers",
            presets=(),
            engine="lass",
            separator={"audio": f"{_LASS}.music_build:music_engine"},
            needs=("encodec/config.json", "encodec/model.safetensors"),
        ),
        Family(
            "latent",
            "audio",
            "latent",
            "Gaussian likelihood of the mixture's latents (LASS)",
            training={"audio": _lass("AudioOptions", "likelihood", 16, 256, 2e-3)},
        ),
        Family(
            "context",
            "audio",
            "context",
            "likelihood of the mixture around a token (LASS)",
            training={"audio": _lass("AudioOptions", "likelihood", 6, 512, 3e-3)},
        ),
        Family(
            "denoiser",
            "both",
            "denoiser",
            "denoising score network, of images or of MDCT coefficients",
            training={
                "audio": _audio("denoiser", "DenoiserOptions", 128, 1e-3, init=True),
                "image": _images("DenoiserOptions"),
            },
            load={**_IMAGE_LOAD, "audio": f"{_AUDIO}.load_denoisers:load_mdct_denoiser"},
            engine="score",
            separator={**_IMAGE_ENGINE, "audio": f"{_AUDIO}.load_denoisers:mdct_engine"},
            colorizer=_COLORIZER,
            shape=_SHAPE,
        ),
        _image_family("ncsn", "ncsn", "noise-conditional score network (Song & Ermon 2019)", "ImageOptions"),
        _image_family("glow", "glow", "normalizing flow with log p(x)", "GlowOptions"),
        _image_family(
            "tarflow", "tarflow", "autoregressive transformer flow with log p(x)", "TarFlowOptions"
        ),
        Family(
            "flow",
            "audio",
            "flow",
            "normalizing flow of waveforms",
            training={"audio": _audio("flow", "FlowOptions", 16, 3e-3, init=True)},
            load={"audio": f"{_AUDIO}.load_flows:load_wave_flow"},
            engine="score",
            separator={"audio": f"{_AUDIO}.load_flows:wave_engine"},
        ),
        Family(
            "variational",
            "audio",
            "encoders",
            "variational posteriors of mixtures",
            training={"audio": _audio("encoders", "EncodersOptions", 16, 3e-3)},
            load={"audio": f"{_AUDIO}.load_encoders:load_encoders"},
            engine="variational",
            separator={"audio": f"{_AUDIO}.load_encoders:variational_engine"},
        ),
        _image_family(
            "diffusers",
            "unet",
            "diffusion model of the package diffusers",
            "",
            presets=(),
            weights="diffusion_pytorch_model.safetensors",
        ),
    )
}
"""Name → row."""


def resolve(reference: str) -> Any:
    """Import what a row names as ``module:attribute``."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
