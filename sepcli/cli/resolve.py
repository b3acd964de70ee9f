"""``--method`` and ``--prior`` → what separates: first from cards, at once, then loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sepcli.baselines import BASELINES
from sepcli.cli.settings import parse_weights
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.priors.select import Selection
    from sepcli.separation.separator import Separator

DEFAULT_PRIOR = "slakh-drums-bass"


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


@dataclass(frozen=True)
class Baseline:
    """A method without a prior, where a ``Selection`` of priors may be.

    Attributes:
        prior: its name.
        names: of the sources.
        settings: of windows and masks.
    """

    prior: str
    names: tuple[str, ...]
    settings: Mapping[str, Any]


def find(
    method: Method | None,
    priors: Sequence[str],
    *,
    weights: str | None = None,
    sources: int | None = None,
    sampler: str | None = None,
    settings: Mapping[str, Any] | None = None,
    samples: int = 1,
    other: bool = False,
) -> Selection | Baseline:
    """Choose what separates, from cards alone; see ``sepcli.priors.select.choose``.

    Args:
        method: an engine or a baseline; None: the priors' default.
        priors: names, of audio the default one if there are none.
        weights: ``0.5,0.5``.
        sources: number of sources of an image.
        sampler: its name.
        settings: of ``--set``.
        samples: how many are kept.
        other: add a source for what no prior models.

    Raises:
        UsageError: the options do not fit the priors, or a baseline.
        PriorError: no such prior.
    """
    from sepcli.priors.select import choose

    if method is not None and method.is_baseline:
        given = {"prior": bool(priors), "weights": weights, "sources": sources, "sampler": sampler}
        return _baseline(method, settings or {}, {**given, "samples": samples > 1, "other": other})
    alphas = None if weights is None else parse_weights(weights, sources, 2 - other)
    return choose(
        priors or DEFAULT_PRIOR,
        weights=alphas,
        sources=None if alphas is not None else sources,
        engine=None if method is None else method.value,
        sampler=sampler,
        settings=settings,
        other=other,
        samples=samples,
    )


def _baseline(method: Method, settings: Mapping[str, Any], given: Mapping[str, object]) -> Baseline:
    for option in (option for option, present in given.items() if present):
        raise UsageError(
            f"--method {method} has no use for --{option}: it has no prior", f"leave out --{option}"
        )
    from sepcli import baselines

    return Baseline(method.value, baselines.SOURCES, settings)


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


def load(chosen: Selection | Baseline, device: str, consistency: str | None = None) -> Separator:
    """Load what ``find`` chose.

    Args:
        chosen: from ``find``.
        device: of ``--device``.
        consistency: of ``--consistency``; None: the engine's default.

    Raises:
        UsageError: an unknown sampler, setting or device, or priors of different rates.
        PriorError: a prior is missing or damaged.
    """
    settings = {**chosen.settings, **({} if consistency is None else {"consistency": consistency})}
    if isinstance(chosen, Baseline):
        return _load_baseline(chosen.prior, settings, device)
    from sepcli.cli.device import choose_device
    from sepcli.priors.load import load_selection

    return load_selection(replace(chosen, settings=settings), choose_device(device))


def made_with(separator: Separator) -> dict[str, Any]:
    """Return what a record says of a separator."""
    described = separator.describe()
    return {"method": described["engine"], **described}


def _load_baseline(method: str, settings: Mapping[str, Any], device: str) -> Separator:
    if device not in ("auto", "cpu"):
        raise UsageError(f"--method {method} computes on the CPU, not on {device}", "leave out --device")
    from sepcli import baselines
    from sepcli.baselines.engine import BaselineEngine
    from sepcli.priors.load import split_settings
    from sepcli.separation.separator import Separator
    from sepcli.separation.settings import StreamSettings
    from sepcli.settings import parse

    stream, rest = split_settings(settings)
    for key in rest:
        raise UsageError(
            f"unknown setting '{key}'", f"--method {method} has only settings of windows and masks"
        )
    return Separator.of(
        BaselineEngine(method),
        stream=parse(StreamSettings, {**baselines.STREAM, **stream}),
        provenance={"prior": None, "rule": baselines.BASELINES[method].rule},
    )
