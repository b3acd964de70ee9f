"""Which engine separates with a prior that offers both; cards that name score priors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec import structs
from tiny_sound import make_dual, make_sound

from sepcli.catalog import card as cards
from sepcli.catalog import engines, index, resolve
from sepcli.catalog.build import load_separator
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.load_denoisers import MdctEngine
from sepcli.priors.lass.engine import LassEngine
from sepcli.samplers import names
from sepcli.samplers.beam import Beam
from sepcli.samplers.successive_halving import Halving


def test_the_engines_have_these_samplers() -> None:
    assert set(engines.SAMPLERS["lass"]) == set(names("token"))
    assert set(engines.SAMPLERS["score"]) == set(names("signal"))


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
    card = engines.with_engine(*resolve.find(str(folder)), method, sampler, rest)
    assert (card.engine, card.name, card.weights) == (expected, "tiny", (0.5, 0.5))
    assert card.sources == ("drums", "bass")
    if expected == "lass":
        assert (card.defaults("lass"), card.priors, card.sample_rate) == ({"lam": 1.0}, (), 4000)
    else:
        assert card.priors == (str(folder / "beats"), str(folder / "low"))
        assert (card.defaults("score"), card.sample_rate) == ({"steps": 3}, 8000)


def test_a_separator_of_either_engine(tiny_prior: Path, tmp_path: Path) -> None:
    folder = str(make_dual(tmp_path / "both", tiny_prior))
    mixture, seeds = 0.1 * torch.ones(1, 1, 500), torch.tensor([[1]])
    lass = load_separator(folder)
    assert isinstance(lass, LassEngine)
    made = load_separator(folder, method="score")
    assert isinstance(made, MdctEngine)
    assert (made.names, made.weights, made.sample_rate) == (("drums", "bass"), (0.5, 0.5), 8000)
    assert isinstance(made.inner.sampler, Halving)
    assert made.inner.sampler.steps == 3
    torch.testing.assert_close(0.5 * made.sample(mixture, seeds).sum(2)[:, 0], mixture, atol=1e-5, rtol=0)
    beam = load_separator(folder, sampler="beam", settings={"width": "2"})
    assert isinstance(beam, LassEngine)
    assert beam.sampler == Beam(width=2)
    with pytest.raises(UsageError, match="beam"):
        load_separator(folder, method="score", sampler="beam")
    with pytest.raises(UsageError, match="lam"):
        load_separator(folder, method="score", settings={"lam": "1"})
    with pytest.raises(UsageError, match="steps"):
        load_separator(folder, settings={"steps": "1"})


def test_priors_of_one_engine_are_what_they_are(tiny_prior: Path, tiny_images: Path, tmp_path: Path) -> None:
    assert load_separator(str(tiny_images), method="score", settings={"steps": "1"}).sample_rate == 0
    with pytest.raises(UsageError, match="lass"):
        load_separator(str(tiny_images), method="lass")
    with pytest.raises(UsageError, match="tiny"):
        load_separator(str(tiny_prior), method="score")
    with pytest.raises(UsageError, match="violin"):
        load_separator(make_sound(tmp_path / "a", "violin"), method="score")


def test_a_score_prior_may_be_of_the_catalog(
    tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BUNDLED", tmp_path / "bundled")
    make_sound(tmp_path / "bundled" / "kit", "a kit")
    folder = make_dual(tmp_path / "both", tiny_prior)
    cards.write(structs.replace(cards.read(folder), priors=("kit", "low")), folder)
    card, place = resolve.find(str(folder))
    assert engines.score_priors(card, place) == ("kit", str(folder / "low"))
    assert engines.score_priors(card, None) == ("kit",)
    assert load_separator(str(folder), method="score").names == ("drums", "bass")
    cards.write(structs.replace(card, priors=("lost", "low")), folder)
    with pytest.raises(PriorError, match="lost"):
        load_separator(str(folder), method="score")


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
    assert engines.add_rest(names, weights) == expected
