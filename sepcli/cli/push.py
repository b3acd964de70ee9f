"""``sepcli push-prior``: a prior's folder to the Hugging Face Hub, checked, in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli import console, tables
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.index import Remote
    from sepcli.catalog.publish import Upload

SHOWN = 10
"""Most names of files that are not uploaded and are listed."""


def push_prior(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of the prior, with its card.toml.")
    ],
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="hf:owner/name[@branch].")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Upload. Default: list what would be uploaded, and stop.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private if it is new.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch; it is created if need be. Default: main.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Access token. Default: HF_TOKEN, else that of `hf auth login`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Upload a prior to the Hugging Face Hub; its card becomes the model card.

    The prior is checked first: hashes, and that its files hold tensors and settings only.
    """
    from sepcli.catalog import index, publish
    from sepcli.catalog.card import HUB

    remote = index.remote(repository, revision) if repository.startswith(HUB) else None
    if remote is None:
        raise UsageError(f"'{repository}' is not the name of a repository", "write hf:owner/name")
    upload = publish.plan(folder, remote.repo)
    if not upload.card.licence:
        console.note(
            f"the card {folder}/card.toml states no licence, without which others may not use it", quiet
        )
    if upload.local_paths:
        console.warn(f"card.toml names paths of this machine, edit it: {', '.join(upload.local_paths)}")
    commit = None
    if yes:
        with console.progress(f"uploading to {remote.repo}", quiet):
            commit = publish.push(upload, remote, private=private, token=token)
    if as_json:
        console.emit_json(_record(upload, remote, private, commit))
        return
    _show(upload, remote, private, commit, quiet)


def _record(upload: Upload, remote: Remote, private: bool, commit: str | None) -> dict[str, Any]:
    return {
        "repo": remote.repo,
        "revision": remote.revision,
        "private": private,
        "files": upload.sizes,
        "bytes": sum(upload.sizes.values()),
        "left_out": list(upload.left_out),
        "commit": commit,
    }


def _show(upload: Upload, remote: Remote, private: bool, commit: str | None, quiet: bool) -> None:
    """Print the files with sizes and where they go, and on stderr what is left out."""
    reference = f"hf:{remote.repo}" + ("" if remote.revision == "main" else f"@{remote.revision}")
    total = f"{len(upload.files)} files, {sum(upload.sizes.values()):,} bytes"
    if commit is not None:
        console.emit(f"{reference}: {total}, commit {commit}")
        console.note(f"fetch it with `sepcli fetch-priors {reference}`", quiet)
        return
    rows = [
        [name + (" (generated)" if isinstance(file, bytes) else ""), f"{upload.sizes[name]:,}"]
        for name, file in upload.files.items()
    ]
    tables.show(["file", "bytes"], rows)
    console.emit(f"{total}, to {reference}{', private if new' if private else ''}")
    if upload.left_out:
        named = ", ".join(upload.left_out[:SHOWN]) + (", …" if len(upload.left_out) > SHOWN else "")
        console.note(f"{len(upload.left_out)} other files of the folder stay here: {named}", quiet)
    console.note("nothing was uploaded; --yes uploads these files", quiet)
