"""``--format stem.mp4``: one file per recording, with all that the command promises of stems."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from sepcli.cli.app import run
from sepcli.datasets.musdb18 import open_musdb
from sepcli.media.audio import AudioReader
from sepcli.media.stem_box import read_stem_names

RATE, FRAMES = 16000, 12_000


@pytest.fixture
def separate(tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Separate noise, with the tiny prior of drums and bass, into one file; return the exit code."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).standard_normal((FRAMES, 2))
    mix = 0.03 * scipy.signal.lfilter([1], [1, -0.95], noise, axis=0) * np.hanning(FRAMES)[:, None]
    soundfile.write("mix.flac", mix, RATE, subtype="PCM_16")

    def call(*words: object, out: str = "out") -> int:
        prior = ["--prior", str(tiny_prior), "--format", "stem.mp4"]
        return run(["separate", "mix.flac", "-o", out, *prior, *map(str, words)])

    return call


def files(folder: str = "out") -> list[str]:
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def tracks(path: str) -> np.ndarray:
    """All tracks of a file, (N, C, T)."""
    found, count = [], 1
    while len(found) < count:
        with AudioReader(Path(path), len(found)) as reader:
            count = reader.info.streams
            found.append(reader.read(reader.info.frames))
    return np.stack(found)


def record() -> dict:
    return json.loads(Path("out/mix.run.json").read_text())


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.square(found - expected).sum() < 0.07 * np.square(expected).sum())


def test_one_file_holds_the_mixture_and_its_stems(separate, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate() == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("out/mix.stem.mp4: drums, bass")
    assert all(word in printed.err for word in ("mix: ", "drums, bass and 2 silent"))
    assert files() == ["mix.run.json", "mix.stem.mp4"]
    found, mix = tracks("out/mix.stem.mp4"), soundfile.read("mix.flac")[0].T
    assert found.shape == (5, 2, FRAMES)
    assert near(found[0], mix)
    assert near(found[1:].sum(0), mix)
    assert not found[3:].any()
    document = record()
    assert (document["stems"], document["options"]["container"]) == ([["mix.stem.mp4"]], "stem.mp4")
    digest = hashlib.sha256(Path("out/mix.stem.mp4").read_bytes()).hexdigest()
    assert document["outputs"] == {"mix.stem.mp4": digest}
    assert document["report"]["residual"] < 1e-6


def test_the_stems_are_those_of_files(separate) -> None:
    assert separate() == 0
    assert separate("--format", "wav", "--bit-depth", "32f", out="wav") == 0
    for number, stem in enumerate(("drums", "bass"), 1):
        assert near(tracks("out/mix.stem.mp4")[number], soundfile.read(f"wav/mix/{stem}.wav")[0].T)


def test_resume_overwrite_and_dry_run(separate, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate("--dry-run") == 0
    assert "mix.stem.mp4" in capsys.readouterr().out
    assert not Path("out").exists()
    assert separate() == 0
    written = Path("out/mix.stem.mp4").read_bytes()
    assert separate() == 1
    assert separate("--resume") == 0
    assert Path("out/mix.stem.mp4").read_bytes() == written
    assert separate("--resume", "--bitrate", 64) == 1
    assert separate("--overwrite", "--bitrate", 64, "-q") == 0
    assert len(Path("out/mix.stem.mp4").read_bytes()) < len(written)
    assert record()["options"]["bitrate"] == 64_000
    assert files() == ["mix.run.json", "mix.stem.mp4"]


def test_a_replay_gives_the_same_bytes(separate, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate("--seed", 3) == 0
    capsys.readouterr()
    assert run(["separate", "--replay", "out/mix.run.json", "-o", "again"]) == 0
    assert "identical" in capsys.readouterr().out
    assert Path("again/mix.stem.mp4").read_bytes() == Path("out/mix.stem.mp4").read_bytes()


def test_a_track_that_differs_is_measured(separate) -> None:
    from sepcli.cli.replay import greatest_difference

    assert separate("--seed", 3) == 0
    assert separate("--seed", 4, out="other") == 0
    one, other = Path("out/mix.stem.mp4"), Path("other/mix.stem.mp4")
    expected = np.abs(tracks(str(one)) - tracks(str(other)))
    assert expected[0].max() == 0
    assert greatest_difference(one, other) == expected.max() > 0


def test_some_of_the_stems(separate) -> None:
    assert separate() == 0
    assert separate("--only", "bass", out="only") == 0
    assert read_stem_names(Path("only/mix.stem.mp4")) == ("bass",)
    all_of_them, only = tracks("out/mix.stem.mp4"), tracks("only/mix.stem.mp4")
    np.testing.assert_array_equal(only[:2], all_of_them[[0, 2]])
    assert not only[2:].any()
    assert separate("--two-stems", "bass", out="two") == 0
    assert read_stem_names(Path("two/mix.stem.mp4")) == ("bass", "no_bass")
    assert near(tracks("two/mix.stem.mp4")[2], all_of_them[1])


def test_several_samples_are_several_files(separate) -> None:
    assert separate("--samples", 2) == 0
    assert files() == ["mix.01.stem.mp4", "mix.02.stem.mp4", "mix.run.json"]
    assert record()["stems"] == [["mix.01.stem.mp4"], ["mix.02.stem.mp4"]]


def test_a_part_and_a_name(separate) -> None:
    assert separate("--start", 0.25, "--length", 0.25, "--filename", "{track}-{prior}.stem.mp4", "-q") == 0
    (path,) = Path("out").glob("mix-*.stem.mp4")
    assert tracks(str(path)).shape == (5, 2, 4000)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--filename", "{track}/{stem}.{ext}"], "{stem}"),
        (["--consistency", "none"], "--consistency none"),
        (["--bit-depth", "16"], "stem.mp4"),
        (["--samples", "2", "--filename", "{track}.{ext}"], "{sample}"),
    ],
)
def test_what_does_not_fit_is_refused(
    separate, words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert separate(*words) == 2
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert named in first
    assert second.startswith("  → ")
    assert not Path("out").exists()


def test_another_suffix_is_refused(separate, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate("--filename", "{track}.mp4") == 1
    assert "STEM.MP4" in capsys.readouterr().err


def test_surround_fails_alone(separate, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write("wide.flac", np.zeros((FRAMES, 6)), RATE)
    assert separate("wide.flac", "-q") == 3
    assert "wide.flac has 6 channels" in capsys.readouterr().err
    assert files() == ["mix.run.json", "mix.stem.mp4"]


def test_the_reader_of_data_sets_finds_the_stems_by_name(separate) -> None:
    assert separate() == 0
    Path("musdb/test").mkdir(parents=True)
    shutil.copy("out/mix.stem.mp4", "musdb/test")
    (stems,) = open_musdb("musdb").songs.values()
    assert list(stems) == ["mixture", "drums", "bass"]
    samples, rate = stems["bass"].read()
    assert rate == RATE
    np.testing.assert_allclose(samples.T, tracks("out/mix.stem.mp4")[2], atol=1e-7)
