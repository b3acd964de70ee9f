"""A small server that speaks the part of the Hub's API that fetching and pushing need, and can misbehave.

Model info, resolve with HEAD, and files: small ones served directly, ``.safetensors`` through a redirect to
another host, as from a content delivery network, with ranges. ``hub_uploads`` answers to uploads.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import hub_uploads
import pytest


@dataclass
class Repo:
    """A repository: files per commit, and names of commits."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: Mapping[str, bytes], *names: str) -> str:
        """Add a commit, called ``main`` and other names; returns its hash."""
        seed = repr(sorted((n, hashlib.sha256(data).hexdigest()) for n, data in files.items()))
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs.update(dict.fromkeys(("main", *names), sha))
        return sha


PIECE = 1 << 15
"""Bytes that are sent at once by a server that is slow."""


class Hub:
    """The server's state and switches.

    Attributes:
        repos: owner/name → repository.
        asked: (method, path, range, authorization) of every request of files and infos.
        instead: sha256 → what the delivery network sends instead, of the same announced size or not.
        cut: so many bytes are sent of a file before the connection breaks; None: all.
        cuts: so many answers are cut.
        pace: seconds from each 32 KiB of a large file to the next.
        status: every answer's status; None: what is true.
        stored: sha256 → large files that were uploaded.
        ignored: paths that a .gitignore of the repository leaves out of commits.
        pushed: commits that were uploaded.
    """

    def __init__(self, port: int) -> None:
        self.url, self.delivery = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        self.repos: dict[str, Repo] = {}
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        self.instead: dict[str, bytes] = {}
        self.cut: int | None = None
        self.cuts = 0
        self.pace = 0.0
        self.status: int | None = None
        self.stored: dict[str, bytes] = {}
        self.ignored: set[str] = set()
        self.pushed = 0

    def add(self, name: str, private: bool = False) -> Repo:
        """A new repository."""
        self.repos[name] = Repo(private=private)
        return self.repos[name]

    def publish(self, name: str, folder: Path, *revisions: str) -> str:
        """A folder's files as a commit of a repository; returns its hash."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        return self.repos.setdefault(name, Repo()).commit(files, *revisions)

    def fetched(self) -> list[str]:
        """The paths that were asked for with GET since the last call."""
        paths = [path for method, path, *_ in self.asked if method == "GET"]
        self.asked.clear()
        return paths


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does."""

    hub: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.take()

    def do_PUT(self) -> None:
        self.take()

    def log_message(self, *_: object) -> None: ...

    def take(self) -> None:
        path, authorization = unquote(urlsplit(self.path).path), self.headers.get("Authorization")
        self.hub.asked.append((self.command, path, None, authorization))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, document = hub_uploads.answer(self.hub, path, body, authorization)
        self.send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        if info := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            repo, revision, name = info[1], info[2] or "main", None
        elif file := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo, revision, name = file.groups()
        elif path.startswith("/cdn/"):
            repo = revision = name = ""
        else:
            return self.fail(404, "", "")
        authorization = self.headers.get("Authorization")
        hub.asked.append((self.command, path, self.headers.get("Range"), authorization))
        if hub.status is not None:
            return self.fail(hub.status, "", "")
        if not repo:
            return self.deliver(path.removeprefix("/cdn/"))
        if authorization not in (None, "Bearer hf_good"):
            return self.fail(401, "", "Invalid credentials in Authorization header")
        if repo not in hub.repos:
            return self.fail(401, "RepoNotFound", "Repository not found")
        there = hub.repos[repo]
        if there.private and authorization is None:
            return self.fail(401, "RepoNotFound", "Repository not found")
        commit = there.refs.get(revision, revision)
        if commit not in there.commits:
            return self.fail(404, "RevisionNotFound", "Invalid rev id")
        if name is None:
            return self.info(repo, commit, there.commits[commit])
        if there.gated and authorization is None:
            return self.fail(401, "GatedRepo", "Access to this model is restricted")
        if name not in there.commits[commit]:
            return self.fail(404, "EntryNotFound", "Entry not found")
        self.resolve(commit, name, there.commits[commit][name])

    def info(self, repo: str, commit: str, files: Mapping[str, bytes]) -> None:
        siblings: list[dict[str, Any]] = []
        for name, data in files.items():
            siblings.append({"rfilename": name, "size": len(data), "blobId": git_hash(data)})
            if is_large(name):
                digest = hashlib.sha256(data).hexdigest()
                siblings[-1]["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
        document = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
        document |= {"private": False, "tags": [], "downloads": 0, "likes": 0}
        self.send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def resolve(self, commit: str, name: str, data: bytes) -> None:
        if not is_large(name):
            return self.send(200, data, {"X-Repo-Commit": commit, "ETag": f'"{git_hash(data)}"'})
        digest = hashlib.sha256(data).hexdigest()
        headers = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit}
        self.send(302, b"", {**headers, "Location": f"{self.hub.delivery}/cdn/{digest}"})

    def deliver(self, digest: str) -> None:
        files = (d for r in self.hub.repos.values() for c in r.commits.values() for d in c.values())
        data = next(d for d in files if hashlib.sha256(d).hexdigest() == digest)
        data = self.hub.instead.get(digest, data)
        headers, status = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}, 200
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data = data[start:]
        self.send(status, data, headers)

    def fail(self, status: int, code: str, message: str) -> None:
        self.send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.path.startswith("/cdn/") and self.hub.cut is not None and self.hub.cuts > 0:
            self.hub.cuts -= 1
            data = data[: self.hub.cut]
        if not (self.path.startswith("/cdn/") and self.hub.pace):
            self.wfile.write(data)
            return
        for start in range(0, len(data), PIECE):
            self.wfile.write(data[start : start + PIECE])
            time.sleep(self.hub.pace)


def is_large(name: str) -> bool:
    """Whether the Hub keeps a file in its large file storage."""
    return name.endswith(".safetensors")


def git_hash(data: bytes) -> str:
    """What git calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def running() -> Iterator[Hub]:
    """A server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = Hub(server.server_address[1])
    server.RequestHandlerClass = type("OwnHandler", (Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def as_the_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server that the client of this process takes for the Hub, with an empty cache under ``home``."""
    import huggingface_hub
    from huggingface_hub import constants

    real = constants.HF_HOME
    for name, value in list(vars(constants).items()):
        if isinstance(value, str) and value.startswith(real):
            monkeypatch.setattr(constants, name, str(home) + value.removeprefix(real))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its servers speak another protocol
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        try:
            yield hub
        finally:
            huggingface_hub.close_session()
