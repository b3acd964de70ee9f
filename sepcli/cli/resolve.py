"""``--method``, ``--sampler`` and ``--prior``: their values, and what is chosen with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sepcli.baselines import BASELINES
from sepcli.errors import UsageError
from sepcli.media import MediumName

if TYPE_CHECKING:
    from sepcli.separation.separator import Separator

SONG_PRIOR = "songs"
"""The prior that separates recordings where none is given."""
DEFAULT_PRIOR = "slakh-drums-bass"
"""The prior of audio where none is given: of evaluation, and where ``SONG_PRIOR`` lacks what is wanted."""
COLORIZE_PRIOR = "cifar10"
"""The prior of colorization where none is given."""


class _Method(StrEnum):
    @property
    def is_baseline(self) -> bool:
        """Whether it needs no prior."""
        return self.value in BASELINES


if TYPE_CHECKING:

    class Method(_Method):
        """What ``--method`` takes: an engine for priors, Langevin dynamics of score priors, or a baseline."""

        LASS = "lass"
        SCORE = "score"
        VARIATIONAL = "variational"
        LANGEVIN = "langevin"
else:
    _NAMES = ("lass", "score", "variational", "langevin", *BASELINES)
    Method = _Method("Method", {name.upper().replace("-", "_"): name for name in _NAMES})


@dataclass(frozen=True)
class SeparatorOptions:
    """What the options say of engine, sources and sampler; see ``sepcli.priors.select.choose``."""

    method: Method | None = None
    weights: str | None = None
    sources: int | None = None
    sampler: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    samples: int = 1
    other: bool = False
    preset: str | None = None


@dataclass(frozen=True)
class Choice:
    """What separates the inputs of one medium, chosen from cards; ``load`` imports torch and reads weights.

    Attributes:
        medium: audio or image.
        prior: what stands for ``{prior}`` in file names.
        names: of the sources.
        load: returns what separates on a device.
        libraries: distributions that it needs besides the common ones.
        references: of the priors: names, folders, ``hf:owner/name@commit`` or objects of Python files.
        on_cpu: whether it computes on no other device.
        notes: what is to be said before it separates.
    """

    medium: MediumName
    prior: str
    names: tuple[str, ...]
    load: Callable[[str], Separator]
    libraries: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    on_cpu: bool = False
    notes: tuple[str, ...] = ()


def default_prior(options: SeparatorOptions) -> str:
    """Return the prior that separates recordings where none is given.

    ``SONG_PRIOR`` is of the engine score. ``DEFAULT_PRIOR`` is for other engines, for baselines, which take
    its sources, for weights, and where ``other`` is to be added.
    """
    from sepcli.samplers import names as sampler_names

    score = options.method in (None, Method.SCORE) and options.sampler not in sampler_names("token")
    return SONG_PRIOR if score and options.weights is None and not options.other else DEFAULT_PRIOR


def engine_of(method: Method | None, sampler: str | None) -> tuple[Method | None, str | None]:
    """Return engine and sampler: ``--method langevin`` is the engine score with the sampler langevin.

    Raises:
        UsageError: another sampler is given besides.
    """
    if sampler == "":
        raise UsageError("--sampler is empty", "leave it out for the prior's default")
    if method is not Method.LANGEVIN:
        return method, sampler
    if sampler not in (None, "langevin"):
        raise UsageError(
            f"--method langevin and --sampler {sampler} contradict each other", "give one of them"
        )
    return Method.SCORE, "langevin"


def fitting_images(method: Method | None = None, sampler: str | None = None) -> tuple[str, ...]:
    """Return the names of the bundled priors of images that have an engine and a sampler, if given."""
    from sepcli.catalog import index
    from sepcli.catalog import resolve as catalog
    from sepcli.samplers import names as sampler_names

    fitting = []
    for name in index.names():
        card, _ = catalog.find(name)
        if card.medium == "image" and method in (None, *card.engines):
            domains = {"score": "signal", "lass": "token"}
            offered = {one for engine in card.engines for one in sampler_names(domains.get(engine, ""))}
            if sampler is None or sampler in offered:
                fitting.append(name)
    return tuple(fitting)
