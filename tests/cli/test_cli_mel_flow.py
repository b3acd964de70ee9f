"""``train-prior --family flow`` with ``variant=spectral`` and ``mels``, and the use of such flows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.datasets.waves import ToyWaves


def train(out: Path, *words: object) -> int:
    quick = ("--preset", "tiny", "--steps", 2, "--batch", 2, "--device", "cpu", "-q")
    given = ("--family", "flow", "--data", "toy-waves", "--out", out, *quick, *words)
    return run(["train-prior", *map(str, given)])


def judge(*priors: Path) -> int:
    words = [word for prior in priors for word in ("--prior", str(prior))]
    more = ("--data", "toy-waves", "--pairs", "2", "--device", "cpu", "-q", "--json")
    return run(["evaluate", "--metric", "cross-likelihood", *words, *more])


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flows")
    assert train(root / "plain", "--sources", "square") == 0
    assert train(root / "bands", "--sources", "sine", "--set", "variant=spectral") == 0
    assert train(root / "told", "--sources", "sine", "--set", "mels=4") == 0
    assert train(root / "both", "--sources", "square", "--set", "mels=4", "--set", "variant=spectral") == 0
    return {name: root / name for name in ("plain", "bands", "told", "both")}


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mix") / "mix.wav"
    soundfile.write(path, ToyWaves(("sine", "square"), "test").item(0, 2000).sum(0) / 4, 14700)
    return path


def test_what_is_written(flows: dict[str, Path]) -> None:
    configs = {name: json.loads((path / "flow" / "config.json").read_text()) for name, path in flows.items()}
    assert [(c["variant"], c["mels"]) for c in configs.values()] == [
        ("waveglow", 0),
        ("spectral", 0),
        ("waveglow", 4),
        ("spectral", 4),
    ]
    assert cards.read(flows["bands"]).parts["flow"].training["variant"] == "spectral"
    assert "mels" not in cards.read(flows["bands"]).parts["flow"].training
    assert cards.read(flows["told"]).parts["flow"].training["mels"] == 4
    drawn = {name: soundfile.info(path / "samples" / "03.flac").frames for name, path in flows.items()}
    assert drawn == {"plain": 29400, "bands": 29400, "told": 4096, "both": 4096}


def test_variants_are_compared_if_both_or_neither_know_mel_frames(
    flows: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for pair, likelihood in ((("bands", "plain"), "log p"), (("told", "both"), "log p given 4 mel bands")):
        assert judge(*(flows[name] for name in pair)) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["likelihood"], document["priors"]) == (likelihood, list(pair))
        own = cards.read(flows[pair[0]]).parts["flow"].training["nats_per_sample"]
        assert document["mean"][0][0] == pytest.approx(own, abs=1.0)  # other waves and few, but the same flow
    assert judge(flows["told"], flows["plain"]) == 2
    assert "told" in capsys.readouterr().err


def test_a_spectral_flow_separates(flows: dict[str, Path], mix: Path, tmp_path: Path) -> None:
    words = ["--prior", flows["bands"], "--prior", flows["plain"], "--sampler", "langevin", "-q"]
    few = ["--set", "levels=2", "--set", "steps=2", "--device", "cpu", "-o", tmp_path]
    assert run(["separate", str(mix), *map(str, [*words, *few])]) == 0
    stems = [soundfile.read(tmp_path / "mix" / f"{name}.wav")[0] for name in ("sine", "square")]
    assert abs(sum(stems) - soundfile.read(mix)[0]).max() < 1e-4


def test_a_flow_that_needs_mel_frames_does_not(
    flows: dict[str, Path], mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    priors = ["--prior", str(flows["told"]), "--prior", str(flows["plain"])]
    out = str(tmp_path / "out")
    quick = ["--preset", "tiny", "--steps", "2", "--out", out]
    learn = ["train-prior", "--family", "variational", "--data", "toy-waves", *quick]
    for command in (["separate", str(mix), "-o", out], learn):
        capsys.readouterr()
        assert run([*command, *priors, "--device", "cpu", "-q"]) == 4
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert "told" in lines[0]
        assert lines[1].startswith("  → ")
    assert not list((tmp_path / "out").rglob("*.wav"))
    assert not list((tmp_path / "out").rglob("card.toml"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "variant=nice"], "nice"),
        (["--set", "mels=129"], "mels=129"),
        (["--set", "mels=80", "--family", "transformer", "--data", "songs"], "mels"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert train(tmp_path / "p", "--sources", "sine", *words) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert message in err
    assert not (tmp_path / "p" / "card.toml").exists()
