"""The one loader: what ``sepcli.priors.select.choose`` chose → ``Separator``.

The row of a card's part in ``FAMILIES`` names the function that makes its engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch

from sepcli.errors import PriorError, UsageError
from sepcli.priors import resolve
from sepcli.priors.complete import check_complete, family_of
from sepcli.priors.select import choose
from sepcli.priors.selection import SCORE, Selection
from sepcli.separation.colorize import Colorizer
from sepcli.separation.presets import DRAWS, ESTIMATE
from sepcli.separation.separator import Separator
from sepcli.separation.settings import StreamSettings
from sepcli.settings import parse

STREAM = tuple(field.name for field in fields(StreamSettings) if field.name != "keep_samples")
"""The settings that are of windows and consistency, not of the engine."""


def load_selection(selection: Selection, device: str | torch.device = "cpu") -> Separator:
    """Load the priors that ``choose`` chose, verify all of their files, and make what separates with them.

    Raises:
        PriorError: a prior is damaged or incomplete.
        UsageError: the priors do not fit each other; an unknown sampler or setting, or a value out of range.
    """
    audio = selection.medium == "audio"
    given, others = split_settings(selection.settings) if audio else ({}, selection.settings)
    stream = {**_card_stream(selection), **given} if audio else {}
    parse(StreamSettings, stream)  # before anything is loaded
    chosen = replace(selection, settings=others)
    make = resolve(_separator(chosen))
    for card in chosen.cards:
        check_complete(card, chosen.engine)
    try:
        loaded = make(chosen, torch.device(device))
    except UsageError as error:
        raise _of_preset(error, chosen) from error
    for files in chosen.files:
        files.verify_others()
    colorizer = loaded if isinstance(loaded, Colorizer) else None
    engine = loaded if colorizer is None else colorizer.engine(chosen.weights)
    if audio:
        stream.setdefault("consistency", "residual" if engine.interference_trained else "wiener")
        if stream["consistency"] == "none":
            stream["samples"] = 1  # bare estimates: a mean of samples is no sample
    return Separator.of(
        engine,
        stream=parse(StreamSettings, stream),
        groups=chosen.groups(),
        colorizer=colorizer,
        provenance=chosen.provenance(),
        fit=chosen.fit_reference,
    )


def describe_images(prior: str) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return channels, height and width of a prior's images and its classes, without loading weights.

    Raises:
        PriorError: there is no such prior, it is not of images, or its config is damaged.
    """
    selection = choose(prior)
    row = family_of(selection.cards[0], selection.engine)
    if selection.medium != "image" or not row.shape:
        raise PriorError(f"prior {selection.prior} is not of images", "choose another", argument="priors")
    shape: tuple[tuple[int, int, int], tuple[str, ...]]
    shape = resolve(row.shape)(selection.cards[0], selection.files[0])
    return shape


def _separator(selection: Selection) -> str:
    """The reference of the function that makes the engine, or the colorizer."""
    rows = [family_of(card, selection.engine) for card in selection.cards]
    references = {row.colorizer if selection.colorize else row.separator[selection.medium] for row in rows}
    if len(references) > 1:
        kinds = ", ".join(f"{card.name} {row.name}" for card, row in zip(selection.cards, rows, strict=True))
        raise UsageError(
            f"priors of these families do not separate together: {kinds}",
            "choose priors of one family",
            argument="priors",
        )
    return references.pop()


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of ``StreamSettings``, and the others.

    ``draws`` is the command line's key of ``samples``; a ``reference_rms`` of 0 leaves the mixture as it is.
    """
    named = {"samples" if key == "draws" else key: value for key, value in settings.items()}
    if str(named.get("reference_rms")) in ("0", "0.0"):
        named["reference_rms"] = None
    stream = {key: value for key, value in named.items() if key in STREAM}
    return stream, {key: value for key, value in named.items() if key not in STREAM}


def _of_preset(error: UsageError, selection: Selection) -> UsageError:
    """Return an error about a setting with the name of the preset, which may be a default."""
    if selection.preset.name != DRAWS or not (error.argument or "").startswith("settings."):
        return error
    hint = f"{error.hint}; these are of the preset {DRAWS}, the preset {ESTIMATE} has others"
    return UsageError(error.message, hint, argument=error.argument)


def _card_stream(selection: Selection) -> dict[str, Any]:
    """The card's settings of windows and consistency; the excess of confidence is of its default samples."""
    stream, unknown = split_settings(selection.stream)
    try:
        parse(StreamSettings, {**stream, **unknown})
    except UsageError as error:
        raise PriorError(
            f"the card of {selection.prior}: {error.message}", "restore the prior's folder"
        ) from error
    if selection.engine != SCORE or selection.other or not selection.samples_by_default:
        stream.pop("confidence_excess", None)
    return stream
