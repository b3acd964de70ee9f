"""The package stays small: what is bundled has a budget in bytes."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.catalog.card import CARD

PACKAGE = Path(cards.__file__).parents[1]
MEGABYTE = 1_000_000
GROUPS = {
    ("slakh-drums", "slakh-bass", "songs", "songs-drums", "songs-bass", "songs-other"): 24,
    ("speech-music", "speech", "music"): 8,
    ("slakh-drums-bass",): 14,
    ("mnist", "mnist-flow", "mnist-lass"): 8,
    ("cifar10",): 5,
    ("toy-waves",): 1,
}
"""Priors and the megabytes that they may have in all."""


def sizes(folder: Path) -> dict[Path, int]:
    """The files of a folder, without what Python compiled."""
    return {
        path: path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_bundled_files_are_within_their_budget() -> None:
    assert sum(sizes(index.BUNDLED).values()) <= 60 * MEGABYTE
    assert max(sizes(PACKAGE).values()) <= 15 * MEGABYTE


@pytest.mark.parametrize(("names", "megabytes"), GROUPS.items())
def test_groups_of_priors_are_within_their_budget(names: tuple[str, ...], megabytes: float) -> None:
    assert sum(sum(sizes(index.BUNDLED / name).values()) for name in names) <= megabytes * MEGABYTE


def test_a_wheel_is_within_its_budget() -> None:
    found = sizes(PACKAGE)
    packed = sum(found.values())
    if packed > 50 * MEGABYTE:  # a wheel is a zip file
        packed = sum(len(zlib.compress(path.read_bytes(), 6)) for path in found)
    assert packed <= 50 * MEGABYTE


@pytest.mark.parametrize(
    "name", sorted(path.parent.relative_to(index.BUNDLED).as_posix() for path in index.BUNDLED.rglob(CARD))
)
def test_cards_say_how_weights_are_stored(name: str) -> None:
    card = cards.read(index.BUNDLED / name)
    for file, entry in card.files.items():
        part = card.parts[Path(file).parent.as_posix()]
        if file.endswith("model.safetensors") and part.storage:
            assert part.storage["type"] == "int8"
            assert 0 < part.storage["relative_error"] < 0.05
            assert entry.size < 8 * MEGABYTE
