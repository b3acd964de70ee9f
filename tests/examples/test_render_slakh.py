import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import mido
import numpy as np
import pytest
import soundfile
import yaml

from sepcli.datasets.song_banks import open_songs

PROGRAM = Path(__file__).parents[2] / "examples" / "render_slakh.py"
BEAT = 480


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_slakh", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_slakh"] = module  # dataclasses look there for the annotations
    spec.loader.exec_module(module)
    return module


def note(channel: int, pitch: int, start: int, stop: int) -> list[tuple[int, Any]]:
    on = mido.Message("note_on", channel=channel, note=pitch, velocity=90)
    return [(start, on), (stop, on.copy(velocity=0))]


def program_change(channel: int, number: int, tick: int) -> tuple[int, Any]:
    return tick, mido.Message("program_change", channel=channel, program=number)


@pytest.fixture
def events() -> list[tuple[int, Any]]:
    """Drums; a channel that is a piano, then a bass, then a guitar; a channel that is a bass throughout."""
    everything = [
        (0, mido.MetaMessage("set_tempo", tempo=400_000)),
        (0, mido.Message("sysex", data=(0x7E, 0x7F, 9, 1))),
        (0, mido.Message("control_change", channel=1, control=7, value=100)),
        (0, mido.Message("control_change", channel=2, control=0, value=8)),
        (0, mido.Message("control_change", channel=5, control=7, value=99)),
        program_change(9, 16, 0),
        program_change(2, 38, 0),
        *note(9, 36, 0, 100),
        *note(1, 60, 0, 100),
        program_change(1, 33, 200),
        *note(1, 40, 200, 900),
        *note(2, 4, 300, 400),
        program_change(1, 27, 500),
        *note(1, 64, 600, 700),
        (700, mido.MetaMessage("set_tempo", tempo=500_000)),
    ]
    return sorted(everything, key=lambda event: event[0])


def pitches(events: list[tuple[int, Any]]) -> list[tuple[int, int, int]]:
    """(start, end, pitch) of all notes."""
    notes = [(tick, m) for tick, m in events if m.type == "note_on"]
    ends = {m.note: tick for tick, m in notes if m.velocity == 0}
    return [(tick, ends[m.note], m.note) for tick, m in notes if m.velocity]


def test_drums_are_the_drum_channel_with_another_kit(
    program: ModuleType, events: list[tuple[int, Any]]
) -> None:
    picked = program.pick(events, program.drums, 40, 0)
    assert pitches(picked) == [(0, 100, 36)]
    assert [(tick, m.channel, m.program) for tick, m in picked if m.type == "program_change"] == [(0, 9, 40)]


def test_bass_follows_the_program_changes(program: ModuleType, events: list[tuple[int, Any]]) -> None:
    picked = program.pick(events, program.family("Bass"), 35, 0)
    assert pitches(picked) == [
        (200, 900, 40),
        (300, 400, 4),
    ]  # the first ends after its channel became a guitar
    changes = [(tick, m.channel, m.program) for tick, m in picked if m.type == "program_change"]
    assert changes == [(0, 1, 35), (0, 2, 35)]
    assert [(m.channel, m.control) for _, m in picked if m.is_cc()] == [
        (1, 7)
    ]  # no banks, no silent channels


def test_other_families_keep_their_programs(program: ModuleType, events: list[tuple[int, Any]]) -> None:
    piano = program.pick(events, program.family("Piano"), None, 0)
    guitar = program.pick(events, program.family("Guitar"), None, 2)
    assert pitches(piano) == [(0, 100, 60)]
    assert pitches(guitar) == [(600, 700, 66)]
    assert [m.program for _, m in guitar if m.type == "program_change"] == [33, 27]


def test_parts_without_notes_are_empty(program: ModuleType, events: list[tuple[int, Any]]) -> None:
    assert program.pick(events, program.family("Reed"), None, 0) == []


def test_transposition_stays_in_range(program: ModuleType, events: list[tuple[int, Any]]) -> None:
    picked = program.pick(events, program.family("Bass"), 35, -5)
    assert [pitch for _, _, pitch in pitches(picked)] == [35, 11]  # 4 − 5 + 12
    assert program.transposed(125, 6) == 119
    assert program.transposed(60, 6) == 66


def test_tempo_is_scaled_also_where_the_song_sets_none(
    program: ModuleType, events: list[tuple[int, Any]]
) -> None:
    assert [(tick, m.tempo) for tick, m in program.stretch(events, 1.25)] == [
        (0, 400_000),
        (0, 320_000),
        (700, 400_000),
    ]
    assert [(tick, m.tempo) for tick, m in program.stretch([], 0.8)] == [(0, 625_000)]


@pytest.mark.parametrize(("frames", "rate"), [(24, 24), (25, 25), (29, 30 / 1.001), (30, 30)])
def test_songs_may_be_divided_into_frames(
    program: ModuleType, tmp_path: Path, frames: int, rate: float
) -> None:
    ticks = 40
    song = mido.MidiFile(ticks_per_beat=-frames * 256 + ticks)
    second = round(rate * ticks)
    on = mido.Message("note_on", channel=9, note=36, velocity=90, time=2 * second)
    tempo = mido.MetaMessage("set_tempo", tempo=999_999)  # which has no effect
    song.tracks.append(mido.MidiTrack([tempo, on, on.copy(velocity=0, time=second)]))
    song.save(tmp_path / "song.mid")
    beat, events = program.read_song(tmp_path / "song.mid")
    seconds = [mido.tick2second(tick, beat, 500_000) for tick, m in events if m.type == "note_on"]
    assert beat > 0
    assert not [m for _, m in events if m.type == "set_tempo"]
    assert seconds == pytest.approx([2.0, 3.0], abs=2e-3)


