"""``sepcli env``: what a bug report says of the machine and the installation, without names of people."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from sepcli import __version__
from sepcli.cli import console
from sepcli.cli.threads import QUOTA, container_share, processors

VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"),
    *("GOMP_SPINCOUNT", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "SEPCLI_DEBUG"),
)
"""Variables of the environment that change results or errors."""


def show_environment(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print versions, devices, threads, caches and extras, for bug reports.

    Names of users and home folders are left out.
    """
    environment = describe()
    if as_json:
        console.emit_json(environment)
        return
    for section, entries in environment.items():
        console.emit(section)
        for name, value in entries.items():
            console.emit(f"  {name}: {value}")


def describe(quota: Path = QUOTA) -> dict[str, dict[str, Any]]:
    """Return section → name → value; ``quota`` is the file of the container's share of the processors."""
    import platform

    core, extras = _packages()
    return {
        "versions": {
            "sepcli": __version__,
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        },
        "packages": {name: _version(name) for name in core},
        "extras": {
            extra: ", ".join(f"{name} {_version(name)}" for name in names) for extra, names in extras.items()
        },
        "devices": _devices(),
        "threads": _threads(quota),
        "caches": _caches(),
        "environment": {
            name: "set" if name == "HF_TOKEN" else without_names(os.environ[name])
            for name in VARIABLES
            if os.environ.get(name)
        },
    }


def without_names(path: str) -> str:
    """Return a path with ~ for the home folder, and USER for the user's name as a part of it."""
    import getpass

    home = os.path.expanduser("~")
    if len(Path(home).parts) > 1 and (path == home or path.startswith(home + os.sep)):
        path = "~" + path[len(home) :]
    with suppress(KeyError, ImportError, OSError):  # a user without a name
        path = re.sub(rf"(?<![^/\\]){re.escape(getpass.getuser())}(?![^/\\])", "USER", path)
    return path


def _packages() -> tuple[list[str], dict[str, list[str]]]:
    """Return the packages that sepcli needs, and those of its extras for users."""
    from importlib import metadata

    core, extras = [], dict[str, list[str]]()
    with suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires("sepcli") or ():
            name = re.split(r"[^\w.-]", requirement)[0]
            extra = re.search(r"extra\s*==\s*['\"](\w+)['\"]", requirement)
            if extra is None:
                core.append(name)
            elif extra[1] != "test":
                extras.setdefault(extra[1], []).append(name)
    return core, extras


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _devices() -> dict[str, str]:
    """Return the devices that PyTorch computes on; a broken installation is an entry."""
    import platform

    try:
        import torch
    except (ImportError, OSError) as error:
        return {"torch": f"cannot be loaded ({type(error).__name__})"}
    devices = {"cpu": platform.processor() or platform.machine()}
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        devices[f"cuda:{number}"] = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    if torch.version.cuda:
        devices["cuda version"] = torch.version.cuda
    if torch.backends.mps.is_available():
        devices["mps"] = "available"
    return devices


def _threads(quota: Path) -> dict[str, Any]:
    """Return the processors, those that this process may use, and the threads of PyTorch."""
    threads: dict[str, Any] = {"processors": os.cpu_count()}
    if hasattr(os, "sched_getaffinity"):
        threads["affinity"] = processors()
    if (share := container_share(quota)) is not None:
        threads["cgroup"] = share
    with suppress(ImportError, OSError):
        import torch

        threads["torch"] = torch.get_num_threads()
    return threads


def _caches() -> dict[str, str]:
    """Return the folders where fetched files are kept, with their sizes."""
    from huggingface_hub import constants

    folders = {"Hugging Face Hub": Path(constants.HF_HUB_CACHE)}
    return {name: f"{without_names(str(folder))}, {_size(folder)}" for name, folder in folders.items()}


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "empty"
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += 0 if path.is_symlink() or path.is_dir() else path.stat().st_size
    return f"{total / 1e6:.1f} MB"
