"""Completion of values in the shell, from the tables; nothing here imports torch.

Values of enumerations, such as those of ``--dataset`` and ``--method``, are completed by typer itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from sepcli.metrics import selectable
from sepcli.priors import FAMILIES
from sepcli.samplers import SAMPLERS
from sepcli.separation.presets import PRESETS

DEVICES = ("auto", "cpu", "cuda", "mps")
IMPORTED = ("ncsn", "diffusers", "vqgan", "imagegpt", "musicgen")
"""Families of checkpoints that are imported."""


def priors(incomplete: str) -> list[str]:
    """Return the names of the catalog, and the folders of priors below the current one."""
    from pathlib import Path

    from sepcli.catalog import index
    from sepcli.catalog.card import CARD

    folders = sorted(path.parent.as_posix() for path in Path().glob(f"*/{CARD}"))
    return _starting((*index.names(), *index.remote_names(), *index.UNPINNED, *folders), incomplete)


def sampling(incomplete: str) -> list[str]:
    """Return the names of what score priors sample from."""
    return [name for name in PRESETS if name.startswith(incomplete)]


def samplers(incomplete: str) -> list[str]:
    """Return the names of samplers."""
    return _starting(SAMPLERS, incomplete)


def metrics(incomplete: str) -> list[str]:
    """Return the names that complete the last of ``a,b,c``."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _starting(selectable(), last)]


def devices(incomplete: str) -> list[str]:
    """Return the names of devices."""
    return _starting(DEVICES, incomplete)


def families(incomplete: str) -> list[str]:
    """Return the names of the families that can be trained."""
    return _starting((name for name, row in FAMILIES.items() if row.training), incomplete)


def presets(incomplete: str) -> list[str]:
    """Return the names of sizes of networks."""
    names = (name for row in FAMILIES.values() if row.training for name in row.presets)
    return _starting(dict.fromkeys(names), incomplete)


def imported_families(incomplete: str) -> list[str]:
    """Return the names of the families of checkpoints that are imported."""
    return _starting(IMPORTED, incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