def test_a_stem_lasts_as_long_as_the_song(program: ModuleType, events: list[tuple[int, Any]]) -> None:
    song = program.to_midi(
        [*program.stretch(events, 1.0), *program.pick(events, program.drums, 0, 0)], BEAT, 1660
    )
    assert song.length == pytest.approx((700 * 0.4 + 960 * 0.5) / BEAT)


def test_the_mix_is_exactly_the_sum_of_the_stems(program: ModuleType) -> None:
    rng = np.random.default_rng(0)
    sounds = [rng.uniform(-3, 3, (500, 2)), rng.uniform(-0.1, 0.1, (400, 2)), np.zeros((10, 2))]
    stems, mix, overall = program.mix_down(sounds, (1.0, 0.5, 1.0))
    np.testing.assert_array_equal(np.sum(stems, axis=0, dtype=int), mix)
    assert abs(mix).max() / 32767 == pytest.approx(0.9, abs=1e-4)
    assert abs(stems[1]).max() / abs(stems[0]).max() == pytest.approx(0.5, abs=1e-3)
    assert overall < 1


@pytest.fixture
def songs(tmp_path: Path, program: ModuleType, events: list[tuple[int, Any]]) -> Path:
    """A folder with one song, of drums, bass, piano and guitar."""
    (tmp_path / "songs").mkdir()
    program.to_midi([(tick, m) for tick, m in events if m.type != "sysex"], BEAT, 960).save(
        tmp_path / "songs" / "one.mid"
    )
    return tmp_path / "songs"


@pytest.fixture
def synthesizer(program: ModuleType) -> None:
    try:
        program.find_soundfonts(())
    except program.RenderError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("synthesizer")
def test_a_rendered_song_is_a_slakh_track(program: ModuleType, songs: Path, tmp_path: Path) -> None:
    call = [str(songs), "--out", str(tmp_path / "out"), "--rate", "16000", "--renderings", "2", "--seed", "3"]
    assert program.main(call) == 0
    tracks = sorted((tmp_path / "out" / "train").iterdir())
    assert [track.name for track in tracks] == ["Track00001", "Track00002"]
    for track in tracks:
        stems = [soundfile.read(track / "stems" / name, dtype="int16") for name in ("S00.flac", "S01.flac")]
        mix, rate = soundfile.read(track / "mix.flac", dtype="int16")
        assert rate == 16000
        assert mix.ndim == 1
        np.testing.assert_array_equal(stems[0][0].astype(int) + stems[1][0], mix)
        assert min(abs(samples).max() for samples, _ in stems) > 1000
    metadata = yaml.safe_load((tracks[0] / "metadata.yaml").read_text())
    drums, bass = metadata["stems"]["S00"], metadata["stems"]["S01"]
    assert (drums["inst_class"], drums["is_drum"], drums["program_num"]) == ("Drums", True, 128)
    assert (bass["inst_class"], bass["is_drum"], bass["audio_rendered"]) == ("Bass", False, True)
    assert bass["program_num"] in range(32, 40)
    bank = open_songs(tmp_path / "out", "train", sample_rate=16000)
    assert bank.together(np.random.default_rng(0), 1, 16000).shape == (1, 2, 16000)


@pytest.mark.usefixtures("synthesizer")
def test_a_second_call_continues(
    program: ModuleType, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [str(songs), "--out", str(tmp_path / "out"), "--stereo", "--other"]
    assert program.main(call) == 0
    track = tmp_path / "out" / "train" / "Track00001"
    assert soundfile.info(track / "stems" / "S03.flac").channels == 2  # drums, bass, piano, guitar
    written = (track / "mix.flac").stat().st_mtime_ns
    assert program.main([*call, "--renderings", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 done, 1 kept, 0 empty"
    assert (track / "mix.flac").stat().st_mtime_ns == written
    assert program.main([*call, "--seed", "1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert str(track) in lines[0]


def test_what_is_missing_is_said_in_two_lines(
    program: ModuleType,
    songs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def error(*call: object) -> list[str]:
        assert program.main([*map(str, call), "--out", str(tmp_path / "out")]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        return lines

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert str(tmp_path / "no.sf2") in error(songs, "--soundfont", tmp_path / "no.sf2")[0]
    monkeypatch.setattr(program, "SOUNDFONT_FOLDERS", (str(tmp_path),))
    assert "--soundfont" in error(songs)[1]
    (tmp_path / "some.sf2").write_bytes(b"")
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in error(nowhere, "--soundfont", tmp_path / "some.sf2")[0]
    (songs / "one.mid").write_bytes(b"not MIDI")
    assert "one.mid" in error(songs, "--soundfont", tmp_path / "some.sf2")[0]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "fluidsynth" in error(songs)[0]


def test_a_clock_follows_all_tempos(program: ModuleType) -> None:
    tempos = [
        (0, mido.MetaMessage("set_tempo", tempo=500_000)),
        (0, mido.MetaMessage("set_tempo", tempo=400_000)),
        (960, mido.MetaMessage("set_tempo", tempo=1_000_000)),
    ]
    seconds = program.clock(tempos, BEAT)
    assert [seconds(tick) for tick in (0, 480, 960, 1440)] == pytest.approx([0.0, 0.4, 0.8, 1.8])


def test_programs_may_be_replaced_by_others_of_the_accompaniment(
    program: ModuleType, events: list[tuple[int, Any]]
) -> None:
    varied = [(number + 1) % 128 for number in range(128)]
    picked = program.pick(events, program.accompaniment, None, 0, varied)
    assert pitches(picked) == [(0, 100, 60), (600, 700, 64)]
    assert [(tick, m.program) for tick, m in picked if m.type == "program_change"] == [(200, 34), (500, 28)]
