"""``examples/reproduce/finish_card.py``: settings and figures into a card."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.measured import Draws
from sepcli.evaluation.cross_likelihood import CrossLikelihood
from sepcli.separation.presets import DRAWS, PRESETS

PROGRAM = Path(__file__).parents[2] / "examples" / "reproduce" / "finish_card.py"
KINDS = {"images": ("image", "score"), "encoders": ("audio", "variational")}


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finish_card", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def priors(tmp_path: Path) -> Path:
    """A folder of fresh cards, one of each kind."""
    for name, (medium, engine) in KINDS.items():
        (tmp_path / name).mkdir()
        rate = 0 if medium == "image" else 8000
        parts = {"part": cards.Part("part")}
        card = Card(
            name=name, medium=medium, engine=engine, sources=("digit",), sample_rate=rate, parts=parts
        )
        cards.write(card, tmp_path / name)
    return tmp_path


def report(metric: str, **means: float | None) -> dict[str, Any]:
    stems = {stem: {"mean": mean, "median": mean, "ci95": [mean, mean]} for stem, mean in means.items()}
    protocol = {"dataset": "pairs", "mixture": "a sum", "tracks": 1, "version": "1", "seed": 0}
    return {"protocol": protocol, "results": {metric: {"sepcli": stems}}}


def write(folder: Path, **reports: dict[str, Any]) -> list[str]:
    """The words for reports, written there."""
    for name, document in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return [f"{name}={folder / f'{name}.json'}" for name in reports]


def test_settings_come_from_another_prior_and_single_words(program: ModuleType, priors: Path) -> None:
    words = [str(priors / "images"), "--like", "mnist", "--set", "candidates=8", "rho=2.5", "note=a=b"]
    assert program.main(words) == 0
    card, model = cards.read(priors / "images"), resolve.find("mnist")[0]
    assert (card.name, card.title, set(card.parts)) == ("images", model.title, {"part"})
    assert card.defaults("score") == {**model.defaults("score"), "candidates": 8, "rho": 2.5, "note": "a=b"}
    assert isinstance(card.defaults("score")["candidates"], int)


def test_figures_have_no_numbers_that_reports_lack(program: ModuleType, priors: Path) -> None:
    known = report("sdr", drums=1.236, bass=None)
    known["protocol"]["settings"] = {"method": "lass", "samples": 4, "prior": "tiny"}
    assert program.main([str(priors / "images"), "--figures", *write(priors, lass=known)]) == 0
    assert cards.read(priors / "images").figures == {
        "lass": {
            "dataset": "pairs",
            "mixture": "a sum",
            "tracks": 1,
            "version": "1",
            "method": "lass",
            "samples": 4,
            "sdr": {"sepcli": {"drums": {"mean": 1.24, "median": 1.24, "ci95": [1.24, 1.24]}, "bass": {}}},
        }
    }


def test_what_has_no_unit_keeps_four_digits_and_images_their_cost(program: ModuleType, priors: Path) -> None:
    seen = {**report("ssim", digit=0.98765), "cost": {"evaluations": 50, "seconds_per_pair": 0.123456}}
    assert program.main([str(priors / "images"), "--figures", *write(priors, seen=seen)]) == 0
    figures = cards.read(priors / "images").figures["seen"]
    assert figures["ssim"]["sepcli"]["digit"]["mean"] == 0.9877
    assert figures["cost"] == {"evaluations": 50, "seconds_per_pair": 0.1235}


def test_a_cross_likelihood_gives_verdict_and_margins(program: ModuleType, priors: Path) -> None:
    values = np.zeros((2, 2, 3))
    values[0, 0], values[1, 1] = [1.23456, 1.23456, 1.23456], [-0.00012, 0.00036, 0.00012]
    how = {"data": "somewhere/toys", "noise": 0.1, "device": "cpu", "seed": 0}
    found = CrossLikelihood(("sine", "square"), ("a", "b"), values, how)
    words = ["--figures", *write(priors, cross=found.as_dict())]
    assert program.main([str(priors / "encoders"), *words]) == 0
    figures = cards.read(priors / "encoders").figures["cross"]
    assert figures["verdict"] == found.sentence()
    assert (figures["dataset"], figures["noise"], figures["n"]) == ("toys", 0.1, 3)
    assert figures["margins"]["sine"] == {"against": "square", "margin": 1.23, "ci95": [1.23, 1.23]}
    assert figures["margins"]["square"] == {"against": "sine", "margin": 0.00012, "ci95": [-0.00012, 0.00036]}


def test_a_cross_likelihood_of_one_item_has_no_interval(program: ModuleType, priors: Path) -> None:
    how = {"data": "toy-waves", "noise": 0.0, "device": "cpu", "seed": 0}
    document = CrossLikelihood(("sine", "square"), ("a", "b"), np.eye(2)[..., None], how).as_dict()
    for margin in document["margins"]:
        margin["ci95"] = [None, None]  # as NaN is written
    assert program.main([str(priors / "encoders"), "--figures", *write(priors, cross=document)]) == 0
    assert cards.read(priors / "encoders").figures["cross"]["margins"] == {
        "sine": {"against": "square", "margin": 1.0},
        "square": {"against": "sine", "margin": 1.0},
    }


def test_the_same_words_change_nothing_and_other_figures_stay(program: ModuleType, priors: Path) -> None:
    first, second = write(priors, first=report("psnr", digit=20.0), second=report("psnr", digit=30.0))
    words = [str(priors / "images"), "--like", "cifar10", "--command", "make.sh", "--figures"]
    for figures in (first, second):
        assert program.main([*words, figures]) == 0
    found = cards.read(priors / "images").figures
    assert (found["command"], set(found)) == ("make.sh", {"command", "first", "second"})
    before = (priors / "images" / "card.toml").read_bytes()
    assert program.main([*words, first, second]) == 0
    assert (priors / "images" / "card.toml").read_bytes() == before


def test_draws_are_those_of_the_preset_and_of_these_weights(program: ModuleType, priors: Path) -> None:
    settings = dict(PRESETS[DRAWS].networks)
    document: dict[str, Any] = {
        "kind": "calibration",
        "mixtures": 200,
        "samples": 19,
        "p_value": 0.123456,
        "coverage": {"nominal": 0.9, "measured": 0.8999},
        "about": {"files": {}, "settings": settings},
    }
    write(priors, draws=document)
    words = [str(priors / "images"), "--draws", str(priors / "draws.json")]
    assert program.main(words) == 0
    assert cards.read(priors / "images").draws == Draws(200, 19, 0.123, 0.9)
    for wrong in (
        {"coverage": {"nominal": 0.6, "measured": 0.6}},
        {"about": {"files": {"a": "b"}, "settings": settings}},
        {"about": {"files": {}, "settings": {**settings, "steps": 3}}},
    ):
        write(priors, draws={**document, **wrong})
        assert program.main(words) == 1


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--like", "mnist"], 4, "mnist"),
        (["--like", "nonsense"], 4, "nonsense"),
        (["--set", "engine=nonsense"], 2, "engine"),
        (["--set", "method"], 2, "method"),
        (["--figures", "=report.json"], 2, "=report.json"),
        (["--figures", "a=missing.json"], 1, "missing.json"),
        (["--figures", "a=words.json"], 1, "words.json"),
        (["--figures", "a=other.json"], 1, "a"),
        (["--figures", "a=list.json"], 1, "a"),
        (["--draws", "list.json"], 1, "encoders"),
        (["--draws", "other.json"], 1, "encoders"),
    ],
)
def test_an_error_is_two_lines_and_the_card_stays(
    program: ModuleType,
    priors: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    why: str,
) -> None:
    monkeypatch.chdir(priors)
    for name, text in {"words": "no JSON", "other": '{"protocol": {}}', "list": "[1]"}.items():
        Path(f"{name}.json").write_text(text)
    before = Path("encoders/card.toml").read_bytes()
    assert program.main(["encoders", *words]) == code
    first, second = capsys.readouterr().err.splitlines()
    assert re.search(rf"(^|\W){re.escape(why)}(\W|$)", first)
    assert second
    assert Path("encoders/card.toml").read_bytes() == before


def test_a_folder_without_a_card_is_refused(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([str(tmp_path), "--set", "rho=2"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 2
