"""Training that starts from the weights of a trained prior."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sepcli.catalog import resolve
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.verified import verified
from sepcli.errors import PriorError


def start_from(network: nn.Module, init: str, part: str, load: Callable[[Files], nn.Module]) -> None:
    """Copy the weights of a part of a prior, name or folder, into a network of the same shape.

    Raises:
        PriorError: there is no such prior, it is damaged, or it is of another network.
    """
    card, folder = resolve.find(init)
    check_part(card, part)
    before = load(verified(card, folder)).state_dict()
    try:
        network.load_state_dict(before)
    except RuntimeError as error:
        raise another_network(card) from error


def check_part(card: Card, part: str, argument: str = "init") -> None:
    """Check that a prior, given by an argument, has the part that is to be trained.

    Raises:
        PriorError: it does not.
    """
    if part not in card.parts:
        raise another_network(card, argument)


def another_network(card: Card, argument: str = "init") -> PriorError:
    """Return the error of a prior, given by an argument, from which training cannot start."""
    return PriorError(
        f"prior {card.name} is of another network than the one to be trained",
        "choose the family, preset and settings that it was trained with",
        argument=argument,
    )
