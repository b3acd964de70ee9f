"""What a server answers to uploads, as the Hub's API: repositories, branches, large files, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub_server import Hub

Answer = tuple[int, Mapping[str, Any]]
GOOD = "Bearer hf_good"
"""The authorization that may write to repositories of ``tester``."""


def answer(hub: Hub, path: str, body: bytes, authorization: str | None) -> Answer:
    """Status and document of a POST or PUT; failures have the code of their header in the document."""
    if put := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):  # the address is the permission
        hub.stored[hashlib.sha256(body).hexdigest()] = body
        return (200, {}) if put[1] in hub.stored else (400, {"error": "another content"})
    if hub.status is not None:
        return hub.status, {}
    if authorization != GOOD:
        return 401, {"error": "Invalid username or password."}
    for pattern, work in ROUTES.items():
        if match := re.fullmatch(pattern, path):
            return work(hub, body, *match.groups())
    return 404, {}


def create(hub: Hub, body: bytes) -> Answer:
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    if asked["organization"] != "tester":
        return 403, {"error": "You don't have the rights to create a model under this namespace"}
    if name in hub.repos:
        return 409, {"url": f"{hub.url}/{name}", "error": "You already created this model repo"}
    private = asked.get("visibility") == "private" or asked.get("private") is True
    hub.add(name, private).commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
    return 200, {"url": f"{hub.url}/{name}", "name": name, "id": "1"}


def branch(hub: Hub, body: bytes, repo: str, name: str) -> Answer:
    refs = hub.repos[repo].refs
    if name in refs:
        return 409, {"error": "Reference already exists"}
    refs[name] = refs["main"]
    return 200, {}


def validate(hub: Hub, body: bytes) -> Answer:
    if b"license: nonsense" in body:
        return 400, {"errors": [{"message": '"license" must be one of a list'}], "warnings": []}
    return 200, {"errors": [], "warnings": [{"message": "be warned"}]}


def preupload(hub: Hub, body: bytes, repo: str, revision: str) -> Answer:
    from hub_server import is_large

    files = [
        {
            "path": entry["path"],
            "uploadMode": "lfs" if is_large(entry["path"]) else "regular",
            "shouldIgnore": entry["path"] in hub.ignored,
        }
        for entry in json.loads(body)["files"]
    ]
    return 200, {"files": files}


def batch(hub: Hub, body: bytes, repo: str) -> Answer:
    objects = [
        {
            **asked,
            **(
                {}
                if asked["oid"] in hub.stored
                else {"actions": {"upload": {"href": f"{hub.delivery}/lfs/{asked['oid']}", "header": {}}}}
            ),
        }
        for asked in json.loads(body)["objects"]
    ]
    return 200, {"transfer": "basic", "objects": objects}


def commit(hub: Hub, body: bytes, repo: str, revision: str) -> Answer:
    there = hub.repos[repo]
    files = dict(there.commits[there.refs[revision]])
    for line in map(json.loads, body.splitlines()):
        entry = line["value"]
        if line["key"] == "file":
            files[entry["path"]] = base64.b64decode(entry["content"])
        elif line["key"] == "lfsFile":
            files[entry["path"]] = hub.stored[entry["oid"]]
    main = there.refs["main"]
    sha = there.commit(files, revision)
    there.refs["main"] = sha if revision == "main" else main
    hub.pushed += 1
    return 200, {"commitUrl": f"{hub.url}/{repo}/commit/{sha}", "commitOid": sha, "success": True}


ROUTES: Mapping[str, Callable[..., Answer]] = {
    "/api/repos/create": create,
    "/api/models/([^/]+/[^/]+)/branch/(.+)": branch,
    "/api/validate-yaml": validate,
    "/api/models/([^/]+/[^/]+)/preupload/(.+)": preupload,
    r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch": batch,
    "/api/models/([^/]+/[^/]+)/commit/(.+)": commit,
}
"""Path of a POST → what the Hub does."""
