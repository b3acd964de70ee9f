"""Errors of the Hub's client as errors of sepcli, whose messages hold neither addresses nor headers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sepcli.errors import OutputError, PriorError, SepError


@contextmanager
def client(repo: str, revision: str) -> Iterator[None]:
    """Silence the log, warnings and bars of the client, and translate its errors.

    Raises:
        PriorError: no network, no such repository or revision, or no access to it.
        OutputError: the cache cannot be written.
    """
    logger = logging.getLogger("huggingface_hub")
    try:
        from huggingface_hub.utils.tqdm import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )

        level, bars = logger.level, not are_progress_bars_disabled()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL + 1)
            disable_progress_bars()
            try:
                yield
            finally:
                logger.setLevel(level)
                if bars:
                    enable_progress_bars()
    except SepError:
        raise
    except Exception as error:
        raise _translated(error, repo, revision) from error


def _translated(error: Exception, repo: str, revision: str) -> SepError:
    """Translate an error of the client, whose message may hold addresses and headers."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return _translated(error.__cause__, repo, revision)
    again = "check the network, then run the same command again: finished files are kept"
    translations: list[tuple[type[Exception], str, str]] = [
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
        (
            errors.GatedRepoError,
            f"the repository {repo} is gated",
            f"accept its licence on {constants.ENDPOINT}/{repo} and set HF_TOKEN to your token",
        ),
        (
            errors.RevisionNotFoundError,
            f"the repository {repo} has no revision {revision}",
            "give a branch, a tag or a commit",
        ),
        (
            errors.RepositoryNotFoundError,
            f"the repository {repo} does not exist or is private",
            "check the name; for a private repository set HF_TOKEN to your token",
        ),
        (
            errors.EntryNotFoundError,
            f"a file of the prior is missing in {repo}",
            "ask its owner, or choose another revision",
        ),
        (errors.HFValidationError, f"'{repo}' is not a valid name of a repository", "write hf:owner/name"),
        (
            errors.FileMetadataError,
            f"{constants.ENDPOINT} is not a Hub",
            "check HF_ENDPOINT and the network's proxy",
        ),
    ]
    for kind, message, hint in translations:
        if isinstance(error, kind):
            return PriorError(message, hint)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return PriorError(
            f"access to {repo} is denied ({status})", "check the token in HF_TOKEN and its rights"
        )
    if status is not None:
        return PriorError(f"the Hub returned an error for {repo} ({status})", "try again later")
    of_network = errors.HfHubHTTPError.__bases__[0]  # the root of the HTTP library that the client uses
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
        return OutputError(
            f"the cache of the Hub cannot be written: {error.strerror}",
            "free some space or make it writable, or choose another folder (HF_HUB_CACHE)",
        )
    if isinstance(error, OSError | of_network):
        return PriorError(f"the connection to the Hub failed for {repo}", again)
    return PriorError(
        f"the client of the Hub failed on {repo} ({type(error).__name__})",
        "check HF_ENDPOINT, or update the package huggingface-hub",
    )
