"""``--prior`` and ``--method`` → what separates: chosen in an instant, loaded when it is needed.

Choosing reads cards only, so that a misspelt name is answered before torch is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli.device import choose_device
from sepcli.cli.python_prior import is_python, load_object
from sepcli.cli.resolve import Baseline, Method, find, load
from sepcli.cli.settings import parse_weights
from sepcli.errors import UsageError
from sepcli.media import MediumName

if TYPE_CHECKING:
    from sepcli.separation.separator import Separator

COLORIZED = "colorized"
"""The stem of colorization."""
BASELINE_LIBRARIES = ("librosa", "scipy", "scikit-learn")
"""Distributions that baselines compute with."""


@dataclass(frozen=True)
class Choice:
    """What separates the inputs of one medium.

    Attributes:
        medium: audio or image.
        prior: what stands for ``{prior}`` in file names.
        names: of the sources.
        load: ``--consistency``, None for the engine's default → what separates.
        libraries: distributions that it needs besides the common ones.
    """

    medium: MediumName
    prior: str
    names: tuple[str, ...]
    load: Callable[[str | None], Separator]
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeparatorOptions:
    """What the options say of sources, engine and sampler; see ``sepcli.priors.select.choose``."""

    method: Method | None = None
    weights: str | None = None
    sources: int | None = None
    sampler: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    samples: int = 1
    other: bool = False


def choose(priors: Sequence[str], options: SeparatorOptions, device: str) -> Choice:
    """Choose what separates.

    Args:
        priors: names, folders, ``hf:owner/name``; or objects of Python files; none for a baseline.
        options: engine, sources and sampler.
        device: where to compute.

    Raises:
        PriorError: there is no such prior.
        UsageError: the options do not fit the priors or each other.
    """
    if any(map(is_python, priors)):
        return _choose_objects(priors, options, device)
    selected = find(priors=priors, **vars(options))
    medium: MediumName = "audio" if isinstance(selected, Baseline) else selected.medium
    libraries = BASELINE_LIBRARIES if isinstance(selected, Baseline) else ()

    def open_selected(consistency: str | None) -> Separator:
        return load(selected, device, consistency)

    return Choice(medium, selected.prior, selected.names, open_selected, libraries)


def choose_colorizer(
    prior: str, gray: str | None, sampler: str | None, settings: Mapping[str, str], device: str
) -> Choice:
    """Choose what colorizes with a prior of color images.

    Args:
        prior: name, folder or ``hf:owner/name``; or an object of a Python file.
        gray: a key of ``sepcli.signal.chroma.GRAYS``; None: luma, or as an image's file says.
        sampler: its name; None: the prior's.
        settings: of sampler, posterior and hints.
        device: where to compute.

    Raises:
        PriorError: there is no such prior.
        UsageError: the prior is not for images.
    """
    from sepcli.priors.select import choose as choose_cards

    weights = {"luma": (0.299, 0.587, 0.114), "mean": (1 / 3, 1 / 3, 1 / 3)}[gray or "luma"]
    if is_python(prior):
        mine = load_object(prior)

        def load_mine(consistency: str | None) -> Separator:
            from sepcli.separation.separator import Separator
            from sepcli.signal.mixing import ChannelSum

            options: dict[str, Any] = {"sampler": sampler, "settings": settings}
            separator = Separator(mine, mixing=ChannelSum(weights), device=choose_device(device), **options)
            return separator.configured(provenance=_provenance([prior]))

        return Choice("image", prior.rpartition(":")[2], (COLORIZED,), load_mine)
    selection = choose_cards(prior, colorize=weights, sampler=sampler, settings=settings)

    def open_selected(consistency: str | None) -> Separator:
        return load(selection, device)

    return Choice("image", selection.prior, (COLORIZED,), open_selected)


def _choose_objects(references: Sequence[str], options: SeparatorOptions, device: str) -> Choice:
    """Choose objects of Python files: one for all sources, or one per source.

    Raises:
        PriorError: an object cannot be loaded.
        UsageError: there are names of priors among them, or options that are for other priors.
    """
    for reference in references:
        if not is_python(reference):
            raise UsageError(f"{reference} is not an object of a Python file", "do not mix kinds", "priors")
    if options.method not in (None, Method.SCORE) or options.other:
        option = "other" if options.other else "engine"
        raise UsageError(f"{references[0]} is a score prior by itself", "leave the option out", option)
    priors = [load_object(reference) for reference in references]
    rate = int(getattr(priors[0], "sample_rate", 0))
    weights = None if options.weights is None else parse_weights(options.weights, options.sources)
    if weights is None and options.sources is not None:
        weights = (1.0 if rate else 1.0 / options.sources,) * options.sources
    count = len(weights) if weights else max(2, len(references))
    titles = [reference.rpartition(":")[2] for reference in references] * (
        count if len(references) == 1 else 1
    )
    names = tuple(
        f"{t}-{titles[: k + 1].count(t)}" if titles.count(t) > 1 else t for k, t in enumerate(titles)
    )

    def open_objects(consistency: str | None) -> Separator:
        from sepcli.priors.load import split_settings
        from sepcli.separation.separator import Separator
        from sepcli.separation.settings import StreamSettings
        from sepcli.settings import parse

        stream, settings = split_settings(options.settings) if rate else ({}, options.settings)
        stream |= {} if consistency is None else {"consistency": consistency}
        return Separator(
            priors,
            weights=weights,
            names=names,
            sampler=options.sampler,
            settings=settings,
            sample_rate=rate,
            device=choose_device(device),
        ).configured(parse(StreamSettings, stream), provenance=_provenance(references))

    return Choice("audio" if rate else "image", "+".join(dict.fromkeys(titles)), names, open_objects)


def _provenance(references: Sequence[str]) -> dict[str, Any]:
    """Return what records say of objects of Python files: their names, and the hashes of the files."""
    from sepcli.catalog.card import sha256

    split = [(Path(file), name) for file, _, name in (reference.rpartition(":") for reference in references)]
    names = [f"{path.name}:{name}" for path, name in split]
    return {
        "prior": names[0] if len(names) == 1 else names,
        "files": {path.name: sha256(path) for path, _ in split},
    }
