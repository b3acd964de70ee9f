"""The Hugging Face Hub: calls of its client.

Files lie in the client's cache, ``models--OWNER--NAME/{blobs,snapshots/COMMIT,refs}``, where
``HF_HOME``, ``HF_HUB_CACHE``, ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` have their
standard meaning.
The client reads them when it is imported, which happens inside the functions below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sepcli.catalog.hub_errors import client
from sepcli.errors import OutputError, PriorError

TIMEOUT = 10.0
"""Timeout of the first response of the Hub, in seconds."""
LARGEST_SMALL = 1_000_000
"""Largest size, in bytes, of a file that is fetched by its name before its hash is available."""

INCOMPLETE = re.compile(r"([0-9a-f]{40,64})\.[0-9a-f]{8}\.incomplete")
"""Names of unfinished downloads: the hash of the file, and a number of the download."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        size: in bytes; None if the Hub does not state it.
        sha256: hex digest; None for small files.
        git: SHA-1 of small files, as git computes it; None for large files.
    """

    size: int | None
    sha256: str | None
    git: str | None = None


@dataclass(frozen=True)
class Listing:
    """A revision of a repository.

    Attributes:
        commit: its full hash.
        files: path → size and hash; the paths are chosen by the owner of the repository.
    """

    commit: str
    files: Mapping[str, RemoteFile]


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def listing(repo: str, revision: str, token: str | None = None) -> Listing:
    """Return commit and files of a revision, from the Hub.

    Args:
        repo: owner/name.
        revision: branch, tag or commit.
        token: another than the client's.

    Raises:
        PriorError: no network, no such repository or revision, or no access to it.
    """
    with client(repo, revision):
        from huggingface_hub import HfApi

        info = HfApi(token=token).model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
        files = {
            entry.rfilename: RemoteFile(entry.size, entry.lfs.sha256)
            if entry.lfs
            else RemoteFile(entry.size, None, entry.blob_id)
            for entry in info.siblings or ()
        }
        return Listing(str(info.sha), files)


def lookup(repo: str, name: str, revision: str, cache_dir: Path | None = None) -> Path | None:
    """Return the path of a file in the cache, without the network; None if it is not there."""
    with client(repo, revision):
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(repo, name, cache_dir=cache_dir, revision=revision)
        return Path(path) if isinstance(path, str) else None


def download(
    repo: str,
    name: str,
    revision: str,
    cache_dir: Path | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> Path:
    """Fetch a file into the cache, unless it is there; a broken connection is resumed where it stopped.

    Args:
        repo: owner/name.
        name: path in the repository.
        revision: branch, tag or commit.
        cache_dir: another cache than the client's.
        on_bytes: called with the number of bytes that are there.

    Returns:
        Its path in the snapshot of its commit.

    Raises:
        PriorError: no network, no such file, or no access to it.
        OutputError: the cache cannot be written.
    """
    with client(repo, revision):
        from huggingface_hub import hf_hub_download

        bar = None if on_bytes is None else _bar(on_bytes)
        return Path(hf_hub_download(repo, name, revision=revision, cache_dir=cache_dir, tqdm_class=bar))


def download_small(
    repo: str, name: str, revision: str, there: Listing, cache_dir: Path | None = None
) -> Path:
    """Fetch a small file by the name of a revision, for later use offline, and check its git hash.

    Args:
        repo: owner/name.
        name: path in the repository.
        revision: branch, tag or commit.
        there: the listing of the revision.
        cache_dir: another cache than the client's.

    Returns:
        Its path in the snapshot of the listing's commit.

    Raises:
        PriorError: it is too large, damaged, or of another commit; see also ``download``.
        OutputError: the cache cannot be written.
    """
    if (there.files[name].size or 0) > LARGEST_SMALL:
        raise PriorError(
            f"{name} of {repo} has more than {LARGEST_SMALL:,} bytes", "choose another repository"
        )
    for _ in range(2):  # a damaged file of the cache is fetched again, once
        path = download(repo, name, revision, cache_dir)
        if snapshot(path, name).name != there.commit:
            raise PriorError(f"{repo} changed during the download", "run the same command again")
        if there.files[name].git in (None, git_hash(path.read_bytes())):
            return path
        discard(path)
    raise PriorError(
        f"{name} of {repo} differs from the listing of the Hub",
        "nothing was kept; report it to the owner, or choose another repository",
    )


def remove_leftovers(repo: str, cache_dir: Path | None = None) -> None:
    """Remove what killed downloads of a repository left in the cache.

    The client neither resumes nor removes it. Files that another process is downloading stay: it holds their
    locks.
    """
    from filelock import FileLock, Timeout
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir)
    name = f"models--{repo.replace('/', '--')}"
    for path in (cache / name / "blobs").glob("*.incomplete"):
        if match := INCOMPLETE.fullmatch(path.name):
            lock = cache / ".locks" / name / f"{match[1]}.lock"
            with suppress(OSError, NotImplementedError, Timeout):
                lock.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(lock, timeout=0):
                    path.unlink()


def recorded(path: Path) -> str | None:
    """Return the hash that names a cached file: sha256 if large, git's SHA-1 if small; None if unknown."""
    return path.readlink().name if path.is_symlink() else None


def git_hash(data: bytes) -> str:
    """Return the SHA-1 that git computes of a file."""
    from huggingface_hub.utils.sha import git_hash as hash_of

    return hash_of(data)


def snapshot(path: Path, name: str) -> Path:
    """Return the folder of a commit from the path of one of its files."""
    return path.parents[len(PurePosixPath(name).parts) - 1]


def discard(path: Path) -> None:
    """Remove a file from the cache: its link in the snapshot and the blob that the link points to.

    Raises:
        OutputError: the cache cannot be written.
    """
    try:
        while path.is_symlink():
            target = path.parent / path.readlink()
            path.unlink()
            path = target
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot remove the damaged file {path}: {error.strerror}", "remove it yourself"
        ) from error


def _bar(on_bytes: Callable[[int], None]) -> type[Any]:
    """Return a progress bar class for the client that shows nothing and calls ``on_bytes``."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, initial: int = 0, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]
            self.received = initial

        def update(self, n: float | None = 1) -> None:
            self.received += int(n or 0)
            on_bytes(self.received)

    return Bar
