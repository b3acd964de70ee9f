"""``train-prior --family variational``, ``separate --method variational|langevin``, toy waves evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_waves import make_flow

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.datasets.waves import ToyWaves

SHAPES = ("sine", "square")


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("flows")
    return [make_flow(root / name, name, std=0.7, weight=0.25) for name in SHAPES]


def train(out: Path, flows: list[str], *words: object, data: object = "toy-waves") -> int:
    quick = ("--preset", "tiny", "--steps", 2, "--batch", 2, "--device", "cpu", "-q")
    priors = [word for flow in flows for word in ("--prior", flow)]
    given = ("--family", "variational", "--data", data, "--out", out, *quick, *priors, *words)
    return run(["train-prior", *map(str, given)])


@pytest.fixture(scope="module")
def encoders(flows: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoders") / "toys"
    assert train(out, flows) == 0
    return out


def separate(prior: Path, out: Path, mix: Path, *words: object) -> dict[str, object]:
    given = ("separate", mix, "--prior", prior, "-o", out, "--device", "cpu", "-q", *words)
    assert run([*map(str, given)]) == 0
    record: dict[str, object] = json.loads((out / mix.stem / "run.json").read_text())
    return record


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    waves = ToyWaves(SHAPES, "test").item(0, 3000)
    soundfile.write(tmp_path / "mix.wav", waves.mean(0), 14700, subtype="PCM_16")
    return tmp_path / "mix.wav"


def test_the_folder_holds_encoders_and_the_flows(encoders: Path, flows: list[str]) -> None:
    card = cards.read(encoders)
    assert (card.engine, card.sources, card.weights) == ("variational", SHAPES, (0.5, 0.5))
    assert set(card.files) == {"encoders/config.json", "encoders/model.safetensors"}
    assert card.priors == ("priors/1", "priors/2")
    entry = card.parts["encoders"].training
    assert [prior["name"] for prior in entry["priors"]] == list(SHAPES)
    for number, flow in enumerate(flows, 1):
        kept = encoders / "priors" / str(number)
        for name in ("card.toml", "flow/config.json", "flow/model.safetensors"):
            assert (kept / name).read_bytes() == (Path(flow) / name).read_bytes()
        assert entry["priors"][number - 1]["files"] == {
            name: cards.sha256(kept / name) for name in ("flow/config.json", "flow/model.safetensors")
        }
    assert train(encoders, flows) == 1  # there are some already


def test_either_method_separates(encoders: Path, mix: Path, tmp_path: Path) -> None:
    record = separate(encoders, tmp_path / "own", mix)
    assert (record["engine"], record["weights"]) == ("variational", [0.5, 0.5])
    assert separate(encoders, tmp_path / "same", mix, "--method", "variational")["stream"] == record["stream"]
    few = ("--set", "levels=2", "--set", "steps=2")
    record = separate(encoders, tmp_path / "langevin", mix, "--method", "langevin", *few)
    assert record["settings"]["width"] == 0.25  # type: ignore[index]
    assert separate(encoders, tmp_path / "w", mix, "--sampler", "langevin", *few)["sampler"] == "langevin"
    wrong = ["separate", mix, "--prior", encoders, "-o", tmp_path / "x", "--method", "variational"]
    assert run([*map(str, wrong), "--sampler", "langevin"]) == 2
    assert (record["engine"], record["sampler"], record["weights"]) == ("score", "langevin", [0.5, 0.5])
    mixture = soundfile.read(mix, dtype="int16")[0]
    found = {}
    for out in ("own", "same", "langevin"):
        stems = [soundfile.read(tmp_path / out / "mix" / f"{n}.wav", dtype="int16")[0] for n in SHAPES]
        assert np.array_equal(sum(stem.astype(int) for stem in stems), mixture)
        found[out] = stems[0]
    assert np.array_equal(found["own"], found["same"])
    assert not np.array_equal(found["own"], found["langevin"])


def test_several_draws_differ(encoders: Path, mix: Path, tmp_path: Path) -> None:
    separate(encoders, tmp_path / "s", mix, "--samples", 2, "--consistency", "none")
    first, second = (soundfile.read(tmp_path / "s" / "mix" / f"{n}" / "sine.wav")[0] for n in ("01", "02"))
    assert 0.001 < np.abs(first - second).mean() < 0.1  # standard deviations of 0.02 about


def test_method_langevin_is_for_flows_and_images_too(
    flows: list[str], mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ("--prior", flows[1], "--set", "levels=2", "--set", "steps=1")
    record = separate(Path(flows[0]), tmp_path / "f", mix, "--method", "langevin", *two)
    assert record["sampler"] == "langevin"
    words = ["separate", str(mix), "--prior", flows[0], "--prior", flows[1], "--method", "langevin"]
    assert run([*words, "--sampler", "projected"]) == 2
    assert "--sampler" in capsys.readouterr().err
    assert run([*words[:-1], "variational"]) == 2
    assert "variational" in capsys.readouterr().err


def evaluate(*words: object) -> int:
    given = ("evaluate", "--dataset", "toy-waves", "--pairs", 2, "--device", "cpu", "-q", *words)
    return run([*map(str, given)])


def test_separations_of_toy_waves_are_scored(
    encoders: Path, flows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    assert evaluate("--prior", encoders, "--metric", "si-sdr", "--out", out) == 0
    report = json.loads(out.read_text())
    assert report["protocol"]["dataset"].startswith("toy waves")
    assert report["protocol"]["mixture"] == "0.5·sine + 0.5·square"
    assert report["protocol"]["settings"]["method"] == "variational"
    rows = report["results"]["si-sdr"]
    assert set(rows) == {"sepcli", "sepcli raw", "average", "oracle mask"}
    # white flows of one standard deviation tell nothing apart: nearly untrained encoders leave the average
    assert rows["sepcli raw"]["sine"]["mean"] == pytest.approx(rows["average"]["sine"]["mean"], abs=1.0)
    capsys.readouterr()
    few = ("--set", "levels=2", "--set", "steps=2", "--json")
    assert evaluate("--prior", flows[0], "--prior", flows[1], *few) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["results"]) == {"si-sdr", "sdr"}
    assert report["protocol"]["mixture"] == "0.5·sine + 0.5·square"
    assert report["protocol"]["settings"]["sampler"] == "langevin"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "toy-waves"),
        (["--method", "nmf", "--prior", "FLOW"], "--method"),
        (["--prior", "FLOW"], "sine"),
        (["--prior", "FLOW", "--prior", "ORGAN"], "organ"),
        (["--prior", "FLOW", "--data", "x"], "--data"),
        (["--prior", "FLOW", "--metric", "psnr"], "psnr"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_of_toy_waves(
    flows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    organ = make_flow(tmp_path / "organ", "organ")
    named = {"FLOW": flows[0], "ORGAN": organ}
    assert evaluate(*(named.get(word, word) for word in words)) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert message in err


@pytest.mark.parametrize(
    ("count", "words", "message"),
    [
        (1, [], "--prior"),
        (2, ["--sources", "sine"], "sources"),
        (2, ["--set", "noise=0.0001"], "0.0001"),
        (2, ["--set", "noise=nan"], "nan"),
        (2, ["--set", "mixture_noise=-1"], "-1"),
        (2, ["--preset", "huge"], "huge"),
        (2, ["--set", "variant=waveglow"], "variant"),
        (2, ["--set", "size=8"], "size"),
        (2, ["--init", "toy-waves"], "variational"),
        (2, ["--family", "flow", "--sources", "sine"], "prior"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_in_training(
    flows: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    count: int,
    words: list[str],
    message: str,
) -> None:
    assert train(tmp_path / "p", flows[:count], *words) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert message in err
    assert not (tmp_path / "p" / "card.toml").exists()


def test_recorded_mixtures_and_mixture_noise(flows: list[str], tmp_path: Path) -> None:
    (tmp_path / "band").mkdir()
    sound = 0.2 * np.sin(np.arange(11 * 14700) / 20) + 0.1 * np.sin(np.arange(11 * 14700) / 33)
    soundfile.write(tmp_path / "band" / "a.wav", sound, 14700)
    out = tmp_path / "p"
    assert train(out, flows, "--set", "mixture_noise=0.01", "--set", "noise=0.1", data=tmp_path / "band") == 0
    card, config = cards.read(out), json.loads((out / "encoders" / "config.json").read_text())
    assert (card.weights, card.stream["reference_rms"]) == ((0.25, 0.25), 0.1)
    assert (config["mixture_noise"], config["noise"], config["noise_max"]) == (0.01, 0.1, 0.5)


def test_a_damaged_prior_is_not_learnt_from(flows: list[str], tmp_path: Path) -> None:
    broken = Path(make_flow(tmp_path / "broken", "square"))
    (broken / "flow" / "model.safetensors").write_bytes(b"no")
    assert train(tmp_path / "p", [flows[0], str(broken)]) == 4
