"""``--method``: separating and evaluating without a prior, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sepcli.cli.app import run
from sepcli.evaluation.tasks import pairs

RATE = 8000


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    t = np.arange(2 * RATE) / RATE
    signal = 0.3 * np.sin(2 * np.pi * 110 * t)
    signal[4000:4040] += 0.5
    soundfile.write(tmp_path / "mix.wav", np.stack([signal, 0.5 * signal], axis=1), RATE, subtype="PCM_16")
    return tmp_path / "mix.wav"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for stem in ("drums", "bass"):
        (tmp_path / "items" / stem).mkdir(parents=True)
        for item in range(3):
            soundfile.write(tmp_path / "items" / stem / f"{item}.flac", rng.uniform(-0.5, 0.5, RATE), RATE)
    return tmp_path / "items"


@pytest.mark.parametrize("method", ["hpss", "repet-sim"])
def test_separate_without_a_prior(method: str, mix: Path, tmp_path: Path) -> None:
    assert run(["separate", str(mix), "--method", method, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    stems = [
        soundfile.read(tmp_path / "out" / "mix" / f"{name}.wav", dtype="int16")[0]
        for name in ("drums", "bass")
    ]
    assert np.array_equal(sum(stem.astype(int) for stem in stems), soundfile.read(mix, dtype="int16")[0])
    record = json.loads((tmp_path / "out" / "mix" / "run.json").read_text())
    assert (record["engine"], record["prior"]) == (method, None)
    assert {"librosa", "scikit-learn"} <= record["versions"].keys()
    assert record["rule"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "hpss", "--prior", "any"], "--prior"),
        (["--method", "hpss", "--sampler", "beam"], "--sampler"),
        (["--method", "hpss", "--samples", "2"], "--samples"),
        (["--method", "hpss", "--weights", "1,1"], "--weights"),
        (["--method", "hpss", "--sources", "2"], "--sources"),
        (["--method", "hpss", "--other"], "--other"),
        (["--method", "hpss", "--device", "cuda"], "cuda"),
        (["--method", "hpss", "--set", "lam=2"], "lam"),
        (["--method", "magic"], "'magic'"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense(
    options: list[str], message: str, mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["separate", str(mix), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[0]
    assert not (tmp_path / "out").exists()


def test_evaluate_without_a_prior(items: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--dataset", "pairs", "--data", str(items), "--method", "ft2d", "--method", "hpss", "--json"]
    assert run(["evaluate", *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["results"]["sdr"]) == ["ft2d", "hpss", "average", "oracle mask"]
    assert document["protocol"]["settings"]["methods"] == ["ft2d", "hpss"]
    assert document["protocol"]["settings"]["prior"] is None
    assert any(note.startswith("hpss: ") for note in document["notes"])


def test_a_stopped_evaluation_goes_on_to_the_same_report(
    items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        "evaluate",
        "--dataset",
        "pairs",
        "--data",
        str(items),
        "--method",
        "hpss",
        "--batch",
        "1",
        "--quiet",
    ]
    assert run([*options, "--out", str(tmp_path / "whole.json")]) == 0
    seen: list[str] = []
    score = pairs.score_pair

    def stop_at_the_second(pair: Any, *rest: Any) -> Any:
        seen.append(pair.id)
        if seen == ["0", "1"]:
            raise KeyboardInterrupt
        return score(pair, *rest)

    monkeypatch.setattr(pairs, "score_pair", stop_at_the_second)
    assert run([*options, "--out", str(tmp_path / "part.json")]) == 130
    assert run([*options, "--out", str(tmp_path / "part.json")]) == 0
    assert seen == ["0", "1", "1", "2"]
    assert json.loads((tmp_path / "part.json").read_text()) == json.loads(
        (tmp_path / "whole.json").read_text()
    )


def test_a_method_and_finished_estimates_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(tmp_path), str(tmp_path), "--method", "hpss"]) == 2
    assert "--method" in capsys.readouterr().err
