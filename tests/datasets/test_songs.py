"""Songs of MUSDB18 and Slakh2100: what is found, and what is read."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from sepcli.datasets.musdb18 import STEMS, musdb_songs, validation_songs
from sepcli.datasets.slakh2100 import slakh_songs
from sepcli.datasets.songs import Recording, song_pairs
from sepcli.errors import InputError

RATE = 44100


def _write(path: Path, signal: object, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(signal, dtype=np.float32), rate, subtype="PCM_16")
    return path


def _tones(frames: int = RATE // 2) -> np.ndarray:
    """(5, T, 2): MUSDB18's streams, a tone per stem and their sum as the mixture."""
    t = np.arange(frames) / RATE
    stems = np.stack([0.2 * np.sin(2 * np.pi * f * t) for f in (200, 300, 500, 700)])
    return np.stack([np.concatenate([stems.sum(0)[None], stems])] * 2, axis=-1)


@pytest.fixture
def musdb(tmp_path: Path) -> Path:
    """In WAV: a song to test, one to train and one of the official validation songs."""
    valid = sorted(validation_songs())[0]
    for song in ("test/A - One", "train/B - Two", f"train/{valid}"):
        for name, signal in zip(STEMS, _tones(), strict=True):
            _write(tmp_path / song / f"{name}.wav", signal)
    return tmp_path


def test_subsets_of_musdb_are_the_official_ones(musdb: Path) -> None:
    assert len(validation_songs()) == 14
    assert list(musdb_songs(musdb)) == ["A - One"]
    assert list(musdb_songs(musdb, "train")) == ["B - Two"]
    assert set(musdb_songs(musdb, "valid")) < validation_songs()
    assert set(musdb_songs(musdb)["A - One"]) == set(STEMS)
    samples, rate = musdb_songs(musdb)["A - One"]["bass"].read()
    assert rate == RATE
    np.testing.assert_allclose(samples, _tones()[2], atol=1e-4)
    with pytest.raises(InputError, match=r"\bdev\b"):
        musdb_songs(musdb, "dev")
    with pytest.raises(InputError, match=re.escape(str(musdb / "train"))):
        musdb_songs(musdb / "train", "test")


def test_a_stem_file_of_musdb_is_read_without_the_program_ffmpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    file = tmp_path / "test" / "A - One.stem.mp4"
    file.parent.mkdir()
    with av.open(str(file), "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=128_000) for _ in STEMS]
        for stream, signal in zip(streams, _tones(), strict=True):
            for start in range(0, len(signal), 1024):
                values = np.ascontiguousarray(signal[start : start + 1024].T, np.float32)
                frame = av.AudioFrame.from_ndarray(values, "fltp", "stereo")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    songs = musdb_songs(tmp_path)
    assert list(songs) == ["A - One"]
    for name, tone in zip(STEMS, _tones(), strict=True):
        samples, rate = songs["A - One"][name].read()
        assert (rate, samples.shape, samples.dtype) == (RATE, tone.shape, np.float32)
        np.testing.assert_allclose(samples[2048:-2048], tone[2048:-2048], atol=0.02)
    file.write_bytes(b"no video")
    with pytest.raises(InputError, match=re.escape(file.name)):
        songs["A - One"]["bass"].read()


def test_the_validation_songs_are_those_of_the_package() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("musdb needs ffmpeg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import musdb
    path = Path(musdb.__path__[0]) / "configs" / "mus.yaml"
    assert all(song in path.read_text(encoding="utf-8") for song in validation_songs())


def test_slakh_adds_stems_of_a_class(tiny_slakh: Path, tmp_path: Path) -> None:
    songs = slakh_songs(tiny_slakh, "train")
    assert list(songs) == ["Track00001", "Track00002"]
    assert set(songs["Track00001"]) == {"bass", "drums"}
    track = tmp_path / "test" / "Track00009"
    for name, value, frames in (("S00", 0.25, 100), ("S01", 0.5, 60), ("S02", 0.125, 100)):
        _write(track / "stems" / f"{name}.flac", np.full(frames, value))
    _write(track / "mix.flac", np.full(100, 0.75))
    (track / "metadata.yaml").write_text(
        "audio_dir: stems\nstems:\n  S00: {inst_class: Guitar}\n  S01: {inst_class: Guitar}\n"
        "  S02: {inst_class: Strings (continued)}\n  S03: {inst_class: Bass, audio_rendered: false}\n"
    )
    song = slakh_songs(tmp_path)["Track00009"]
    assert set(song) == {"guitar", "strings (continued)", "mixture"}
    samples, _ = song["guitar"].read()
    np.testing.assert_allclose(samples[:, 0], [0.75] * 60 + [0.25] * 40, atol=1e-4)


def test_pairs_are_mono_resampled_and_of_one_length(tmp_path: Path) -> None:
    stereo = np.stack([np.full(2000, 0.5), np.full(2000, 0.1)], axis=1)
    songs = {
        "whole": {
            "bass": Recording((_write(tmp_path / "a.wav", stereo, 2000),)),
            "drums": Recording((_write(tmp_path / "b.wav", np.full(1500, 0.2), 2000),)),
        },
        "half": {"bass": Recording((tmp_path / "missing.wav",))},
    }
    (pair,) = song_pairs(songs, ("drums", "bass"), 1000)
    assert (pair.id, pair.sample_rate, pair.sources.shape) == ("whole", 1000, (2, 1000))
    np.testing.assert_allclose(pair.sources[1, 100:900], 0.3, atol=1e-3)
    np.testing.assert_allclose(pair.sources[0, 100:700], 0.2, atol=1e-3)
    assert not pair.sources[0, 750:].any()
    assert not list(song_pairs(songs, ("drums", "bass"), 1000, limit=0))


def test_recordings_that_do_not_fit_or_are_missing(tmp_path: Path) -> None:
    one, other = _write(tmp_path / "1.wav", np.ones(9), 1000), _write(tmp_path / "2.wav", np.ones(9), 2000)
    with pytest.raises(InputError, match=r"[12]\.wav"):
        Recording((one, other)).read()
    for damaged in (tmp_path / "no.wav", _write(tmp_path / "0.wav", np.ones(0))):
        with pytest.raises(InputError):
            Recording((damaged,)).read()
