"""Finding what belongs together, and scoring it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.datasets.musdb18 import open_musdb
from sepcli.errors import InputError, OutputError
from sepcli.evaluation.folder_layouts import ESTIMATES
from sepcli.evaluation.folder_pairs import pair_folders
from sepcli.evaluation.report import Report
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.folders import open_folders
from sepcli.metrics.audio import si_sdr
from sepcli.metrics.images import psnr, ssim
from sepcli.separation.processes import Processes

RATE = 1000


def evaluate_folders(
    estimates: Path,
    references: Path,
    metrics: Sequence[str] = (),
    any_order: bool = False,
    workers: int = 1,
    **options: Any,
) -> Report:
    task = open_folders(estimates, references, metrics, any_order=any_order)
    return run(task, metrics, executor=Processes(("cpu",) * workers) if workers > 1 else None, **options)


def _write(path: Path, seed: int = 0, rate: int = RATE, length: int = 3 * RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (length, channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")


def _tracks(folder: Path, pattern: str, seed: int = 0) -> Path:
    for track in ("one", "two"):
        for number, stem in enumerate(("bass", "drums")):
            _write(folder / pattern.format(track=track, stem=stem), seed + number)
    return folder


@pytest.mark.parametrize("estimates", ["{track}/{stem}.flac", "{stem}/{track}.wav"])
@pytest.mark.parametrize("references", ["{track}/{stem}.wav", "{stem}/{track}.flac"])
def test_both_layouts_pair(tmp_path: Path, estimates: str, references: str) -> None:
    pairing = pair_folders(_tracks(tmp_path / "est", estimates), _tracks(tmp_path / "ref", references))
    assert pairing.stems == ("bass", "drums")
    assert [track.id for track in pairing.tracks] == ["one", "two"]
    for track in pairing.tracks:
        for stem in pairing.stems:
            for path in (track.estimates[ESTIMATES][stem], track.references[stem]):
                assert isinstance(path, Path)
                assert {track.id, stem} <= {path.stem, path.parent.name}
    assert not pairing.failures


def test_unusual_stem_names_follow_the_estimates_layout(tmp_path: Path) -> None:
    for track in ("one", "two"):
        for stem in ("sitar", "tabla"):
            _write(tmp_path / "est" / track / f"{stem}.wav")
            _write(tmp_path / "ref" / stem / f"{track}.wav")
    pairing = pair_folders(tmp_path / "est", tmp_path / "ref")
    assert pairing.stems == ("sitar", "tabla")
    assert len(pairing.tracks) == 2


@pytest.mark.parametrize("nested", ["neither", "estimates", "references"])
def test_stems_of_one_track_lie_in_the_folder_itself(tmp_path: Path, nested: str) -> None:
    for which in ("estimates", "references"):
        folder = tmp_path / which / "song" if which == nested else tmp_path / which
        for stem in ("bass", "drums"):
            _write(folder / f"{stem}.wav")
    pairing = pair_folders(tmp_path / "estimates", tmp_path / "references")
    assert [track.id for track in pairing.tracks] == ["references" if nested == "neither" else "song"]


def test_missing_partners_fail_their_track_only(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    (est / "two" / "bass.wav").unlink()
    _write(est / "three" / "bass.wav")
    _write(est / "three" / "drums.wav")
    _write(ref / "one" / "vocals.wav")
    pairing = pair_folders(est, ref)
    assert [track.id for track in pairing.tracks] == ["one"]
    reasons = {f.track: f.reason for f in pairing.failures}
    assert set(reasons) == {"two", "three"}
    assert [stem for stem in ("bass", "drums") if stem in reasons["two"]] == ["bass"]
    assert [stem for stem in ("bass", "drums") if stem in reasons["three"]] == ["bass", "drums"]
    assert pairing.ignored == ("vocals",)


def test_nothing_in_common_and_no_folder(tmp_path: Path) -> None:
    est, ref = _tracks(tmp_path / "est", "{track}/{stem}.wav"), tmp_path / "ref"
    with pytest.raises(InputError, match=re.escape(str(ref))):
        pair_folders(est, ref)
    ref.mkdir()
    with pytest.raises(InputError, match=re.escape(str(ref))):
        pair_folders(est, ref)
    _write(ref / "elsewhere" / "piano.wav")
    with pytest.raises(InputError, match=re.escape(str(est))):
        pair_folders(est, ref)
    _write(ref / "piano.wav")
    with pytest.raises(InputError, match=re.escape(str(ref))):
        pair_folders(est, ref)


def test_one_stem_in_two_formats_is_refused(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    _write(est / "one" / "bass.flac")
    with pytest.raises(InputError, match=r"\bbass\b"):
        pair_folders(est, ref)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"rate": 2000}, r"\b2000\b"), ({"length": 1975}, r"\b1975\b"), ({"channels": 2}, r"\b2\b")],
    ids=str,
)
def test_unlike_files_fail_their_track(tmp_path: Path, change: dict[str, int], reason: str) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    _write(est / "one" / "bass.wav", **change)
    report = evaluate_folders(est, ref, ["sdr"])
    (bad,) = report.failures
    assert bad.track == "one"
    assert re.search(reason, bad.reason)
    assert {score.track for score in report.scores} == {"two"}


@pytest.mark.parametrize("longer", [1, -1, 1024, -1024, 1025, -1025])
def test_estimates_are_cut_or_padded_as_museval_does(tmp_path: Path, longer: int) -> None:
    rng = np.random.default_rng(0)
    sources = {stem: rng.uniform(-0.5, 0.5, 3 * RATE) for stem in ("bass", "drums")}
    (tmp_path / "est" / "two").mkdir(parents=True)
    for track in ("one", "two"):
        for stem, x in sources.items():
            (tmp_path / "ref" / track).mkdir(parents=True, exist_ok=True)
            (tmp_path / "est" / track).mkdir(parents=True, exist_ok=True)
            y = x + 0.1 * rng.uniform(-0.5, 0.5, x.size)
            y = y if (track, stem) == ("two", "drums") else np.pad(y, (0, 1025))[: x.size + longer]
            soundfile.write(tmp_path / "ref" / track / f"{stem}.wav", x, RATE, subtype="FLOAT")
            soundfile.write(tmp_path / "est" / track / f"{stem}.wav", y, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "est" / "two" / "bass.wav", 0.9 * sources["bass"], RATE, subtype="FLOAT")
    report = evaluate_folders(tmp_path / "est", tmp_path / "ref", ["sdr"])
    scores = {(s.track, s.stem): s for s in report.scores if s.method == "estimates"}
    assert scores["two", "bass"].value == pytest.approx(20.0, abs=1e-3)
    if abs(longer) > 1024:
        assert [failure.track for failure in report.failures] == ["one"]
        assert re.search(rf"\b{3 * RATE + longer}\b", report.failures[0].reason)
        return
    assert report.failures == ()
    assert {key: score.excess for key, score in scores.items()} == {
        ("one", "bass"): longer,
        ("one", "drums"): longer,
        ("two", "bass"): 0,
        ("two", "drums"): 0,
    }
    whole = np.pad(soundfile.read(tmp_path / "est" / "one" / "bass.wav")[0], (0, 1024))[: 3 * RATE]
    soundfile.write(tmp_path / "est" / "one" / "bass.wav", whole, RATE, subtype="FLOAT")
    again = evaluate_folders(tmp_path / "est", tmp_path / "ref", ["sdr"])
    (value,) = (s.value for s in again.scores if (s.track, s.stem, s.method) == ("one", "bass", "estimates"))
    assert scores["one", "bass"].value == pytest.approx(value, abs=1e-6)
    note = next(note for note in report.notes if "longer" in note)
    assert re.search(rf"(?=.*\b2 estimate)(?=.*\b1 track)(?=.*\b{abs(longer)} samples)", note)


def test_stems_are_averaged_by_the_tracks_that_have_them(tmp_path: Path) -> None:
    est, ref = _noisy(tmp_path)
    for folder in (est, ref):
        (folder / "0" / "drums.wav").unlink()
    report = evaluate_folders(est, ref, ["si-sdr"])
    assert report.failures == ()
    row = report.results["si-sdr"]["estimates"]
    assert [row[stem].n for stem in ("bass", "drums", "average")] == [3, 2, 3]
    values = {(s.track, s.stem): s.value for s in report.scores if s.method == "estimates"}
    means = [values["0", "bass"], *((values[t, "bass"] + values[t, "drums"]) / 2 for t in "12")]
    assert row["average"].mean == pytest.approx(np.mean(means))
    assert any("drums (2)" in note for note in report.notes)


def test_stems_of_a_data_set_end_in_silence(tmp_path: Path) -> None:
    short = tmp_path / "test" / "A - One"
    for number, stem in enumerate(("drums", "bass", "other", "vocals")):
        _write(short / f"{stem}.wav", number, length=3 * RATE - 700 * number)
        _write(tmp_path / "est" / "A - One" / f"{stem}.wav", number, length=3 * RATE)
    report = run(open_folders(tmp_path / "est", open_musdb(tmp_path).songs), ["sdr"])
    assert report.failures == ()
    assert report.results["sdr"]["estimates"]["drums"].mean == np.inf


@pytest.mark.parametrize("loudness", [0.0, 1.0], ids=["whole", "partial"])
def test_baselines_know_what_the_scored_stems_leave_of_the_mixture(tmp_path: Path, loudness: float) -> None:
    rng, t = np.random.default_rng(0), np.arange(3 * RATE) / RATE
    sounds = {"bass": np.sin(2 * np.pi * 60 * t), "drums": 0.5 * rng.standard_normal(len(t))}
    rest = loudness * 0.5 * rng.standard_normal(len(t))
    for folder in ("ref", "est"):
        (tmp_path / folder / "song").mkdir(parents=True)
        for stem, sound in sounds.items():
            soundfile.write(tmp_path / folder / "song" / f"{stem}.wav", 0.2 * sound, RATE, subtype="FLOAT")
    mixture = 0.2 * (sum(sounds.values()) + rest)
    soundfile.write(tmp_path / "ref" / "song" / "mixture.wav", mixture, RATE, subtype="FLOAT")
    report = evaluate_folders(tmp_path / "est", tmp_path / "ref", ["si-sdr"])
    drums = {row: stems["drums"].mean for row, stems in report.results["si-sdr"].items()}
    assert drums["average"] == pytest.approx(si_sdr(sounds["drums"][:, None], mixture[:, None]))
    if loudness:  # half of the noise is not drums, and a mask that knows it leaves no more than half in
        assert drums["oracle mask"] == pytest.approx(3.0, abs=1.5)
    else:
        assert drums["oracle mask"] > 10.0


def test_scores_are_those_of_the_files(tmp_path: Path) -> None:
    for stem, seed in (("bass", 1), ("drums", 2)):
        x = np.random.default_rng(seed).uniform(-0.5, 0.5, (3 * RATE, 2))
        for folder, gain in (("ref", 1.0), ("est", 0.9)):
            (tmp_path / folder / "song").mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / folder / "song" / f"{stem}.wav", gain * x, RATE, subtype="FLOAT")
    report = evaluate_folders(tmp_path / "est", tmp_path / "ref", ["sdr", "si-sdri"])
    rows = report.results["sdr"]
    assert list(rows) == ["estimates", "average", "oracle mask"]
    assert rows["estimates"]["bass"].mean == pytest.approx(20.0, abs=1e-3)
    assert rows["average"]["bass"].mean == pytest.approx(3.0, abs=0.3)
    assert rows["average"]["bass"].mean < rows["oracle mask"]["bass"].mean < 20
    assert report.results["si-sdri"]["average"]["bass"].mean == pytest.approx(0.0, abs=1e-4)
    assert report.protocol.tracks == 1


def test_a_mixture_beside_the_references_is_used(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    without = evaluate_folders(est, ref, ["sdr"]).results["sdr"]["average"]["bass"].mean
    for track in ("one", "two"):
        _write(ref / track / "mixture.wav", seed=9)
    report = evaluate_folders(est, ref, ["sdr"])
    assert report.protocol.stems == ("bass", "drums")
    assert report.results["sdr"]["average"]["bass"].mean < without - 1


def test_nothing_scored_is_an_error(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    for track in ("one", "two"):
        _write(est / track / "bass.wav", rate=2000)
    with pytest.raises(InputError, match=r"bass\.wav"):
        evaluate_folders(est, ref, ["sdr"])


def _noisy(tmp_path: Path, tracks: int = 3) -> tuple[Path, Path]:
    """Estimates of unlike quality, and references."""
    for number in range(tracks):
        for stem, seed in (("bass", 1), ("drums", 2)):
            rng = np.random.default_rng([number, seed])
            x = rng.uniform(-0.5, 0.5, 3 * RATE)
            for folder, noise in (("ref", 0.0), ("est", 0.1 * (1 + number))):
                (tmp_path / folder / str(number)).mkdir(parents=True, exist_ok=True)
                y = x + noise * rng.uniform(-0.5, 0.5, x.size)
                soundfile.write(tmp_path / folder / str(number) / f"{stem}.wav", y, RATE, subtype="FLOAT")
    return tmp_path / "est", tmp_path / "ref"


def test_a_stopped_run_goes_on_to_the_same_report(tmp_path: Path) -> None:
    folders, journal = _noisy(tmp_path), tmp_path / "journal"
    (folders[0] / "1" / "bass.wav").write_bytes(b"RIFF")  # fails each time
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    whole = evaluate_folders(*folders, ["sdr", "si-sdr"])

    def stop(done: int, total: int) -> None:
        if done == 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(*folders, ["sdr", "si-sdr"], journal=journal, on_progress=stop)
    text = journal.read_text()
    assert len(text.splitlines()) == 2
    journal.write_text(text + text.splitlines()[1][:50])  # killed while writing the next
    assert evaluate_folders(*folders, ["sdr", "si-sdr"], journal=journal) == whole
    assert len(journal.read_text().splitlines()) == 3
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.wav")} == before
    with pytest.raises(OutputError, match=re.escape(str(journal))):
        evaluate_folders(*folders, ["sdr"], journal=journal)
    _write(folders[0] / "2" / "bass.wav", length=3 * RATE)  # another estimate
    with pytest.raises(OutputError, match=re.escape(str(journal))):
        evaluate_folders(*folders, ["sdr", "si-sdr"], journal=journal)


@pytest.mark.slow
def test_workers_change_nothing(tmp_path: Path) -> None:
    folders = _noisy(tmp_path)
    (folders[0] / "1" / "bass.wav").write_bytes(b"RIFF")
    assert evaluate_folders(*folders, ["sdr"], workers=2) == evaluate_folders(*folders, ["sdr"])


@pytest.mark.parametrize("name", ["average", "oracle mask"])
def test_models_and_stems_called_like_rows_and_columns_are_refused(tmp_path: Path, name: str) -> None:
    est, ref = _noisy(tmp_path)
    est.rename(tmp_path / name)
    (tmp_path / "separated").mkdir()
    (tmp_path / name).rename(tmp_path / "separated" / name)
    with pytest.raises(InputError, match=name):
        evaluate_folders(tmp_path / "separated", ref)
    assert evaluate_folders(tmp_path / "separated" / name, ref).results  # no row of its own
    for path in tmp_path.rglob("bass.wav"):
        path.rename(path.with_name("average.wav"))
    with pytest.raises(InputError, match="average"):
        evaluate_folders(tmp_path / "separated" / name, ref)


def test_the_best_order_is_taken_only_when_asked(tmp_path: Path) -> None:
    est, ref = _noisy(tmp_path, 2)
    straight = evaluate_folders(est, ref, ["usdr"]).results["usdr"]["estimates"]
    (est / "1" / "bass.wav").rename(tmp_path / "bass.wav")
    (est / "1" / "drums.wav").rename(est / "1" / "bass.wav")
    (tmp_path / "bass.wav").rename(est / "1" / "drums.wav")
    named = evaluate_folders(est, ref, ["usdr"])
    assert named.results["usdr"]["estimates"]["bass"].mean < straight["bass"].mean - 5
    best = evaluate_folders(est, ref, ["usdr"], any_order=True)
    assert best.results["usdr"]["estimates"] == straight
    assert "SI-SDR" in best.protocol.settings["order"]


def test_folders_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {
        (folder, stem): rng.integers(0, 255, (13, 16), np.uint8)
        for folder in ("est", "ref")
        for stem in ("first", "second")
    }
    for (folder, stem), pixels in images.items():
        (tmp_path / folder / "pair").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / folder / "pair" / f"{stem}.png")
    report = evaluate_folders(tmp_path / "est", tmp_path / "ref")
    assert list(report.results) == ["psnr", "ssim"]
    assert list(report.results["psnr"]) == ["estimates", "average"]
    x, y = images["ref", "first"][None] / 255, images["est", "first"][None] / 255
    assert report.results["psnr"]["estimates"]["first"].mean == pytest.approx(psnr(x, y), abs=1e-4)
    assert report.results["ssim"]["estimates"]["first"].mean == pytest.approx(ssim(x, y), abs=1e-4)
    half = (x + images["ref", "second"][None] / 255) / 2
    assert report.results["psnr"]["average"]["first"].mean == pytest.approx(psnr(x, half), abs=1e-4)
    Image.fromarray(images["est", "first"][:9]).save(tmp_path / "est" / "pair" / "first.png")
    with pytest.raises(InputError, match=r"first\.png"):
        evaluate_folders(tmp_path / "est", tmp_path / "ref")
