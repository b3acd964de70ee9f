"""``sepcli train-prior``: from a folder of clean recordings or images to a part of a prior."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepcli.cli import console
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.datasets.detect import Kind


class Classes(StrEnum):
    """What ``--classes`` takes."""

    NONE = "none"
    HALVES = "halves"
    DIGITS = "digits"
    FOLDERS = "folders"


CLASSES = {
    Classes.NONE: (),
    Classes.HALVES: ("0-4", "5-9"),
    Classes.DIGITS: tuple("0123456789"),
}
"""The names of the classes, where the data are MNIST's."""
DEFAULTS = {"vqvae": (24, 192, 2e-3), "transformer": (16, 512, 1e-3), "context": (6, 512, 3e-3)}
"""Family → batch, tokens and learning rate."""
OF_IMAGES, OF_SOUND, OTHERS = (128, 0, 1e-3), (16, 128, 1e-3), (16, 256, 2e-3)
"""The same of priors of images, of sound, and of all other families."""
OF_WAVES = (16, 16, 3e-3)
"""The same of flows of sound, and of encoders."""
WAVES = ("flow", "variational")
"""The families of waveforms."""


def train_prior(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Songs with stems, in Slakh2100's layout (train/, validation/) or MUSDB18; for a vqvae and "
            "its transformer also any folder of images, or MNIST's files; for a denoiser these, or any "
            "folder of recordings; for an ncsn or a glow images or MNIST; for a flow songs, recordings, or "
            "the word toy-waves; for variational a folder of mixtures, MUSDB18, or that word.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The prior's folder; each family writes its part of it.")
    ],
    family: Annotated[
        str,
        typer.Option(
            help="vqvae (the codec, first), transformer (over its tokens), latent and context (likelihoods); "
            "denoiser, of images or of one kind of sound; ncsn and glow (a flow, with log p), of images; "
            "flow, of waveforms; variational: encoders of mixtures, for the flows of their sources (--prior)."
        ),
    ] = "vqvae",
    preset: Annotated[
        str, typer.Option(help="Size of the network: tiny, small (CPU), base (GPU).")
    ] = "small",
    sources: Annotated[
        str | None,
        typer.Option(
            help="Instrument classes, or of MUSDB18 drums, bass, other, vocals or mixture, separated by "
            "commas; drums,bass if not given. Of a denoiser or a flow one name; that of a folder of "
            "recordings if not given. Of toy-waves sine, square, sawtooth or triangle."
        ),
    ] = None,
    classes: Annotated[
        Classes,
        typer.Option(
            help="Classes that a prior of images can be told: of MNIST halves (0-4, 5-9) or digits, of a "
            "folder its folders."
        ),
    ] = Classes.NONE,
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=1024,
            help="Make the images of a folder squares of this side (default: their common size, or 64).",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=1, max=3, help="1: gray, 3: color (default: color if an image of the folder has any)."
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip", help="Learn from mirror images, too (default: if there are colors)."
        ),
    ] = None,
    noise_mean: Annotated[
        float | None,
        typer.Option(
            help="Mean of ln σ in training a denoiser of images (default: -1.2 for gray, -0.8 for color: "
            "colorization begins at σ = 20, ln σ = 3)."
        ),
    ] = None,
    noise_std: Annotated[
        float | None,
        typer.Option(help="Standard deviation of ln σ (default: 1.4 for gray, 1.7 for color)."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Of a denoiser, an ncsn, a glow or a transformer: start from the weights of this prior."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a denoiser of sound: folder of other recordings, or class of the songs in --data, "
            "whose sounds it is to learn not to take for its own; repeatable.",
        ),
    ] = None,
    low_bands: Annotated[
        bool,
        typer.Option(
            "--low-bands",
            help="Of a denoiser of sound, with --init and --against: leave its network as it is, and train "
            "one for the waveform of the lowest bands, where most of the power is.",
        ),
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Of a denoiser of sound: compile the loss first, which takes a minute and a C++ compiler.",
        ),
    ] = False,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="Of a glow: learn clean images only, to go on with --finetune-noise (default: images "
            "under noise of any level at once). Of a flow: learn sounds under --noise only.",
        ),
    ] = False,
    finetune_noise: Annotated[
        bool,
        typer.Option(
            "--finetune-noise",
            help="Make the finished glow in OUT a ladder: a copy for every noise level, fine-tuned one after "
            "the other.",
        ),
    ] = False,
    variant: Annotated[
        str | None,
        typer.Option(
            help="Of a flow: waveglow (invertible 1x1; if not given), flowavenet (even and odd) or spectral "
            "(as waveglow, of the frames of a lapped transform)."
        ),
    ] = None,
    mels: Annotated[
        int,
        typer.Option(
            min=0,
            max=128,
            help="Of a flow: condition it on mel frames of so many bands, such as 80 (0: on none). It then "
            "says how likely sounds are, but cannot separate.",
        ),
    ] = 0,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Of a flow: standard deviation of the noise that is always on the data (default: 0.001). Of "
            "variational: the least noise under which the flows look at sources (default: 0.02)."
        ),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(help="Of variational: a flow of every source; repeatable. Toy waves are averaged."),
    ] = None,
    mixture_noise: Annotated[
        float,
        typer.Option(
            help="Of variational: standard deviation of the noise of mixtures; 0: sources sum to them exactly."
        ),
    ] = 0.0,
    unlabelled: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of images whose class the prior is not told.")
    ] = 0.5,
    time_budget: Annotated[
        str, typer.Option(help="How long to train, all runs together: 90s, 40m, 2h.")
    ] = "40m",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for so many steps instead of --time-budget.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Chunks or images per step.")] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Tokens, or frames, per chunk: of 512 samples, of a flow and of variational of 256.",
        ),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine schedule.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded recordings and images (default: OUT/cache).")
    ] = None,
    note: Annotated[str, typer.Option(help="A sentence on the data, for the prior's card.")] = "",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of all randomness.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a prior on clean recordings or images; stop and resume at will."""
    seconds = None if steps else parse_duration(time_budget)
    from sepcli.cli.device import choose_device
    from sepcli.datasets.detect import Kind, holds_images, kind_of
    from sepcli.priors.audio import train_encoders as variational
    from sepcli.priors.images import train as images
    from sepcli.priors.lass import train_images as lass_images
    from sepcli.training import run as prepare
    from sepcli.training.config import Request
    from sepcli.training.loop import LoopSettings

    one = family in (*images.PRESETS, *WAVES) or (family in lass_images.PARTS and holds_images(data))
    kind = kind_of(data) if one else None
    of_sound = kind in (Kind.SOUND, Kind.TOY)
    _check_kind(data, kind, family)
    usual = OF_WAVES if family in WAVES else OF_SOUND
    defaults = usual if of_sound else OF_IMAGES if one else DEFAULTS.get(family, OTHERS)
    for_images = {
        "--classes": None if classes is Classes.NONE else classes,
        "--size": size,
        "--channels": channels,
        "--flip": flip,
        "--noise-mean": noise_mean,
        "--noise-std": noise_std,
    }
    given = [option for option, value in for_images.items() if value is not None]
    if given and (of_sound or not one):
        what = f"{family} of sound" if of_sound else family
        raise UsageError(f"{given[0]} is for priors of images, not for a {what}", "leave it out")
    if tokens is not None and not defaults[1]:
        raise UsageError("--tokens is for priors of sound, an image has its own number", "leave it out")
    if channels == 2:
        raise UsageError("images have 1 channel or 3, not 2", "use --channels 1 for gray, 3 for color")
    if family == variational.FAMILY:
        names = variational.prior_sources(prior or (), sources)
    else:
        names = _source_names(sources, family, kind, data)
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise UsageError(f"a learning rate of {learning_rate:g} trains nothing", "write for example 0.001")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other", "give one of them")
    request = Request(
        family=family,
        data=data,
        out=out,
        preset=preset,
        sources=names,
        weights=(1 / len(names),) * len(names),
        batch=batch or defaults[0],
        tokens=tokens or defaults[1],
        cache=cache or out / "cache",
        device=choose_device(device),
        loop=LoopSettings(
            seconds=seconds, steps=steps, learning_rate=learning_rate or defaults[2], seed=seed
        ),
        resume=resume,
        overwrite=overwrite,
        command="sepcli " + " ".join(sys.argv[1:]),
        data_note=note,
        classes=_class_names(classes, kind, data),
        unlabelled=unlabelled,
        init=init,
        size=size,
        channels=channels,
        flip=flip,
        noise_mean=noise_mean,
        noise_std=noise_std,
        clean=clean,
        finetune_noise=finetune_noise,
        variant=variant,
        mels=mels,
        against=tuple(against or ()),
        low_bands=low_bands,
        compiled=compiled,
        noise=noise,
        priors=tuple(prior or ()),
        mixture_noise=mixture_noise,
    )

    request = replace(request, loop=replace(request.loop, run=request.identity()))

    def log(entry: dict[str, float]) -> None:
        console.note("  ".join(f"{key} {value:g}" for key, value in entry.items()), quiet)

    with console.progress(f"train {family}", quiet) as on_progress:
        progress = prepare.run(request, on_progress, log, lambda text: console.note(text, quiet))
    if as_json:
        console.emit_json(
            {"out": str(out), "family": family, "steps": progress.step, "history": progress.history}
        )
    else:
        console.emit(f"{out / prepare.PARTS[family]}: {progress.step} steps, best at {progress.best_step}")


def _check_kind(data: Path, kind: Kind | None, family: str) -> None:
    """Refuse data of another kind than the family is a prior of; ``kind`` None: the family is of several."""
    from sepcli.datasets.detect import TOY_WAVES, Kind

    if kind is Kind.SOUND and family not in ("denoiser", *WAVES):
        raise UsageError(f"{data} holds recordings, --family {family} is for images", "use --family denoiser")
    if family in WAVES and kind not in (Kind.SOUND, Kind.TOY):
        raise UsageError(f"{data} holds images, --family {family} is for sound", "use --family glow")
    if str(data) == TOY_WAVES and family not in WAVES and not data.exists():
        raise UsageError(f"toy waves are for --family flow, not for {family}", "use --family flow")


def _source_names(sources: str | None, family: str, kind: Kind | None, data: Path) -> tuple[str, ...]:
    """What the prior is of; ``kind`` is that of the data of one source, None for families of several."""
    from sepcli.datasets.detect import Kind
    from sepcli.priors.audio import train_denoiser as audio

    if kind is not None and "," in (sources or ""):
        raise UsageError(f"a {family} is a prior of one kind of source, not of {sources}", "name one")
    if sources is None and kind is Kind.SOUND:
        return (audio.default_source(data),)
    if sources is None and kind is Kind.TOY:
        raise UsageError("toy waves are of four shapes", "name one of them, such as --sources sine")
    if sources is None and kind is Kind.IMAGES:
        return (data.resolve().name or "image",)
    given = sources if sources is not None else "drums,bass" if kind is None else "digit"
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if len({name.casefold() for name in names}) < max(1, len(names)):
        raise UsageError(f"--sources {sources!r} does not name sources", "write for example drums,bass")
    return names


def _class_names(classes: Classes, kind: Kind | None, data: Path) -> tuple[str, ...]:
    """The names of the classes that the prior is told."""
    from sepcli.datasets.detect import Kind
    from sepcli.datasets.image_splits import folder_classes

    if classes is Classes.NONE:
        return ()
    if (classes is Classes.FOLDERS) != (kind is Kind.IMAGES):
        meant = "folders of images" if classes is Classes.FOLDERS else "MNIST's files"
        raise UsageError(f"--classes {classes.value} is for {meant}", "use another, or leave it out")
    return folder_classes(data) if classes is Classes.FOLDERS else CLASSES[classes]


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``40m`` or ``1.5h``."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"'{text}' is not a duration", "write for example 90s, 40m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
