"""Folders of recordings of any kind as one source: decoding, silence, levels, what is held out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.datasets.audio_folder import audio_files, levelled, open_folder, split, without_silence
from sepcli.datasets.detect import audio_notes
from sepcli.datasets.stems import StemBank, concatenate
from sepcli.errors import InputError

RATE = 8000


def sine(seconds: float, rate: int = RATE, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, signal: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate)
    return path


def bank(*seconds: float) -> StemBank:
    samples = [np.full(round(s * 100), 1000 * (n + 1), np.int16) for n, s in enumerate(seconds)]
    return concatenate(("a",), 100, [list(enumerate(samples))])


def test_any_rates_channels_and_formats(tmp_path: Path) -> None:
    write(tmp_path / "a.WAV", np.stack([sine(11), 0 * sine(11)], axis=1))
    write(tmp_path / "deep" / "er" / "b.flac", sine(12, 16000, level=0.1), 16000)
    write(tmp_path / "deep" / "c.ogg", sine(10.5, 11025), 11025)
    for name in (".hidden.wav", ".@__thumb/d.wav", "#recycle/e.wav", "deep/@eaDir/f.wav"):
        write(tmp_path / name, sine(20))
    (tmp_path / "notes.txt").write_text("not audio")
    assert [path.name for path in audio_files(tmp_path)] == ["a.WAV", "c.ogg", "b.flac"]
    (note,) = audio_notes(tmp_path)
    assert all(name in note for name in ("5 entries", ".hidden.wav", "#recycle", "@eaDir", "notes.txt"))
    found = open_folder(tmp_path, "violin", RATE)
    assert (found.names, found.sample_rate) == (("violin",), RATE)
    lengths = (found.spans[0][:, 1] - found.spans[0][:, 0]) / RATE
    assert lengths == pytest.approx([11, 10.5, 12], abs=0.01)
    for start, stop in found.spans[0]:
        piece = found.samples[0][start:stop] / 32768
        assert np.abs(piece).max() == pytest.approx(0.9, abs=0.01)
        peak = np.abs(np.fft.rfft(piece[: 8 * RATE])).argmax() / 8
        assert peak == pytest.approx(440, abs=0.5)


def test_short_files_are_laid_end_to_end(tmp_path: Path) -> None:
    for n in range(9):
        write(tmp_path / f"{n}.wav", sine(2.0))
    found = open_folder(tmp_path, "a", RATE)
    lengths = (found.spans[0][:, 1] - found.spans[0][:, 0]) / RATE
    assert lengths.tolist() == [5 * 2.25, 4 * 2.25]


def test_the_cache_holds_the_same_until_a_file_changes(tmp_path: Path) -> None:
    write(tmp_path / "x" / "a.wav", sine(11))
    plain = open_folder(tmp_path / "x", "a", RATE)
    cached = [open_folder(tmp_path / "x", "a", RATE, tmp_path / "cache") for _ in range(2)]
    for other in cached:
        assert np.array_equal(other.samples[0], plain.samples[0])
        assert np.array_equal(other.spans[0], plain.spans[0])
    assert len(list((tmp_path / "cache").iterdir())) == 1
    write(tmp_path / "x" / "b.wav", sine(12))
    assert len(open_folder(tmp_path / "x", "a", RATE, tmp_path / "cache").spans[0]) == 2


def test_silence_is_cut_down_to_a_pause() -> None:
    quiet = 1e-5 * np.ones(5 * RATE, np.float32)
    signal = np.concatenate([quiet, sine(1), quiet, sine(1), 0 * quiet])
    kept = without_silence(signal, RATE)
    assert len(kept) / RATE == pytest.approx(0.25 + 1 + 0.5 + 1 + 0.25, abs=0.11)
    loud = np.abs(kept) > 0.01
    assert loud.sum() == (np.abs(signal) > 0.01).sum()
    short = np.concatenate([sine(1), quiet[: RATE // 3], sine(1)])
    assert np.array_equal(without_silence(short, RATE), short)
    assert not len(without_silence(np.zeros(RATE, np.float32), RATE))


def test_recordings_are_brought_to_a_level() -> None:
    pauses = np.concatenate([np.full(1000, 8000), np.zeros(3000), np.full(1000, -8000)]).astype(np.int16)
    loud = np.full(2000, 30000, np.int16)
    both = levelled(concatenate(("a",), 100, [[(0, pauses), (1, loud)]]), 0.1)
    assert both.gains is not None
    assert both.gains[0] == pytest.approx([0.1 * 32768 / 8000, 0.1 * 32768 / 30000], rel=0.05)
    chunks = both.sample(np.random.default_rng(0), 50, 10, 0.05)
    assert np.sqrt(np.square(chunks).mean(-1)).min() > 0.05
    assert np.abs(chunks).max() == pytest.approx(0.1, rel=0.05)
    assert np.abs(both.together(np.random.default_rng(0), 20, 10)).max() == pytest.approx(0.1, rel=0.05)


def test_what_is_held_out_is_not_learnt_from() -> None:
    whole = levelled(bank(*[5.0] * 20, 0.5), 0.1)
    learn, held = split(whole, 300)
    assert len(held.spans[0]) == 3  # a tenth of 100.5 s, and not less
    assert len(learn.spans[0]) == 18
    assert not {tuple(span) for span in learn.spans[0]} & {tuple(span) for span in held.spans[0]}
    assert held.gains is not None
    assert len(held.gains[0]) == 3
    assert all(
        np.array_equal(a.spans[0], b.spans[0]) for a, b in zip(split(whole, 300), (learn, held), strict=True)
    )


def test_one_recording_is_held_out_by_time() -> None:
    learn, held = split(bank(60.0, 1.0), 300)
    assert learn.spans[0].tolist() == [[0, 5400], [6000, 6100]]
    assert held.spans[0].tolist() == [[5400, 6000]]
    learn, held = split(bank(8.0), 300)
    assert (learn.seconds, held.seconds) == ((5.0,), (3.0,))
    with pytest.raises(InputError, match=r"5\.0"):
        split(bank(5.0), 300)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        open_folder(tmp_path / "nowhere", "a")
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "x"))):
        open_folder(tmp_path / "x", "a")
    write(tmp_path / "x" / "silent.wav", 0 * sine(2))
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "x"))):
        open_folder(tmp_path / "x", "a", cache=tmp_path / "cache")
    broken = np.full(RATE, np.nan, np.float32)
    soundfile.write(tmp_path / "x" / "nan.wav", broken, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"nan\.wav"):
        open_folder(tmp_path / "x", "a", cache=tmp_path / "cache")
    (tmp_path / "x" / "nan.wav").write_bytes(b"RIFF and nothing")
    with pytest.raises(InputError, match=r"nan\.wav"):
        open_folder(tmp_path / "x", "a", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
