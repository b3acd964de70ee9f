"""``--prior auto``: rank the installed priors and pairs by how well they explain an input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.excerpt import loudest
from sepcli.cli.inputs import collect, medium_of
from sepcli.errors import InputError, UsageError
from sepcli.separation.fit import LEAST_FIT, FitReference

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.media import MediumName
    from sepcli.priors.selection import Selection

SECONDS = 6.0
"""Length of the excerpt of a recording by which priors are ranked: the loudest one."""
SIGMA = {"audio": 0.08, "image": 0.3}
"""σ of the noise of the denoising error, in the units of the engines."""
FAMILY = "denoiser"


@dataclass(frozen=True)
class Ranked:
    """Priors, how well they explain a mixture, and the names of their sources.

    Attributes:
        priors: for ``--prior``.
        names: of the sources.
        error: denoising error, dB.
        fit: None: the priors have no reference.
    """

    priors: tuple[str, ...]
    names: tuple[str, ...]
    error: float
    fit: float | None

    @property
    def key(self) -> tuple[bool, float]:
        """The less, the better: priors that explain the mixture first, then by their denoising error."""
        return self.fit is not None and self.fit < LEAST_FIT, self.error


def auto_prior(arguments: Sequence[str], out: Path, quiet: bool) -> tuple[str, ...]:
    """Return the priors that explain the first input best, and print the ranking.

    Raises:
        InputError: there is no input that can be read.
        UsageError: no installed prior is of its medium.
    """
    inputs = collect(arguments, ("audio", "image"), out, lambda text: None)
    path = next(iter(inputs.folders), None)
    if path is None:
        raise InputError("there is no input to choose a prior by", "give a file, or --prior NAME")
    ranking = rank(path, medium_of(path) or "audio", quiet)
    for one in ranking:
        fit = "no reference" if one.fit is None else f"fit {one.fit:.2g}"
        text = f"{' + '.join(one.priors)}: {', '.join(one.names)} ({one.error:.1f} dB, {fit})"
        console.note(f"{'chosen' if one is ranking[0] else '      '} {text}", quiet)
    console.note(f"by the denoising error of {path.name}, separated: the less, the better", quiet)
    return ranking[0].priors


def rank(path: Path, medium: MediumName, quiet: bool = False) -> list[Ranked]:
    """Return the installed priors and pairs of a medium, the best for a file first."""
    mixture, rate = loudest(path, medium, SECONDS)
    ranking = []
    with console.progress("ranking priors", quiet) as on_progress:
        every = [*candidates(medium)]
        for number, priors in enumerate(every):
            with suppress(UsageError):  # of gray, and the image has colors
                ranking.append(_assessed(priors, mixture, rate, SIGMA[medium]))
            on_progress(number + 1, len(every))
    if not ranking:
        raise UsageError(f"no installed prior is of {medium}", "give --prior NAME")
    return sorted(ranking, key=lambda one: one.key)


def candidates(medium: MediumName) -> Iterator[tuple[str, ...]]:
    """Yield the bundled score priors of a medium, and pairs of single sources that no prior has together."""
    from sepcli.catalog import index, resolve

    cards = {name: resolve.find(name)[0] for name in index.names()}
    whole = [name for name, card in cards.items() if card.medium == medium and len(card.priors) > 1]
    members = [set(cards[name].priors) for name in whole]
    single = [name for name, card in cards.items() if card.medium == medium and _denoises(card)]
    if medium == "image":
        yield from ((name,) for name in single)
        return
    yield from ((name,) for name in whole if all(map(single.__contains__, cards[name].priors)))
    for pair in combinations(single, 2):
        alike = len({cards[name].sample_rate for name in pair}) == 1
        different = len({cards[name].sources for name in pair}) == 2
        if alike and different and not any(set(pair) <= of_prior for of_prior in members):
            yield pair


def _denoises(card: Card) -> bool:
    return any(part.family == FAMILY for part in card.parts.values()) and len(card.sources) == 1


def _assessed(priors: tuple[str, ...], mixture: Any, rate: int, sigma: float) -> Ranked:
    """Separate a mixture by priors, and measure the denoising error at their σ, or at a common one."""
    import torch

    from sepcli.priors.load import load_selection
    from sepcli.priors.select import choose

    selection: Selection = choose(list(priors) if len(priors) > 1 else priors[0], engine="score")
    reference = selection.fit_reference
    separator = load_selection(selection).configured(fit=FitReference(sigma, ()))
    if rate:
        result = separator.separate(mixture, sample_rate=rate, channel_axis=0)
    else:
        result = separator.separate(torch.from_numpy(mixture).float(), channel_axis=0)
    error = result.denoising_error
    fit = None
    if reference is not None and reference.sigma == sigma:
        fit = reference.fit(error)
    return Ranked(priors, selection.names, math.inf if error is None else error, fit)
