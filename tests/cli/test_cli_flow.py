"""``sepcli train-prior --family flow``, separating with flows, and ``evaluate --metric cross-likelihood``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.datasets.waves import ToyWaves


def train(out: Path, *words: object, data: object = "toy-waves") -> int:
    quick = ("--preset", "tiny", "--steps", 2, "--batch", 2, "--device", "cpu", "-q")
    given = ("--family", "flow", "--data", data, "--out", out, *quick, *words)
    return run(["train-prior", *map(str, given)])


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flows")
    for name, variant in (("sine", "waveglow"), ("square", "flowavenet")):
        assert train(root / name, "--sources", name, "--set", f"variant={variant}") == 0
    return {name: root / name for name in ("sine", "square")}


def test_a_toy_prior_has_all_that_a_prior_has(flows: dict[str, Path]) -> None:
    found = sorted(path.relative_to(flows["sine"]).as_posix() for path in flows["sine"].rglob("*"))
    assert found == [
        "card.toml",
        "flow",
        "flow/config.json",
        "flow/finished.safetensors",
        "flow/history.jsonl",
        "flow/model.safetensors",
        "samples",
        "samples/01.flac",
        "samples/02.flac",
        "samples/03.flac",
        "validation.png",
    ]
    card = cards.read(flows["square"])
    assert (card.engine, card.sources, card.weights, card.sample_rate) == (
        "score",
        ("square",),
        (0.25,),
        14700,
    )
    assert card.stream["reference_rms"] == 0
    assert (card.parts["flow"].training["variant"], card.parts["flow"].training["noise"]) == (
        "flowavenet",
        0.001,
    )
    validated = -card.parts["flow"].training["validation"]["nats"]
    assert (
        card.parts["flow"].training["nats_per_sample"] > validated - 0.5
    )  # clean waves are not less likely than noisy


def test_a_toy_mixture_is_separated(flows: dict[str, Path], tmp_path: Path) -> None:
    waves = ToyWaves(("sine", "square"), "test").item(0, 3000)
    soundfile.write(tmp_path / "mix.wav", waves.sum(0) / 4, 14700, subtype="PCM_16")
    words = ["separate", tmp_path / "mix.wav", "--prior", flows["sine"], "--prior", flows["square"]]
    words += [
        "--set",
        "levels=2",
        "--set",
        "steps=2",
        "--samples",
        2,
        "--device",
        "cpu",
        "-q",
        "-o",
        tmp_path / "s",
    ]
    assert run([*map(str, words), "--sampler", "langevin"]) == 0
    record = json.loads((tmp_path / "s" / "mix" / "run.json").read_text())
    assert (record["sampler"], record["weights"]) == ("langevin", [0.25, 0.25])
    assert record["stream"]["reference_rms"] is None
    assert record["report"]["gain"] == 1.0
    for draw in ("01", "02"):
        stems = [soundfile.read(tmp_path / "s" / "mix" / draw / f"{n}.wav", dtype="int16")[0] for n in flows]
        mixture = soundfile.read(tmp_path / "mix.wav", dtype="int16")[0]
        assert np.array_equal(sum(stem.astype(int) for stem in stems), mixture)


def test_recordings_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "hum").mkdir()
    hum = 0.2 * np.sin(np.arange(11 * 16000) / 20)
    soundfile.write(tmp_path / "hum" / "a.wav", hum, 16000)
    out = tmp_path / "p"
    assert train(out, "--set", "noise=0.05", "--set", "clean=1", data=tmp_path / "hum") == 0
    card, config = cards.read(out), json.loads((out / "flow" / "config.json").read_text())
    assert (card.sources, card.weights, card.stream["reference_rms"]) == (("hum",), (1.0,), 0.1)
    assert (config["noise"], config["sigma_max"]) == (0.05, 0.0)
    assert train(out, data=tmp_path / "hum") == 1  # there is one already


def test_cross_likelihood(flows: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--metric", "cross-likelihood", "--prior", flows["sine"], "--prior", flows["square"]]
    words += ["--data", "toy-waves", "--pairs", 3, "--device", "cpu", "-q"]
    where = ["--plot", tmp_path / "heat.png", "--out", tmp_path / "table.json"]
    assert run([*map(str, words), *map(str, where)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["prior", "sine", "square"]
    caption = " ".join(lines[3:])
    assert "log p" in caption
    assert {"3", "0.001"} <= set(caption.replace(",", " ").replace(";", " ").split())
    document = json.loads((tmp_path / "table.json").read_text())
    assert lines[1].split()[1:] == [f"{value:.3f}" for value in document["mean"][0]]
    assert document["sentence"] in caption
    assert (tmp_path / "heat.png").is_file()
    assert run([*map(str, words), "--noise", "0.3", "--json"]) == 0
    noisy = json.loads(capsys.readouterr().out)
    assert noisy["noise"] == pytest.approx(0.3, abs=1e-4)
    assert noisy["mean"] != document["mean"]
    assert run([*map(str, words), *map(str, where)]) != 0  # the files are there


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sources", "organ"], "organ"),
        ([], "toy waves"),
        (["--sources", "sine,square"], "sine,square"),
        (["--sources", "sine", "--set", "variant=nice"], "nice"),
        (["--sources", "sine", "--set", "noise=0"], "noise=0"),
        (["--sources", "sine", "--set", "noise=nan"], "nan"),
        (["--sources", "sine", "--preset", "huge"], "huge"),
        (["--sources", "sine", "--tokens", "900"], "230400"),
        (["--sources", "sine", "--set", "size=8"], "size"),
        (["--sources", "sine", "--family", "variational", "--init", "toy-waves"], "variational"),
        (["--sources", "sine", "--family", "denoiser"], "denoiser"),
        (["--sources", "sine", "--family", "vqvae"], "vqvae"),
        (["--data", str(Path(__file__).parents[1] / "data" / "digits")], "digits"),
        (
            [
                "--family",
                "glow",
                "--set",
                "noise=1",
                "--data",
                str(Path(__file__).parents[1] / "data" / "digits"),
            ],
            "noise",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_in_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert train(tmp_path / "p", *words) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert message in err
    assert not (tmp_path / "p" / "card.toml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "sdr"], "--metric"),
        (["--samples", "2"], "--samples"),
        (["--noise", "2"], "--noise"),
        (["--data", "toy-waves", "--noise", "0.5", "--prior", "FLOW"], "sine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_of_cross_likelihood(
    flows: dict[str, Path], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    given = [str(flows["sine"]) if word == "FLOW" else word for word in words]
    assert run(["evaluate", "--metric", "cross-likelihood", "--prior", str(flows["sine"]), *given]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert message in err
    assert run(["evaluate", "--noise", "0.1", "--prior", str(flows["sine"])]) == 2
