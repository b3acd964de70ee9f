"""``sepcli separate --samples N`` of a recording: what run.json and the last lines say of the draws."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.separation.ranking import RULE
from sepcli.separation.seeds import sample_seeds
from sepcli.training.loop import write_weights

RATE = 8000


@pytest.fixture
def priors(tmp_path: Path) -> list[str]:
    """Two priors of one band each, as they are before training."""
    words = []
    for source, low in (("flute", True), ("shaker", False)):
        stds = tuple(0.1 if (f < 8) == low else 0.01 for f in range(16))
        config = SpectralConfig(RATE, 16, width=8, blocks=1, embedding=8, band_std=stds)
        folder = tmp_path / source
        (folder / "denoiser").mkdir(parents=True)
        write_weights(SpectralPrior(config), folder / "denoiser" / "model.safetensors")
        (folder / "denoiser" / "config.json").write_text(json.dumps(asdict(config)))
        card = cards.Card(
            name=source,
            medium="audio",
            engine="score",
            sources=(source,),
            weights=(1.0,),
            sample_rate=RATE,
            stream={"window": 1.0, "overlap": 0.1},
        )
        cards.write(cards.with_files(card, folder), folder)
        words += ["--prior", str(folder)]
    return words


@pytest.fixture
def duet(tmp_path: Path) -> Path:
    signal = 0.1 * np.random.default_rng(0).standard_normal((round(2.4 * RATE), 2))
    signal[RATE : 2 * RATE] = 0
    soundfile.write(tmp_path / "duet.wav", signal, RATE)
    return tmp_path / "duet.wav"


def separate(duet: Path, out: Path, *words: str) -> dict[str, object]:
    common = ["-o", str(out), "--set", "steps=4", "--device", "cpu"]
    assert run(["separate", str(duet), *common, *words]) == 0
    return json.loads((out / "duet" / "run.json").read_text())


def test_kept_draws_are_ranked(
    priors: list[str], duet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = separate(duet, tmp_path / "out", *priors, "--samples", "3")
    draws, confidence = record["samples"], record["confidence"]
    assert [set(draw) for draw in draws] == [{"seed", "residual_rms", "log_prior", "agreement_db"}] * 3
    assert sorted(draw["seed"] for draw in draws) == sorted(sample_seeds(0, 0, 3))
    assert (record["rank"], "samples" in record["report"]) == (RULE, False)
    bounds = [draw["log_prior"] for draw in draws]
    assert bounds == sorted(bounds, reverse=True)
    assert set(confidence) == {"flute", "shaker"}
    assert all(len(seconds) == 3 for seconds in confidence.values())
    line = capsys.readouterr().out.splitlines()[-1]
    assert f"{record['medoid']:02d}" in line


def test_the_first_folder_holds_the_best_draw(priors: list[str], duet: Path, tmp_path: Path) -> None:
    """The draw of the first seed is the one that is drawn alone, wherever it is ranked."""
    found = []
    for seed in range(9):
        record = separate(duet, tmp_path / f"all{seed}", *priors, "--samples", "3", "--seed", str(seed))
        found.append([draw["seed"] for draw in record["samples"]].index(sample_seeds(seed, 0, 3)[0]))
        if found[-1] > 0:
            break
    place = found[-1] + 1
    assert place > 1
    separate(duet, tmp_path / "one", *priors, "--seed", str(seed))
    for stem in ("flute", "shaker"):
        alone, _ = soundfile.read(tmp_path / "one" / "duet" / f"{stem}.wav")
        ranked, _ = soundfile.read(tmp_path / f"all{seed}" / "duet" / f"{place:02d}" / f"{stem}.wav")
        first, _ = soundfile.read(tmp_path / f"all{seed}" / "duet" / "01" / f"{stem}.wav")
        np.testing.assert_allclose(ranked, alone, atol=2e-4)
        assert np.abs(first - alone).max() > 2e-3
    parts = [path.name for path in (tmp_path / f"all{seed}" / "duet").iterdir()]
    assert sorted(parts) == ["01", "02", "03", "run.json"]
    assert not list(tmp_path.rglob(".sepcli-*"))


def test_merged_draws_have_confidence_and_single_ones_nothing(
    priors: list[str], duet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = separate(duet, tmp_path / "merged", *priors, "--set", "draws=2")
    assert set(record["confidence"]) == {"flute", "shaker"}
    assert len(record["samples"]) == 1
    assert not {"rank", "medoid"} & set(record)
    record = separate(duet, tmp_path / "single", *priors)
    assert not {"rank", "medoid", "confidence"} & set(record)
    assert "medoid" not in capsys.readouterr().out


def test_a_silent_file_has_no_confidence(priors: list[str], tmp_path: Path) -> None:
    silence = tmp_path / "duet.wav"
    soundfile.write(silence, np.zeros((RATE, 1)), RATE)
    record = separate(silence, tmp_path / "out", *priors, "--samples", "2")
    assert record["confidence"] == {"flute": [None], "shaker": [None]}
    assert len(record["samples"]) == 2
