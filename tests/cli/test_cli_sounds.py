"""``sepcli train-prior --family denoiser`` on recordings; ``sepcli separate`` with one prior per source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_sound import make_sound

from sepcli.cli.app import run

RATE = 44100


def two_lines(text: str) -> str:
    first, second = text.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  → ")
    return first


def sound(kind: str, seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    t, rng = np.arange(round(seconds * rate)) / rate, np.random.default_rng(seed)
    if kind == "violin":
        return 0.2 * np.sin(2 * np.pi * (300 + 100 * seed) * t) * (0.6 + 0.4 * np.sin(6 * t))
    return 0.2 * rng.standard_normal(len(t)) * np.exp(-8 * (t % 0.5))


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two priors, trained by the command line for three steps on a few seconds each."""
    root, found = tmp_path_factory.mktemp("sounds"), {}
    for kind in ("violin", "shaker"):
        for n, (rate, suffix) in enumerate([(22050, "wav"), (16000, "flac"), (48000, "ogg")]):
            (root / kind / "deep").mkdir(parents=True, exist_ok=True)
            place = root / kind / ("deep" if n else ".") / f"{n}.{suffix}"
            soundfile.write(place, np.clip(sound(kind, 10.5, rate, n), -1, 1), rate)
        found[kind] = root / "priors" / kind
        words = ["--data", root / kind, "--out", found[kind], "--preset", "tiny", "--steps", 3]
        words += ["--batch", 2, "--tokens", 16, "--device", "cpu", "--quiet"]
        assert run(["train-prior", "--family", "denoiser", *map(str, words)]) == 0
    return found


@pytest.fixture
def duet(tmp_path: Path) -> Path:
    both = sound("violin", 5.3, RATE, 1) + sound("shaker", 5.3, RATE, 7)
    soundfile.write(tmp_path / "duet.wav", np.stack([both, 0.5 * both], axis=1), RATE, subtype="PCM_16")
    return tmp_path / "duet.wav"


def separate(duet: Path, out: Path, *words: object) -> int:
    fast = ("--set", "steps=3", "--set", "window=1", "--set", "overlap=0.25", "--device", "cpu", "-q")
    return run(["separate", str(duet), "-o", str(out), *fast, *map(str, words)])


