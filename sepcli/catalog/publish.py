"""Priors on their way to the Hub: what is uploaded of a folder, its checks, and the commit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from sepcli.catalog import card as cards
from sepcli.catalog import hub
from sepcli.catalog.card import CARD, HUB, Card
from sepcli.catalog.files import with_inner
from sepcli.catalog.hub_errors import client
from sepcli.catalog.index import Remote, inner_priors
from sepcli.catalog.model_card import README, model_card
from sepcli.errors import OutputError, PriorError

LICENCE = "LICENSE"
SUFFIXES = frozenset({".safetensors", ".json"})
"""Suffixes of the files of a prior: tensors and configs, which run no code when they are read."""
LOCAL = re.compile(r"""(?<![\w.:/])(?:/|[A-Za-z]:\\)[\w.-]+[/\\][^\s,;'"]*""")
"""An absolute path in a text."""
MAIN = "main"
"""The branch that every repository of the Hub has."""


@dataclass(frozen=True)
class Upload:
    """What is uploaded of a prior's folder.

    Attributes:
        card: of the prior.
        files: path in the repository → file of the folder, or the content of a generated one.
        left_out: other files of the folder.
    """

    card: Card
    files: Mapping[str, Path | bytes]
    left_out: tuple[str, ...]

    @property
    def local_paths(self) -> list[str]:
        """Absolute paths in the card, such as those of commands, which name folders of this machine."""
        return sorted(
            {path for text in _texts(msgspec.to_builtins(self.card)) for path in LOCAL.findall(text)}
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Path in the repository → size in bytes."""
        return {
            name: len(file) if isinstance(file, bytes) else file.stat().st_size
            for name, file in self.files.items()
        }


def plan(folder: Path, repo: str) -> Upload:
    """Check a prior and name what is uploaded: its cards, the files that they list, model card and licence.

    Args:
        folder: of the prior.
        repo: owner/name, for the model card; one in the folder goes before the generated one.

    Raises:
        PriorError: there is no card, a file is missing, damaged, not listed, of a kind that could run code,
            or outside the folder.
    """
    if not (folder / CARD).is_file():
        raise PriorError(
            f"the folder {folder} holds no {CARD}", "train a prior into it with `sepcli train-prior`"
        )
    card = cards.read(folder)
    whole = with_inner(card, folder)
    if not whole.files and not card.priors:
        raise PriorError(f"the card {folder / CARD} lists no files", "train the prior's parts first")
    inner = inner_priors(card)
    for part in ("", *inner):
        _check_listed(folder / part)
    named = (CARD, *(f"{part}/{CARD}" for part in inner), *whole.files)
    extra = [name for name in (README, LICENCE) if (folder / name).is_file()]
    files: dict[str, Path | bytes] = {name: folder / name for name in sorted({*named, *extra})}
    for name in files:
        _check_inside(name, folder)
    for name in whole.files:
        _check_harmless(name, folder)
    cards.verify(whole, folder)
    files.setdefault(README, model_card(card, f"{HUB}{repo}").encode())
    present = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Upload(card, files, tuple(sorted(name for name in present if name not in files)))


def push(upload: Upload, remote: Remote, *, private: bool = False, token: str | None = None) -> str:
    """Upload a prior in one commit, and compare what the Hub then lists; return the commit.

    Args:
        upload: what ``plan`` returned.
        remote: repository and branch, which are created if they do not exist.
        private: whether a new repository is private.
        token: access token; None: that of the Hub's client.

    Raises:
        PriorError: the client is offline.
        OutputError: no token, no access, no connection, or the Hub refuses or changes a file.
    """
    if hub.is_offline():
        raise PriorError("HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE")
    try:
        with client(remote.repo, remote.revision):
            commit = _commit(upload, remote, private, token)
        there = hub.listing(remote.repo, commit, token)
    except PriorError as error:
        raise OutputError(f"cannot push: {error.message}", error.hint) from error
    for name, file in upload.files.items():
        if not _is_alike(file, there.files.get(name)):
            raise OutputError(
                f"{name} of {remote.repo} differs from the folder after the upload",
                "run the same command again; a .gitignore in the repository may leave files out",
            )
    return there.commit


def _commit(upload: Upload, remote: Remote, private: bool, token: str | None) -> str:
    """Create repository and branch if need be, and commit all files at once; return the commit."""
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if token is None and get_token() is None:
        raise OutputError("cannot push: there is no access token", "set HF_TOKEN, or run `hf auth login`")
    api = HfApi(token=token)
    api.create_repo(remote.repo, private=private or None, exist_ok=True)
    if remote.revision != MAIN and not remote.revision.startswith("refs/"):
        api.create_branch(remote.repo, branch=remote.revision, exist_ok=True)
    additions = [CommitOperationAdd(name, file) for name, file in upload.files.items()]
    message = f"Upload the prior {upload.card.name} with sepcli"
    try:
        commit = api.create_commit(remote.repo, additions, commit_message=message, revision=remote.revision)
    except ValueError as error:
        if README not in str(error):
            raise
        raise OutputError(f"the Hub refuses the metadata of {README}", "correct its YAML head") from error
    return str(commit.oid)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of nested mappings and sequences."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _check_listed(folder: Path) -> None:
    """Refuse a folder whose card does not list a file of its parts."""
    listed = cards.read(folder).files
    for path in cards.part_files(folder):
        if path.relative_to(folder).as_posix() not in listed:
            raise PriorError(f"the card {folder / CARD} does not list {path}", "finish its training first")


def _check_inside(name: str, folder: Path) -> None:
    """Refuse a file that a link leads out of the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise PriorError(f"{folder / name} is a link out of the folder", "copy the file into the folder")
    if not path.is_file():
        raise PriorError(f"the prior in {folder} lacks its file {name}", "fetch or train it again")


def _check_harmless(name: str, folder: Path) -> None:
    """Refuse what is neither safetensors nor JSON, by name and content: a pickle could run code."""
    from safetensors import SafetensorError, safe_open

    suffix = PurePosixPath(name).suffix.lower()
    try:
        if suffix == ".safetensors":
            with safe_open(folder / name, framework="numpy"):
                return
        elif suffix == ".json":
            json.loads((folder / name).read_text(encoding="utf-8-sig"))
            return
    except (SafetensorError, ValueError, RecursionError) as error:
        raise PriorError(
            f"{folder / name} is damaged or of another kind than its name", cards.DAMAGED
        ) from error
    raise PriorError(
        f"{folder / name} is neither safetensors nor JSON, and may run code when it is read",
        "convert it with `sepcli import-prior`",
    )


def _is_alike(file: Path | bytes, entry: hub.RemoteFile | None) -> bool:
    """Whether a file has the hash that the Hub lists."""
    if entry is None:
        return False
    if entry.sha256 is None:
        return entry.git == hub.git_hash(file if isinstance(file, bytes) else file.read_bytes())
    return entry.sha256 == (sha256(file).hexdigest() if isinstance(file, bytes) else cards.sha256(file))
