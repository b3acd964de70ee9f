"""Which engine separates with a prior that offers both; cards that name score priors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loading import engine_of
from msgspec import structs
from tiny_sound import make_dual, make_sound

from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.engine import AudioEngine
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.select import add_other, choose
from sepcli.samplers.beam import Beam
from sepcli.samplers.successive_halving import Halving


@pytest.mark.parametrize(
    ("usual", "method", "sampler", "rest", "expected"),
    [
        (None, None, None, False, "lass"),
        ("lass", None, None, False, "lass"),
        ("score", None, None, False, "score"),
        ("score", "lass", None, False, "lass"),
        (None, "score", None, False, "score"),
        (None, None, "halving", False, "score"),
        ("score", None, "beam", False, "lass"),
        ("score", None, "magic", False, "score"),
        (None, None, "magic", False, "lass"),
        (None, "lass", "halving", False, "lass"),  # the sampler is then refused
        (None, None, None, True, "score"),
        (None, None, "beam", True, "score"),
    ],
)
def test_the_engine_is_what_was_asked_for_or_the_cards_own(
    tiny_prior: Path,
    tmp_path: Path,
    usual: str | None,
    method: str | None,
    sampler: str | None,
    rest: bool,
    expected: str,
) -> None:
    folder = make_dual(tmp_path / "both", tiny_prior, usual)
    found = choose(str(folder), engine=method, sampler=sampler, other=rest)
    assert (found.engine, found.prior, found.weights[:2]) == (expected, "tiny", (0.5, 0.5))
    assert found.names == ("drums", "bass", *(("other",) if rest else ()))
    if expected == "lass":
        assert (found.defaults, found.folders, found.sample_rate) == ({"lam": 1.0}, (folder,), 4000)
    else:
        assert found.folders == (folder / "beats", folder / "low")
        assert (found.defaults, found.sample_rate) == ({"steps": 3}, 8000)


def test_a_separator_of_either_engine(tiny_prior: Path, tmp_path: Path) -> None:
    folder = str(make_dual(tmp_path / "both", tiny_prior))
    mixture, seeds = 0.1 * torch.ones(1, 1, 500), torch.tensor([[1]])
    lass = engine_of(folder)
    assert isinstance(lass, LassEngine)
    made = engine_of(folder, engine="score")
    assert isinstance(made, AudioEngine)
    assert (made.names, made.weights, made.sample_rate) == (("drums", "bass"), (0.5, 0.5), 8000)
    assert isinstance(made.inner.sampler, Halving)
    assert made.inner.sampler.steps == 3
    torch.testing.assert_close(0.5 * made.sample(mixture, seeds).sum(2)[:, 0], mixture, atol=1e-5, rtol=0)
    beam = engine_of(folder, sampler="beam", settings={"width": "2"})
    assert isinstance(beam, LassEngine)
    assert beam.sampler == Beam(width=2)
    with pytest.raises(UsageError, match="beam"):
        engine_of(folder, engine="score", sampler="beam")
    with pytest.raises(UsageError, match="lam"):
        engine_of(folder, engine="score", settings={"lam": "1"})
    with pytest.raises(UsageError, match="steps"):
        engine_of(folder, settings={"steps": "1"})


def test_priors_of_one_engine_are_what_they_are(tiny_prior: Path, tiny_images: Path, tmp_path: Path) -> None:
    assert engine_of(str(tiny_images), engine="score", settings={"steps": "1"}).sample_rate == 0
    with pytest.raises(UsageError, match="lass"):
        engine_of(str(tiny_images), engine="lass")
    with pytest.raises(UsageError, match="tiny"):
        engine_of(str(tiny_prior), engine="score")
    with pytest.raises(UsageError, match="violin"):
        engine_of(make_sound(tmp_path / "a", "violin"), engine="score")


def test_a_score_prior_may_be_of_the_catalog(
    tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BUNDLED", tmp_path / "bundled")
    make_sound(tmp_path / "bundled" / "kit", "a kit")
    folder = make_dual(tmp_path / "both", tiny_prior)
    cards.write(structs.replace(cards.read(folder), priors=("kit", "low")), folder)
    card, place = resolve.find(str(folder))
    assert index.score_priors(card, place) == ("kit", str(folder / "low"))
    assert index.score_priors(card, None) == ("kit",)
    assert engine_of(str(folder), engine="score").names == ("drums", "bass")
    cards.write(structs.replace(card, priors=("lost", "low")), folder)
    with pytest.raises(PriorError, match="lost"):
        engine_of(str(folder), engine="score")


@pytest.mark.parametrize(
    ("names", "weights", "expected"),
    [
        (("a",), (1.0,), (("a", "other"), (1.0, 1.0))),
        (("a", "b"), (0.5, 0.5), (("a", "b", "other"), (0.5, 0.5, 0.5))),
        (("a", "b"), (0.5, 2.0), (("a", "b", "other"), (0.5, 2.0, 1.0))),
        (("a", "b"), (0.5, 2.0, 3.0), (("a", "b", "other"), (0.5, 2.0, 3.0))),
        (("other",), (1.0,), (("other-1", "other-2"), (1.0, 1.0))),
    ],
)
def test_the_rest_is_mixed_like_the_others(
    names: tuple[str, ...], weights: tuple[float, ...], expected: tuple[object, object]
) -> None:
    assert add_other(names, weights) == expected
