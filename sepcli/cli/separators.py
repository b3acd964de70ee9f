"""``--prior`` and ``--method`` → what separates: chosen from cards at once, loaded when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sepcli import baselines
from sepcli.cli.python_prior import choose_colorizing_object, choose_objects, is_python, refuse_files
from sepcli.cli.resolve import DEFAULT_PRIOR, Choice, Method, SeparatorOptions
from sepcli.cli.settings import parse_weights
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.priors.selection import Selection
    from sepcli.separation.separator import Separator

COLORIZED = "colorized"
"""The stem of colorization."""
LUMA, MEAN = (0.299, 0.587, 0.114), (1 / 3, 1 / 3, 1 / 3)
"""Weights of red, green and blue, as in ``sepcli.signal.chroma.GRAYS``, which imports torch."""


def choose(priors: Sequence[str], options: SeparatorOptions) -> Choice:
    """Choose what separates, with priors (names, folders, objects of Python files) or without (baselines).

    Raises:
        PriorError: there is no such prior.
        UsageError: the options do not fit the priors or each other.
    """
    refuse_files(priors)
    return choose_objects(priors, options) if any(map(is_python, priors)) else find(priors, options)


def find(priors: Sequence[str], options: SeparatorOptions) -> Choice:
    """Choose among names and folders of priors, of which none is executed, and baselines; see ``choose``."""
    from sepcli.priors.select import choose as choose_cards

    method, weights = options.method, None
    if method is not None and method.is_baseline:
        return _baseline(method, priors, options)
    if options.weights is not None:
        weights = parse_weights(options.weights, options.sources, 2 - options.other)
    selection = choose_cards(
        priors or DEFAULT_PRIOR,
        weights=weights,
        sources=options.sources if weights is None else None,
        engine=None if method is None else method.value,
        sampler=options.sampler,
        settings=options.settings,
        other=options.other,
        samples=options.samples,
        preset=options.preset,
    )
    return _selected(selection, selection.names, priors or (DEFAULT_PRIOR,))


def choose_colorizer(prior: str, gray: str | None, options: SeparatorOptions) -> Choice:
    """Choose what colorizes with a prior of color images; ``gray`` is luma or mean, None for each image's.

    Raises:
        PriorError: there is no such prior.
        UsageError: the prior is not for images.
    """
    from sepcli.priors.select import choose as choose_cards

    refuse_files([prior])
    weights = MEAN if gray == "mean" else LUMA
    if is_python(prior):
        return choose_colorizing_object(prior, weights, COLORIZED, options)
    selection = choose_cards(
        prior,
        colorize=weights,
        sampler=options.sampler,
        settings=options.settings,
        preset=options.preset,
    )
    return _selected(selection, (COLORIZED,), (prior,))


def _load_selection(selection: Selection, device: str) -> Separator:
    from sepcli.api import choose_device
    from sepcli.priors.load import load_selection

    return load_selection(selection, choose_device(device))


def _selected(selection: Selection, names: tuple[str, ...], references: Sequence[str]) -> Choice:
    load = partial(_load_selection, selection)
    pinned = tuple(_pinned(reference) for reference in references)
    return Choice(selection.medium, selection.prior, names, load, references=pinned, notes=selection.notes)


def _pinned(reference: str) -> str:
    """Return the name of a prior on the Hub with its commit; another name as it is."""
    from sepcli.catalog import resolve
    from sepcli.catalog.card import HUB

    if not reference.startswith(HUB):
        return reference
    card, _ = resolve.find(reference)
    return f"{reference.partition('@')[0]}@{card.revision}" if card.revision else reference


def _baseline(method: Method, priors: Sequence[str], options: SeparatorOptions) -> Choice:
    given = {
        "prior": bool(priors),
        "weights": options.weights,
        "sources": options.sources,
        "sampler": options.sampler,
        "samples": options.samples > 1,
        "preset": options.preset,
        "other": options.other,
    }
    for option in (option for option, present in given.items() if present):
        raise UsageError(
            f"--method {method} has no use for --{option}: it has no prior", f"leave out --{option}"
        )

    libraries = ("librosa", "scipy", "scikit-learn")
    load = partial(_load_baseline, method, dict(options.settings))
    return Choice("audio", method.value, baselines.SOURCES, load, libraries, on_cpu=True)


def _load_baseline(method: Method, settings: Mapping[str, str], device: str) -> Separator:
    from sepcli.baselines.engine import BaselineEngine
    from sepcli.priors.load import split_settings
    from sepcli.separation.separator import Separator
    from sepcli.separation.settings import StreamSettings
    from sepcli.settings import parse

    if device not in ("auto", "cpu"):
        raise UsageError(f"--method {method} computes on the CPU, not on {device}", "leave out --device")
    stream, unknown = split_settings(settings)
    for key in unknown:
        raise UsageError(
            f"unknown setting '{key}'", f"--method {method} has only settings of windows and masks"
        )
    return Separator.of(
        BaselineEngine(method.value),
        stream=parse(StreamSettings, {**baselines.STREAM, **stream}),
        provenance={"prior": None, "rule": baselines.BASELINES[method].rule},
    )
