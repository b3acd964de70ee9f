"""MUSDB18 from the command line: flows trained on it, and cross-likelihood on songs of either layout."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_songs import make_musdb
from tiny_waves import make_flow

from sepcli.catalog import card as cards
from sepcli.cli.app import run

PAIRS = 3
STDS = {"drums": 0.25, "bass": 1.0}


@pytest.fixture(scope="module")
def musdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_musdb(tmp_path_factory.mktemp("data") / "musdb")


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flows that take drums for quiet noise and bass for loud noise."""
    root, level = tmp_path_factory.mktemp("flows"), {"reference_rms": 0.1}
    return [make_flow(root / name, name, std=std, stream=level) for name, std in STDS.items()]


def train(data: Path, out: Path, *words: object) -> int:
    quick = ("--preset", "tiny", "--steps", 2, "--batch", 2, "--device", "cpu", "-q")
    return run(["train-prior", *map(str, ("--data", data, "--out", out, *quick, *words))])


@pytest.fixture
def ask(flows: list[str], capsys: pytest.CaptureFixture[str]):
    """Cross-likelihood of the flows, as a document."""

    def call(data: Path, *words: object) -> dict[str, Any]:
        given = [
            "evaluate",
            "--metric",
            "cross-likelihood",
            "--data",
            data,
            "--device",
            "cpu",
            "--json",
            "-q",
        ]
        given += [word for flow in flows for word in ("--prior", flow)]
        code = run([*map(str, (*given, *words))])
        out, err = capsys.readouterr()
        return json.loads(out) if code == 0 else {"code": code, "error": err}

    return call


def test_a_flow_and_encoders_learn_from_musdb(musdb: Path, flows: list[str], tmp_path: Path) -> None:
    assert train(musdb, tmp_path / "flow", "--family", "flow", "--sources", "vocals") == 0
    card = cards.read(tmp_path / "flow")
    assert (card.sources, card.weights, card.stream["reference_rms"]) == (("vocals",), (1.0,), 0.1)
    caches = [path.name.rsplit("-", 1)[0] for path in (tmp_path / "flow" / "cache").iterdir()]
    assert sorted(caches) == ["musdb-train", "musdb-valid"]
    priors = [word for flow in flows for word in ("--prior", flow)]
    assert train(musdb, tmp_path / "encoders", "--family", "variational", *priors) == 0
    assert cards.read(tmp_path / "encoders").sources == ("drums", "bass")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--sources", "kazoo"], 1, "kazoo"),
        ([], 2, "musdb"),
        (["--sources", "drums,bass"], 2, "drums,bass"),
        (["--sources", "drums", "--family", "glow"], 2, "glow is trained on images"),
        (["--sources", "drums,kazoo", "--family", "vqvae"], 1, "kazoo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_in_training(
    musdb: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    assert train(musdb, tmp_path / "p", "--family", "flow", *words) == code
    first, hint = capsys.readouterr().err.splitlines()
    assert message in first
    assert hint.startswith("  → ")
    assert not (tmp_path / "p" / "card.toml").exists()


def test_cross_likelihood_of_test_songs(ask, musdb: Path, tmp_path: Path) -> None:
    found = ask(musdb, "--pairs", PAIRS, "--seed", 5, "--cache", tmp_path / "cache")
    assert (found["data"], found["subset"], found["seed"], found["n"]) == (str(musdb), "test", 5, PAIRS)
    assert found["sources"] == ["drums", "bass"]
    for row, std in zip(found["mean"], STDS.values(), strict=True):  # segments have an RMS of 0.1
        normal = -0.5 * (0.1 / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
        assert row == pytest.approx([normal, normal], abs=0.01)
    assert [path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache").iterdir()] == ["musdb-test"]
    assert ask(musdb, "--pairs", PAIRS, "--seed", 5) == found
    assert ask(musdb, "--pairs", PAIRS, "--seed", 6)["mean"] != found["mean"]


def test_cross_likelihood_of_slakhs_layout(ask, tiny_slakh: Path, tmp_path: Path) -> None:
    found = ask(tiny_slakh, "--pairs", PAIRS)
    assert (found["subset"], found["n"]) == ("validation", PAIRS)
    shutil.copytree(tiny_slakh, tmp_path / "slakh")
    (tmp_path / "slakh" / "validation").rename(tmp_path / "slakh" / "test")
    again = ask(tmp_path / "slakh", "--pairs", PAIRS)
    assert again["subset"] == "test"
    assert again["mean"] == found["mean"]


def test_what_is_refused_of_cross_likelihood(
    ask, musdb: Path, tiny_slakh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flute = ("--prior", make_flow(tmp_path / "flute", "flute", stream={"reference_rms": 0.1}))
    for data, words, code, message in (
        (musdb, flute, 1, "flute"),
        (tiny_slakh, flute, 1, "flute"),
        (tiny_slakh / "validation", (), 1, "validation"),
        (make_musdb(tmp_path / "short", 1.0), (), 1, "1.11 s"),
    ):
        refused = ask(data, *words)
        assert refused["code"] == code
        assert message in refused["error"].splitlines()[0]
    assert run(["evaluate", "--cache", str(tmp_path)]) == 2
    assert "--cache" in capsys.readouterr().err
