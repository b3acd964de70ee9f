"""Files of a prior that are hashed as they are read: what is verified is what is loaded.

A loader gets ``Verified`` for a prior with a card, and a ``Path`` for what this program has just written.
Nothing is read that the card does not list, whatever else lies in the folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from msgspec import structs

from sepcli.catalog import card as cards
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.errors import PriorError


@dataclass(frozen=True)
class Verified:
    """A folder of a prior, or a file in it; fulfils ``Files``.

    Attributes:
        card: lists the files with size and sha256.
        folder: the prior's.
        path: inside the folder.
        intact: the files that were read, shared by the folders and files in a folder.
    """

    card: Card
    folder: Path
    path: str = ""
    intact: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The last component of its path."""
        return self.path.rpartition("/")[2] or self.folder.name

    def __str__(self) -> str:
        return str(self.folder / self.path)

    def __truediv__(self, name: str, /) -> Self:
        """Return a file or folder in this one."""
        return type(self)(self.card, self.folder, f"{self.path}/{name}".lstrip("/"), self.intact)

    def listed(self) -> list[str]:
        """Return the paths, in this folder, of the files that the card lists."""
        start = f"{self.path}/" if self.path else ""
        return [name.removeprefix(start) for name in self.card.files if name.startswith(start)]

    def is_dir(self) -> bool:
        """Whether the card lists a file in this folder."""
        return any(name.startswith(f"{self.path}/") for name in self.card.files)

    def is_file(self) -> bool:
        """Whether the card lists this file."""
        return self.path in self.card.files

    def read_bytes(self) -> bytes:
        """Return the contents of the file, which are those of the card; the file is read once.

        Raises:
            PriorError: the card does not list it; it is missing, cannot be read or differs from the card.
        """
        if self.path not in self.card.files:
            raise PriorError(
                f"the card of prior {self.card.name} does not list {self.path}, which is not verified",
                "fetch or train the prior again",
            )
        data = cards.read_intact(self.card, self.folder, self.path)
        self.intact.add(self.path)
        return data

    def verify_others(self) -> None:
        """Verify the listed files that were not read, so that every file is hashed once.

        Raises:
            PriorError: see ``card.verify``.
        """
        others = {name: entry for name, entry in self.card.files.items() if name not in self.intact}
        cards.verify(structs.replace(self.card, files=others), self.folder)


def verified(card: Card, folder: Path) -> Verified:
    """Return a folder whose listed files have all been verified once; see ``card.verify``.

    Raises:
        PriorError: a file is missing, cannot be read or differs from the card.
    """
    cards.verify(card, folder)
    return Verified(card, folder)


def digest(file: Files) -> str:
    """Return the sha256 of a file as hex digest."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
