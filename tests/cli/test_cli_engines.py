"""``--method lass|score`` for a prior that offers both, and ``--other``, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hub_server import Hub
from msgspec import structs
from tiny_sound import make_dual, make_sound

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.cli.app import run

RATE = 8000


@pytest.fixture
def dual(tiny_prior: Path, tmp_path: Path) -> Path:
    return make_dual(tmp_path / "both", tiny_prior, "score")


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    sound = np.random.default_rng(0).normal(0, 0.1, RATE).clip(-1, 1)
    soundfile.write(tmp_path / "mix.wav", sound, RATE, subtype="PCM_16")
    return tmp_path / "mix.wav"


def separate(mix: Path, out: Path, *words: object) -> int:
    return run(["separate", str(mix), "-o", str(out), "--device", "cpu", "-q", *map(str, words)])


def stems_and_record(folder: Path, mix: Path) -> tuple[list[str], dict[str, Any]]:
    """Names of the stems, whose sum is the mixture, and run.json."""
    paths = sorted((folder / "mix").glob("*.wav"))
    total = sum(soundfile.read(path, dtype="int16")[0].astype(int) for path in paths)
    assert np.array_equal(total, soundfile.read(mix, dtype="int16")[0])
    return [path.stem for path in paths], json.loads((folder / "mix" / "run.json").read_text())


@pytest.mark.parametrize(
    ("words", "method", "sampler"),
    [
        ((), "score", "halving"),
        (("--sampler", "multi-source", "--set", "steps=2"), "score", "multi-source"),
        (("--method", "lass"), "lass", "ancestral"),
        (("--sampler", "greedy"), "lass", "greedy"),
    ],
)
def test_either_engine_makes_the_stems_of_the_card(
    dual: Path, mix: Path, tmp_path: Path, words: tuple[str, ...], method: str, sampler: str | None
) -> None:
    assert separate(mix, tmp_path / "out", "--prior", dual, *words) == 0
    names, record = stems_and_record(tmp_path / "out", mix)
    assert names == ["bass", "drums"]
    assert (record["engine"], record["prior"], record["sampler"]) == (method, "tiny", sampler)
    if method == "lass":
        assert (record["settings"]["lam"], record["stream"]["window"]) == (1.0, 0.4)
        assert "method" not in record["settings"]
        assert "codec/model.safetensors" in record["files"]
    else:
        assert record["weights"] == [0.5, 0.5]
        assert record["settings"]["steps"] == (2 if words else 3)
        assert set(record["files"]) == {
            f"{name}/denoiser/{file}"
            for name in ("drums", "bass")
            for file in ("config.json", "model.safetensors")
        }


def test_a_rest_takes_what_is_left(dual: Path, mix: Path, tmp_path: Path) -> None:
    assert separate(mix, tmp_path / "a", "--prior", dual, "--other", "--set", "other=0.3") == 0
    names, record = stems_and_record(tmp_path / "a", mix)
    assert names == ["bass", "drums", "other"]
    assert (record["weights"], record["settings"]["other"]) == ([0.5, 0.5, 0.5], 0.3)
    violin = make_sound(tmp_path / "violin", "violin")
    words = ("--prior", violin, "--other", "--set", "steps=2")
    assert separate(mix, tmp_path / "b", *words, "--weights", "1,2") == 0
    names, record = stems_and_record(tmp_path / "b", mix)
    assert names == ["other", "violin"]
    assert (record["weights"], record["settings"]["other"], record["prior"]) == ([1.0, 2.0], 0.5, "violin")
    assert separate(mix, tmp_path / "one", *words, "--weights", "2") == 0  # the rest's own is left out
    assert stems_and_record(tmp_path / "one", mix)[1]["weights"] == [2.0, 2.0]
    assert separate(mix, tmp_path / "c", *words, "--prior", violin, "--samples", 2) == 0
    assert sorted(path.stem for path in (tmp_path / "c").glob("mix/02/*")) == [
        "other",
        "violin-1",
        "violin-2",
    ]


def test_what_has_no_use_for_them(
    dual: Path,
    mix: Path,
    tiny_prior: Path,
    tiny_images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    violin = make_sound(tmp_path / "violin", "violin")
    cases = [
        (("--prior", tiny_prior, "--other"), "tiny"),
        (("--prior", tiny_prior, "--method", "score"), "tiny"),
        (("--prior", dual, "--method", "lass", "--other"), "--other"),
        (("--prior", tiny_images, "--other"), "--other"),
        (("--method", "hpss", "--other"), "--other"),
        (("--prior", dual, "--method", "score", "--sampler", "beam"), "beam"),
        (("--prior", dual, "--method", "score", "--set", "lam=1"), "lam"),
        (("--prior", dual, "--set", "other=0.5"), "other"),
        (("--prior", violin, "--other", "--set", "other=2"), "other"),
        (("--prior", tiny_prior, "--sampler", "greedy", "--samples", 2), "greedy"),
        (("--prior", dual, "--prior", violin), "drums, bass"),
        (("--prior", dual, "--other", "--weights", "1,1,1"), "drums, bass"),
        (("--prior", violin, "--other", "--weights", "1,1,1"), "--weights"),
    ]
    for words, message in cases:
        assert separate(mix, tmp_path / "out", *words) == 2, words
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_both_engines_are_evaluated(dual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for rate in (4000, 8000):
        for stem in ("drums", "bass"):
            (tmp_path / str(rate) / stem).mkdir(parents=True)
            soundfile.write(tmp_path / str(rate) / stem / "0.flac", rng.normal(0, 0.1, rate), rate)

    def evaluate(rate: int, *words: str) -> int:
        data = ["--dataset", "pairs", "--data", str(tmp_path / str(rate)), "--prior", str(dual)]
        return run(["evaluate", *data, "--device", "cpu", "--json", "-q", *words])

    for rate, words, method in [
        (8000, (), "score"),
        (8000, ("--method", "score", "--method", "rpca"), "score"),
        (4000, ("--sampler", "greedy"), "lass"),
    ]:
        assert evaluate(rate, *words) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["protocol"]["settings"]["method"] == method
        assert document["protocol"]["mixture"] == "0.5·drums + 0.5·bass"
        assert ("rpca" in document["results"]["sdr"]) == ("rpca" in words)
    assert evaluate(8000, "--method", "score", "--method", "lass") == 2
    assert "--method" in capsys.readouterr().err


def test_score_priors_are_fetched_with_the_prior_that_names_them(
    hub: Hub, dual: Path, mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fetch-priors", str(dual), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)["priors"]
    assert [(prior["name"], prior["verified"]) for prior in found] == [
        (str(dual), True),
        (str(dual / "beats"), True),
        (str(dual / "low"), True),
    ]
    for name in ("beats", "low"):
        hub.publish(f"tester/{name}", dual / name, "v1")
    named = ("hf:tester/beats@v1", "hf:tester/low@v1")
    cards.write(structs.replace(cards.read(dual), priors=named), dual)
    commit = hub.publish("tester/both", dual, "v1")
    word = f"hf:tester/both@{commit}"
    assert run(["fetch-priors", word, "--dry-run", "--json", "-q"]) == 0
    planned = json.loads(capsys.readouterr().out)["priors"]
    assert [prior["name"] for prior in planned] == [word, *named]
    assert all(prior["to_fetch"] for prior in planned)
    assert separate(mix, tmp_path / "out", "--prior", word) == 0  # on first use
    assert stems_and_record(tmp_path / "out", mix)[1]["engine"] == "score"
    assert run(["fetch-priors", "hf:tester/both", "--revision", commit, "--offline", "-q"]) == 0


def test_score_priors_in_folders_of_the_repository_are_fetched_with_it(
    hub: Hub, dual: Path, mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = [f"{name}/{file}" for name in ("beats", "low") for file in cards.read(dual / name).files]
    commit = hub.publish("tester/both", dual, "v1")
    word = f"hf:tester/both@{commit}"
    assert run(["fetch-priors", word, "--dry-run", "--json", "-q"]) == 0
    (planned,) = json.loads(capsys.readouterr().out)["priors"]
    assert planned["to_fetch"].keys() == {*cards.read(dual).files, *inner}
    assert separate(mix, tmp_path / "out", "--prior", word) == 0  # on first use
    assert stems_and_record(tmp_path / "out", mix)[1]["engine"] == "score"
    hub.fetched()
    assert run(["fetch-priors", word, "-q"]) == 0
    assert run(["fetch-priors", word, "--offline", "-q"]) == 0
    assert hub.fetched() == []
    _, folder = resolve.find(word)
    weights = (folder / inner[0]).resolve()
    weights.write_bytes(bytes(weights.stat().st_size))
    assert run(["fetch-priors", word, "--offline", "-q"]) == 4
    assert "sha256" in capsys.readouterr().err
    assert run(["fetch-priors", word, "-q"]) == 0  # fetched anew
    assert cards.sha256(folder / inner[0]) == cards.sha256(dual / inner[0])


@pytest.mark.parametrize("change", ["gone", "other weights"])
def test_a_repository_whose_inner_priors_are_not_whole_is_refused(
    change: str, hub: Hub, dual: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if change == "gone":
        (dual / "low" / "card.toml").unlink()
    else:
        (dual / "low" / next(iter(cards.read(dual / "low").files))).write_bytes(b"other")
    hub.publish("tester/both", dual, "v1")
    assert run(["fetch-priors", "hf:tester/both", "-q"]) == 4
    assert "low/" in capsys.readouterr().err
    assert not [path for path in hub.fetched() if path.endswith(".safetensors")]


def test_a_card_that_names_itself_is_fetched_once(dual: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dual / "me").symlink_to(".")
    cards.write(structs.replace(cards.read(dual), priors=("me", "low")), dual)
    assert run(["fetch-priors", str(dual), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)["priors"]
    assert [prior["name"] for prior in found] == [str(dual), str(dual / "me"), str(dual / "low")]
    assert run(["separate", "x.wav", "--prior", str(dual), "--method", "score"]) != 0
