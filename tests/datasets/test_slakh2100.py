import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

import sepcli.datasets.songs
from sepcli.datasets.slakh2100 import is_slakh, open_slakh
from sepcli.datasets.song_banks import PEAK, has_split, open_songs, song_notes
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError, OutputError

RATE = 8000
STEPS = 1 / 32767


def tone(hertz: float, seconds: float = 0.5, peak: float = 0.2, rate: int = RATE) -> np.ndarray:
    return peak * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def write_track(
    track: Path, stems: dict[str, tuple[dict[str, Any], np.ndarray | None]], rate: int = RATE
) -> None:
    (track / "stems").mkdir(parents=True)
    for key, (_, samples) in stems.items():
        if samples is not None:
            soundfile.write(track / "stems" / f"{key}.flac", samples, rate)
    metadata = {
        "UUID": track.name,
        "audio_dir": "stems",
        "stems": {key: entry for key, (entry, _) in stems.items()},
    }
    (track / "metadata.yaml").write_text(yaml.safe_dump(metadata))


def entry(inst_class: str, **more: Any) -> dict[str, Any]:
    return {"inst_class": inst_class, "is_drum": inst_class == "Drums", "audio_rendered": True, **more}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two complete songs and one without bass; also a guitar, a stem not rendered and one that is lost."""
    train = tmp_path / "slakh" / "train"
    drums, bass, guitar = entry("Drums"), entry("Bass"), entry("Guitar")
    write_track(
        train / "Track00001",
        {"S00": (drums, tone(900)), "S01": (bass, tone(100)), "S02": (guitar, tone(300))},
    )
    unrendered, lost = entry("Bass", audio_rendered=False), entry("Guitar")
    write_track(
        train / "Track00002",
        {"S00": (drums, tone(700, 0.25)), "S01": (unrendered, tone(50)), "S02": (lost, None)},
    )
    two = {"S00": (bass, tone(80)), "S03": (bass, tone(200, 0.3, 0.4)), "S05": (drums, tone(500))}
    write_track(train / "Track00007", two)
    write_track(
        tmp_path / "slakh" / "validation" / "Track00003", {"S00": (drums, tone(600)), "S01": (bass, tone(60))}
    )
    return tmp_path / "slakh"


def recordings(bank: StemBank, k: int) -> list[np.ndarray]:
    return [bank.samples[k][start:stop] / 32767 for start, stop in bank.spans[k]]


def test_stems_are_grouped_by_class_and_normalized(root: Path) -> None:
    bank = open_songs(root, "train", sample_rate=RATE)
    assert bank.names == ("drums", "bass")
    assert bank.seconds == (1.25, 1.0)
    assert [songs.tolist() for songs in bank.songs] == [[0, 1, 2], [0, 2]]
    for hertz, seconds, recording in zip((900, 700, 500), (0.5, 0.25, 0.5), recordings(bank, 0), strict=True):
        expected = tone(hertz, seconds)
        np.testing.assert_allclose(recording, PEAK * expected / abs(expected).max(), atol=3e-4)


def test_several_stems_of_a_class_are_added(root: Path) -> None:
    total = tone(80)
    total[: int(0.3 * RATE)] += tone(200, 0.3, 0.4)
    bank = open_songs(root, "train", sample_rate=RATE)
    np.testing.assert_allclose(recordings(bank, 1)[1], PEAK * total / abs(total).max(), atol=3e-4)


def test_sources_come_in_the_order_asked_for_in_any_case(root: Path) -> None:
    bank = open_songs(root, "train", sources=("BASS", "guitar"), sample_rate=RATE)
    assert bank.names == ("BASS", "guitar")
    assert bank.seconds == (1.0, 0.5)


def test_a_folder_of_tracks_needs_no_split(root: Path) -> None:
    assert open_songs(root / "validation", "train", sample_rate=RATE).seconds == (0.5, 0.5)


def test_stereo_files_are_averaged_and_resampled(tmp_path: Path) -> None:
    left, right = tone(300, 1.0, 0.5, 16000), tone(300, 1.0, 0.1, 16000)
    stems = {"S00": (entry("Drums"), np.stack([left, right], axis=1)), "S01": (entry("Bass"), left)}
    write_track(tmp_path / "Track00001", stems, rate=16000)
    bank = open_songs(tmp_path, "train", sample_rate=RATE)
    drums, bass = recordings(bank, 0)[0], recordings(bank, 1)[0]
    assert len(drums) == RATE
    np.testing.assert_allclose(drums[500:-500], PEAK * tone(300, 1.0, 1.0)[500:-500], atol=5e-3)
    np.testing.assert_allclose(drums, bass, atol=3 * STEPS)


def test_wav_stems_are_read_too(tmp_path: Path) -> None:
    write_track(tmp_path / "Track00001", {"S00": (entry("Drums"), tone(500)), "S01": (entry("Bass"), None)})
    soundfile.write(tmp_path / "Track00001" / "stems" / "S01.wav", tone(100), RATE)
    assert open_songs(tmp_path, "train", sample_rate=RATE).seconds == (0.5, 0.5)


def test_the_cache_holds_the_same_and_spares_decoding(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = open_songs(root, "train", sample_rate=RATE)
    open_songs(root, "train", sample_rate=RATE, cache=tmp_path / "cache")
    monkeypatch.setattr(sepcli.datasets.songs, "read_resampled", None)
    cached = open_songs(root, "train", sample_rate=RATE, cache=tmp_path / "cache")
    for field in ("samples", "spans", "songs"):
        for one, two in zip(getattr(plain, field), getattr(cached, field), strict=True):
            np.testing.assert_array_equal(one, two)
    assert isinstance(cached.samples[0].base, np.memmap)
    assert (cached.names, cached.sample_rate, cached.seconds) == (
        plain.names,
        plain.sample_rate,
        plain.seconds,
    )


def test_a_changed_data_set_is_decoded_again(root: Path, tmp_path: Path) -> None:
    def seconds(rate: int = RATE) -> tuple[float, ...]:
        return open_songs(root, "train", sample_rate=rate, cache=tmp_path / "cache").seconds

    assert seconds() == (1.25, 1.0)
    assert seconds(4000) == (1.25, 1.0)
    stem = root / "train" / "Track00001" / "stems" / "S00.flac"
    soundfile.write(stem, tone(900, 1.0), RATE)
    assert seconds() == (1.75, 1.0)
    os.utime(stem, (1, 1))
    seconds()
    write_track(root / "train" / "Track00009", {"S00": (entry("Bass"), tone(90, 2.0))})
    assert seconds() == (1.75, 3.0)
    assert len(list((tmp_path / "cache").iterdir())) == 5  # and nothing half-written


def test_nothing_half_written_stays_after_an_error(root: Path, tmp_path: Path) -> None:
    (root / "train" / "Track00007" / "stems" / "S05.flac").write_bytes(b"fLaC, not really")
    with pytest.raises(InputError, match=r"S05\.flac"):
        open_songs(root, "train", sample_rate=RATE, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_cache_says_so(root: Path, tmp_path: Path) -> None:
    open_songs(root, "train", sample_rate=RATE, cache=tmp_path)
    next(tmp_path.glob("slakh-train-*/0.i16")).write_bytes(b"12")
    with pytest.raises(InputError, match="slakh-train-"):
        open_songs(root, "train", sample_rate=RATE, cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_an_output_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file"))):
        open_songs(root, "train", sample_rate=RATE, cache=tmp_path / "file")


def test_a_missing_split_names_those_that_are_there(root: Path) -> None:
    with pytest.raises(InputError, match=r"\btest\b") as caught:
        open_songs(root, "test")
    assert all(name in caught.value.hint for name in ("train", "validation"))


def test_a_missing_folder_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        open_songs(tmp_path / "nowhere", "train")
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        open_songs(tmp_path, "train")


def test_a_class_that_no_track_has_names_the_others(root: Path) -> None:
    with pytest.raises(InputError, match="flute") as caught:
        open_songs(root, "train", sources=("drums", "flute"))
    assert all(name in caught.value.hint for name in ("bass", "drums", "guitar"))


def test_a_class_without_one_of_its_files_is_left_out_with_a_note(root: Path) -> None:
    before = open_slakh(root, "train")
    assert set(before.songs["Track00007"]) == {"bass", "drums"}
    assert [note for note in before.notes if "Track00007" in note] == []
    (root / "train" / "Track00007" / "stems" / "S03.flac").unlink()  # S00 is a bass, too
    found = open_slakh(root, "train")
    assert set(found.songs["Track00007"]) == {"drums"}
    assert found.complete(("drums", "bass")) == ["Track00001"]
    (note,) = found.notes
    assert re.search(r"(?=.*\b2\b)(?=.*Track00002/S02)(?=.*Track00007/S03)", note)
    assert note in song_notes(root)


def test_what_devices_leave_is_no_track(root: Path) -> None:
    for name in ("#recycle", ".@__thumb", "@eaDir"):
        shutil.copytree(root / "train" / "Track00007", root / "train" / name)
    (root / "train" / "Track00008").mkdir()  # a download that has just begun
    found = open_slakh(root, "train")
    assert list(found.songs) == ["Track00001", "Track00002", "Track00007"]
    assert "4 entries" in found.notes[0]
    assert all(name in found.notes[0] for name in ("#recycle", ".@__thumb", "@eaDir", "Track00008"))
    (root / "train").rename(root / "#recycle")
    assert [has_split(root, split) for split in ("train", "validation")] == [False, True]
    shutil.rmtree(root / "validation")
    assert not is_slakh(root)


@pytest.mark.parametrize("folder", [r"Track00007\stems", "data/made/Track00007/stems", "stems", ""])
def test_names_of_folders_and_classes_as_programs_write_them(root: Path, folder: str) -> None:
    path = root / "train" / "Track00007" / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    metadata["audio_dir"] = folder
    metadata["stems"]["S05"]["inst_class"] = "Drums "
    path.write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(metadata).replace("\n", "\r\n").encode())
    assert set(open_slakh(root, "train").songs["Track00007"]) == {"bass", "drums"}


def test_silence_alone_is_not_a_source(tmp_path: Path) -> None:
    write_track(
        tmp_path / "Track00001", {"S00": (entry("Drums"), tone(9)), "S01": (entry("Bass"), np.zeros(99))}
    )
    with pytest.raises(InputError, match=r"\bbass\b"):
        open_songs(tmp_path, "train", sample_rate=RATE)


@pytest.mark.parametrize(
    "text", ["", "stems: [", "stems: {S00: Drums}", "- 1", "stems: {S00: {plugin_name: x}}"]
)
def test_metadata_that_is_not_slakhs_is_named(root: Path, text: str) -> None:
    (root / "train" / "Track00002" / "metadata.yaml").write_text(text)
    with pytest.raises(InputError, match=r"Track00002.metadata\.yaml"):
        open_songs(root, "train")