def test_two_folders_become_priors_and_a_duet_two_stems(
    priors: dict[str, Path], duet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(path.name for path in priors["violin"].iterdir()) == [
        "cache",
        "card.toml",
        "denoiser",
        "samples",
        "validation.png",
    ]
    capsys.readouterr()
    words = ("--prior", priors["violin"], "--prior", priors["shaker"])
    assert separate(duet, tmp_path / "out", *words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    folder = tmp_path / "out" / "duet"
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "shaker.wav", "violin.wav"]
    record = json.loads((folder / "run.json").read_text())
    where = {"input": str(duet), "record": str(folder / "run.json")}
    assert document["results"] == [{**record, **where}]
    assert (record["engine"], record["prior"]) == ("score", "violin+shaker")
    assert (record["sampler"], record["weights"]) == ("halving", [1.0, 1.0])
    assert record["settings"]["steps"] == 3
    assert record["settings"]["sigma_max"] > 1  # four times the loudest band of either prior
    assert set(record["files"]) == {
        f"{name}/denoiser/{file}" for name in priors for file in ("config.json", "model.safetensors")
    }
    mixture, rate = soundfile.read(duet, dtype="int16")
    stems = [soundfile.read(folder / f"{name}.wav", dtype="int16")[0] for name in ("violin", "shaker")]
    assert rate == RATE
    assert np.array_equal(sum(stem.astype(int) for stem in stems), mixture)
    assert all(np.any(stem) for stem in stems)


def test_estimates_are_kept_where_priors_take_what_is_theirs(duet: Path, tmp_path: Path) -> None:
    for selective, usual in ((True, "residual"), (False, "wiener")):
        out = tmp_path / usual
        made = [make_sound(out / name, name, interference_trained=selective) for name in ("violin", "shaker")]
        words = [word for prior in made for word in ("--prior", prior)]
        assert separate(duet, out, *words) == 0
        record = json.loads((out / "duet" / "run.json").read_text())
        assert record["stream"]["consistency"] == usual


@pytest.mark.slow
def test_seeds_draws_and_weights(priors: dict[str, Path], duet: Path, tmp_path: Path) -> None:
    words = ("--prior", priors["violin"], "--prior", priors["violin"], "--prior", priors["shaker"])
    words += ("--weights", "0.5,0.5,1", "--samples", 2, "--consistency", "project", "--format", "flac")
    stored = []
    for n, seed in enumerate((1, 1, 2)):
        assert separate(duet, tmp_path / str(n), *words, "--seed", seed, "--set", f"batch={n + 1}") == 0
        folder = tmp_path / str(n) / "duet"
        names = ["shaker.flac", "violin-1.flac", "violin-2.flac"]
        assert sorted(path.name for path in (folder / "02").iterdir()) == names
        stems = [soundfile.read(folder / "02" / name, dtype="int16")[0].astype(int) for name in names]
        assert np.array_equal(sum(stems), soundfile.read(duet, dtype="int16")[0])
        stored.append(stems[0])
        assert not np.array_equal(stems[0], soundfile.read(folder / "01" / names[0], dtype="int16")[0])
    assert np.abs(stored[0] - stored[1]).max() <= 2
    assert np.abs(stored[0] - stored[2]).max() > 50


def test_what_is_refused(
    priors: dict[str, Path], duet: Path, tmp_path: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    violin, both = ("--prior", priors["violin"]), ("--prior", priors["violin"], "--prior", priors["shaker"])
    cases = [
        (violin, 2, "violin"),
        ((*both, "--sources", 2), 2, "--sources"),
        ((*violin, "--prior", tmp_path / "nowhere"), 4, "nowhere"),
        ((*violin, "--prior", tiny_prior), 2, "tiny"),
        (("--prior", tiny_prior, *violin), 2, "drums, bass"),
        ((*both, "--weights", "1,1,1"), 2, "--weights"),
        ((*both, "--weights", "1,0"), 2, "--weights"),
        ((*both, "--set", "lam=2"), 2, "lam"),
        ((*both, "--sampler", "beam"), 2, "beam"),
        ((*both, "--method", "lass"), 2, "lass"),
    ]
    for words, code, message in cases:
        assert separate(duet, tmp_path / "out", *words) == code
        assert message in two_lines(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
    assert run(["evaluate", "--prior", str(priors["violin"]), "-q"]) == 2
    said, hint = capsys.readouterr().err.splitlines()
    assert "violin" in said
    assert "--other" not in hint  # which only separate has
    assert hint


def test_data_that_cannot_be_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(*words: object) -> tuple[int, str]:
        common = ["--data", tmp_path / "x", "--out", tmp_path / "p", "--preset", "tiny", "--steps", 1, "-q"]
        code = run(["train-prior", "--family", "denoiser", *map(str, [*common, *words])])
        return code, two_lines(capsys.readouterr().err)

    code, text = train()
    assert (code, str(tmp_path / "x") in text) == (1, True)
    (tmp_path / "x").mkdir()
    code, text = train()
    assert (code, str(tmp_path / "x") in text) == (1, True)
    soundfile.write(tmp_path / "x" / "a.wav", np.zeros(RATE), RATE)
    code, text = train()
    assert (code, str(tmp_path / "x") in text) == (1, True)
    code, text = train("--set", "classes=halves")
    assert (code, "classes" in text) == (2, True)
    code, text = train("--sources", "violin,cello")
    assert (code, "violin,cello" in text) == (2, True)
    (tmp_path / "x" / "b.wav").write_bytes(b"no audio")
    code, text = train()
    assert (code, "b.wav" in text) == (1, True)
