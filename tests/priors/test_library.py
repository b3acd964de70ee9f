"""Classes of optional packages: without the package, with an old one, and with one made for another torch."""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import ModuleType

import pytest

from sepcli.errors import PriorError
from sepcli.priors.library import load_class

WHAT = "faces"
INSTALLED = "safetensors"
"""A package with metadata, in whose place the tests put modules."""


class StandIn:
    _backends = ("torch",)


class Broken(ModuleType):
    def __getattr__(self, name: str) -> object:
        raise AttributeError(f"module 'torch' has no attribute '{name}'")


def refused(name: str, library: str = INSTALLED, oldest: tuple[int, ...] = ()) -> PriorError:
    with pytest.raises(PriorError) as error:
        load_class(library, name, "extra", WHAT, oldest)
    assert WHAT in error.value.message
    return error.value


def test_a_class_is_returned() -> None:
    import safetensors

    assert load_class(INSTALLED, "safe_open", "extra", "x", (0, 1)) is safetensors.safe_open


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nowhere", None)
    error = refused("Network", "nowhere")
    assert "nowhere" in error.message
    assert "sepcli[extra]" in error.hint


@pytest.mark.parametrize("name", ["safe_open", "NewerNetwork"])
def test_a_package_that_is_too_old(name: str) -> None:
    error = refused(name, oldest=(999, 0))
    assert "999.0" in error.message
    assert version(INSTALLED) in error.message
    assert "sepcli[extra]" in error.hint


@pytest.mark.parametrize("stand_in", [True, False])
def test_a_package_made_for_another_torch(monkeypatch: pytest.MonkeyPatch, stand_in: bool) -> None:
    module = ModuleType(INSTALLED) if stand_in else Broken(INSTALLED)
    if stand_in:
        module.Network = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, INSTALLED, module)
    error = refused("Network")
    assert version("torch") in error.message
    assert version(INSTALLED) in error.message
    assert "torch" in error.hint


def test_a_package_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("nowhere")
    module.Network = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nowhere", module)
    assert load_class("nowhere", "Network", "extra", WHAT, (999, 0)) is object
    monkeypatch.setitem(sys.modules, "nowhere", Broken("nowhere"))
    assert version("torch") in refused("Network", "nowhere", (999, 0)).message
