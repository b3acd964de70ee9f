"""The Python API: load a prior, separate arrays, sample, evaluate.

    import sepcli

    separator = sepcli.load("slakh-drums-bass")
    result = separator.separate(mixture, sample_rate=44100, samples=4, seed=0)
    result["drums"]

The functions are attributes of ``sepcli``, imported when they are first used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.unconditional import Unconditional
from sepcli.protocols import DenoisingPrior, ProgressCallback, Sampler, ScorePrior
from sepcli.samplers.construct import signal_sampler
from sepcli.separation.from_functions import Denoiser, DenoiserPrior, ScoreFunctionPrior
from sepcli.separation.independent import sigma_range
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.separator import Separator
from sepcli.settings import Batch, Items, Samples, Seed, require
from sepcli.signal.chroma import GRAYS

if TYPE_CHECKING:
    from sepcli.evaluation.report import Report


def load(
    priors: str | Path | Sequence[str],
    *,
    device: str = "auto",
    weights: Sequence[float] | None = None,
    sources: int | None = None,
    names: Sequence[str] | None = None,
    engine: str | None = None,
    sampler: str | None = None,
    settings: Mapping[str, Any] | None = None,
    preset: str | None = None,
    samples: int = 1,
    other: bool = False,
    colorize: bool | str = False,
) -> Separator:
    """Load a separator; arguments are those of the command line.

    Args:
        priors: a name of the catalog, a folder, or ``hf:owner/name[@revision]`` that has been fetched; or
            one per source.
        device: auto, cpu, cuda, cuda:N or mps.
        weights: α_k of the mixture Σ α_k x_k; None: the card's, else 1 each for audio and 1/K each for
            images.
        sources: of images: K; None: one per weight or prior, else 2.
        names: names of the sources; None: those of the priors.
        engine: score, lass or variational, for priors that offer several; None: the prior's default.
        sampler: None: the prior's default; see ``sepcli samplers``.
        settings: of sampler, posterior and engine, over the prior's defaults.
        preset: of score priors: estimate (sharp, for one answer) or draws (samples of the posterior); None:
            chosen by ``samples``.
        samples: how many samples of each mixture the separator is for: of two or more of priors whose draws
            are calibrated, the preset is draws, as ``--samples`` chooses it.
        other: add a source ``other`` for what no prior explains; score priors of audio only.
        colorize: separate the channels of one image instead: True or ``mean`` for their mean, ``luma``.

    Raises:
        PriorError: a prior is missing, has not been fetched, or fails its verification.
        UsageError: an argument does not fit the prior.
    """
    from sepcli.priors.load import load_selection
    from sepcli.priors.select import choose

    require(Samples, samples=samples)
    gray = None if colorize is False else _gray("mean" if colorize is True else colorize)
    references = str(priors) if isinstance(priors, str | Path) else tuple(map(str, priors))
    selection = choose(
        references,
        weights=weights,
        sources=sources,
        names=names,
        engine=engine,
        sampler=sampler,
        settings=settings,
        preset=preset,
        samples=samples,
        other=other,
        colorize=gray,
    )
    for note in selection.notes:
        logging.getLogger("sepcli").warning(note)
    return load_selection(selection, choose_device(device))


def from_denoiser(
    denoise: Denoiser, sigma_min: float, sigma_max: float, variance: Denoiser | None = None
) -> DenoiserPrior:
    """Make a prior of a denoiser.

    Args:
        denoise: D(x (N, C, *D), sigma ()) → the mean of the clean signals given x = x_0 + σ ε, like x; a
            module or a function.
        sigma_min: the least noise that it was trained on, in the units of x (images: [0, 1]).
        sigma_max: the greatest.
        variance: the variance of the clean signals given x, likewise; None: unknown.

    Raises:
        UsageError: the range of σ is empty.
    """
    return DenoiserPrior(denoise, sigma_min, sigma_max, variance)


def from_score(score: Denoiser, sigma_min: float, sigma_max: float) -> ScoreFunctionPrior:
    """Make a prior of a score function ∇ log p_σ(x (N, C, *D), sigma ()); see ``from_denoiser``.

    Raises:
        UsageError: the range of σ is empty.
    """
    return ScoreFunctionPrior(score, sigma_min, sigma_max)


def from_diffusers(model: Any, *, label: int | None = None) -> ScorePrior:
    """Make a prior of images in [0, 1] of a diffusion model.

    Args:
        model: a fetched repository ``owner/name``, a folder in the layout of diffusers, or a ``UNet2DModel``
            that predicts ε with the schedule of DDPM (linear β from 1e-4 to 0.02, 1,000 timesteps).
        label: the class, of a class-conditional network.

    Raises:
        PriorError: the package diffusers is missing, or the files are damaged, not fetched or of another
            kind.
    """
    from sepcli.priors.images.load_diffusers import diffusers_prior

    return diffusers_prior(model, label)


def sample(
    prior: ScorePrior,
    *,
    n: int = 1,
    shape: Sequence[int],
    seed: int = 0,
    sampler: str | Sampler | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    on_progress: ProgressCallback | None = None,
) -> Tensor:
    """Draw unconditional samples from a prior.

    Args:
        prior: p(x) of one source.
        n: how many samples.
        shape: (C, *D) of one sample.
        seed: at least 0; sample k depends on the seed and k only.
        sampler: a sampler of signals or its name; None: ancestral sampling (``projected`` with
            ``eta=ancestral``) within the prior's range of σ.
        settings: of a sampler given by name.
        device: where to compute.
        on_progress: called after every evaluation.

    Returns:
        (n, C, *D) on the CPU, in the units of the prior.

    Raises:
        UsageError: an unknown sampler or setting, or a value out of range.
    """
    require(Items, n=n)
    require(Seed, seed=seed)
    like = torch.empty((n, 1, *shape), device=device)
    posterior = Unconditional(cast(DenoisingPrior, prior), like)
    if sampler is None or isinstance(sampler, str):
        name = sampler or "projected"
        eta = {"eta": "ancestral"} if name == "projected" else {}
        sampler = signal_sampler(name, {**sigma_range([prior]), **eta, **(settings or {})})
    return sampler(posterior, torch.tensor(sample_seeds(seed, 0, n)), on_progress)[:, 0].cpu()


def evaluate(
    separator: Separator,
    items: Any,
    metrics: Sequence[str] = (),
    *,
    seed: int = 0,
    samples: int = 1,
    batch: int = 8,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Separate the items of a data set and score the results.

    Args:
        separator: of the sources of the items.
        items: of a data set, such as ``sepcli.datasets.mnist("mnist").pairs(100)``.
        metrics: names of ``sepcli.metrics.METRICS``; (): the default metrics of the medium.
        seed: of samples and bootstrap.
        samples: posterior samples per item.
        batch: items separated together.
        on_progress: called with (steps done, steps in all).

    Raises:
        UsageError: the items are a path, the separator does not fit them, or a metric is unknown.
    """
    if isinstance(items, str | os.PathLike):
        raise UsageError(
            f"the items are the path {items}, not those of a data set",
            "open the folder with a reader, for example sepcli.datasets.mnist(folder).pairs(100)",
            argument="items",
        )
    require(Samples, samples=samples)
    require(Seed, seed=seed)
    require(Batch, batch=batch)
    from sepcli.evaluation.run import run
    from sepcli.evaluation.tasks.choice import task_of

    task = task_of(separator, items, metrics, samples=samples)
    return run(task, metrics, seed=seed, batch=batch, on_progress=on_progress)


def choose_device(name: str) -> torch.device:
    """Return a torch device; ``auto`` is the first of CUDA, MPS and CPU that is there.

    Raises:
        UsageError: not a device, or one that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        kind, _, index = name.partition(":")
        if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
            raise ValueError(name)
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        hint = "use auto, cpu, cuda, cuda:N or mps"
        raise UsageError(f"there is no device '{name}'", hint, argument="device") from error
    return device


def _gray(name: str) -> tuple[float, ...]:
    if name not in GRAYS:
        raise UsageError(f"unknown gray '{name}'", f"one of: {', '.join(GRAYS)}", argument="colorize")
    return GRAYS[name]
