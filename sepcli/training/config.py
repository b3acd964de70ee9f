"""What to train, where, and the record of how it went."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.errors import OutputError
from sepcli.training.loop import CHECKPOINT, LoopSettings, Progress


@dataclass(frozen=True)
class Request:
    """What to train.

    Attributes:
        family: a key of ``PARTS``.
        data: folder of the data set (Slakh2100's layout, MUSDB18, MNIST's files, recordings or images), or
            the word for toy waves.
        out: the prior's folder.
        preset: sizes, a key of the family's presets.
        sources: instrument classes.
        weights: α_k of the mixing.
        batch: items per step.
        tokens: tokens per item.
        cache: folder for decoded recordings and images.
        loop: budget and rates.
        device: where to train.
        resume: continue an unfinished run.
        overwrite: replace a finished one.
        command: how the run was called, for the card.
        data_note: a sentence on the data, for the card.
        classes: names of the classes that a prior of images is conditioned on.
        unlabelled: share of training images whose class is withheld.
        init: a trained prior, name or folder, whose weights training starts from; of a transformer, one over
            the tokens of the same codec.
        size: side that the images of a folder are brought to; None: see ``datasets.image_decoder``.
        channels: of the images of a folder, likewise.
        flip: whether to learn from the mirror images of images as well; None: if they have colors.
        noise_mean: mean of ln σ in the training of a denoiser of images; None: that of their kind.
        noise_std: standard deviation of ln σ, likewise.
        clean: whether a glow learns clean images only, or a flow of sound no noise but its own.
        variant: of a flow of sound; None: the usual one.
        mels: bands of the mel frames that a flow of sound is conditioned on; 0: on none.
        noise: standard deviation of the noise that a flow of sound always adds to the data, or of the least under
            which encoders ask flows; None: the usual one.
        priors: of encoders of mixtures; words for the flows of their sources, one each.
        mixture_noise: of encoders; σ_m, the standard deviation of the mixture's own noise.
        against: of a denoiser of sound; folders of recordings, or classes of the songs in ``data``, that it
            is not to take for its own sound.
        low_bands: of a denoiser of sound; whether only the network of the lowest bands is trained.
        compiled: of a denoiser of sound; whether the loss is compiled first.
        finetune_noise: whether a finished glow is to become a ladder of copies, one per noise level.
    """

    family: str
    data: Path
    out: Path
    preset: str
    sources: tuple[str, ...]
    weights: tuple[float, ...]
    batch: int
    tokens: int
    cache: Path | None
    loop: LoopSettings
    device: torch.device
    resume: bool = False
    overwrite: bool = False
    command: str = ""
    data_note: str = ""
    classes: tuple[str, ...] = ()
    unlabelled: float = 0.5
    init: str | None = None
    size: int | None = None
    channels: int | None = None
    flip: bool | None = None
    noise_mean: float | None = None
    noise_std: float | None = None
    clean: bool = False
    low_bands: bool = False
    compiled: bool = False
    finetune_noise: bool = False
    variant: str | None = None
    mels: int = 0
    against: tuple[str, ...] = ()
    noise: float | None = None
    priors: tuple[str, ...] = ()
    mixture_noise: float = 0.0

    def identity(self) -> dict[str, Any]:
        """What makes the weights, as JSON has it: not where they go, nor how long and how fast it takes."""
        apart = {"out", "cache", "loop", "device", "resume", "overwrite", "command", "data_note", "compiled"}
        fields = {key: value for key, value in asdict(self).items() if key not in apart}
        return dict(json.loads(json.dumps({**fields, "data": self.data.resolve().name})))


def check_free(folder: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse to put a network into a folder that holds something.

    Raises:
        OutputError: it does, and neither resume nor overwrite was asked for.
    """
    unfinished = (folder / CHECKPOINT).exists()
    if unfinished and not (resume or overwrite):
        raise OutputError(
            f"{folder} holds an unfinished run", "continue it with --resume, or replace it with --overwrite"
        )
    if (folder / "config.json").exists() and not (overwrite or unfinished):
        raise OutputError(
            f"{folder} holds a finished part", "choose another --out folder, or replace it with --overwrite"
        )


def history_of(request: Request, part: str) -> tuple[dict[str, Any], ...]:
    """Return the trainings of the ``part`` whose weights this training starts from, the latest first."""
    return () if request.init is None else cards.history(resolve.find(request.init)[0], part)


def training_entry(request: Request, progress: Progress) -> dict[str, Any]:
    """How a part was trained, and the figures of the weights that were kept, for the card."""
    kept = [entry for entry in progress.history if entry["step"] == progress.best_step] or progress.history
    return {
        "command": request.command,
        "preset": request.preset,
        "batch": request.batch,
        "steps": progress.step,
        "seconds": round(progress.elapsed),
        "device": f"{request.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__.split("+")[0],
        "best_step": progress.best_step,
        "validation": {
            key[6:]: value
            for key, value in (kept[-1] if kept else {}).items()
            if key.startswith("valid_") and key != "valid_score"
        },
    }
