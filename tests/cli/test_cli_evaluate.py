"""``sepcli evaluate`` end to end, with real files and a fake prior."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fake_engine import FakeEngine
from filelock import FileLock

import sepcli.catalog.card
import sepcli.catalog.resolve
import sepcli.priors.load
from sepcli.atomic import lock_of
from sepcli.cli.app import main, run
from sepcli.priors.selection import Selection
from sepcli.separation.separator import Separator
from sepcli.separation.settings import StreamSettings

RATE = 8000


@dataclass
class FakeSeparator(FakeEngine):
    """The mixture plus noise of its seed; a KeyboardInterrupt at the call ``fail_at``."""

    names: tuple[str, ...] = ("drums", "bass")
    weights: tuple[float, ...] = (0.5, 0.5)
    sample_rate: int = RATE
    fail_at: int | None = None
    calls: list[int] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        return {"engine": "lass", "sampler": "fake", "settings": {}}

    def sample(self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: Any = None) -> torch.Tensor:
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(mixture.shape[0])
        noise = torch.stack([torch.randn(2, 1, mixture.shape[-1], generator=_rng(row)) for row in seeds])
        return (mixture[:, None] + 0.01 * noise)[:, None]


def _rng(row: torch.Tensor) -> torch.Generator:
    return torch.Generator().manual_seed(int(row[0]))


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", *map(str, arguments)])
    return int(left.value.code or 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the catalog by one fake prior; what the command asked of it, and the separator it gets."""
    seen: dict[str, Any] = {"separator": FakeSeparator()}
    card = sepcli.catalog.card.Card(
        name="fake",
        medium="audio",
        engine="lass",
        sources=("drums", "bass"),
        weights=(0.5, 0.5),
        sample_rate=RATE,
    )

    def find(prior: str) -> tuple[sepcli.catalog.card.Card, Path]:
        seen["prior"] = prior
        return card, Path()

    def load(selection: Selection, device: Any) -> Separator:
        stream, settings = sepcli.priors.load.split_settings(selection.settings)
        seen.update(device=str(device), sampler=selection.sampler, settings=settings)
        provenance = selection.provenance()
        return Separator.of(seen["separator"], stream=StreamSettings(**stream), provenance=provenance)

    monkeypatch.setattr(sepcli.catalog.resolve, "find", find)
    monkeypatch.setattr(sepcli.priors.load, "load_selection", load)
    return seen


@pytest.fixture
def items(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for stem in ("drums", "bass"):
        (tmp_path / "items" / stem).mkdir(parents=True)
        for item in range(5):
            soundfile.write(tmp_path / "items" / stem / f"{item}.flac", rng.uniform(-0.5, 0.5, RATE), RATE)
    return tmp_path / "items"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for track in ("one", "two"):
        for stem in ("bass", "drums"):
            x = rng.uniform(-0.5, 0.5, (2 * RATE, 2))
            for folder, gain in (("est", 0.9), ("ref", 1.0)):
                (tmp_path / folder / track).mkdir(parents=True, exist_ok=True)
                soundfile.write(tmp_path / folder / track / f"{stem}.wav", gain * x, RATE, subtype="FLOAT")
    return tmp_path / "est", tmp_path / "ref"


def test_folders_as_tables(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*folders, "--metric", "sdr", "--metric", "usdr") == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    blocks = [
        [line for line in block.splitlines() if not line.startswith(" ")] for block in out.split("\n\n")
    ]
    scores, medians, *rest = blocks
    differences = [line for block in rest for line in block]
    assert medians[0].split() == ["sdr,", "median", "bass", "drums"]
    assert medians[1].split() == ["estimates", "20.00", "20.00"]
    assert scores[0].split() == ["sdr", "bass", "drums", "average", "median", "tracks"]
    assert scores[1].split()[:2] == ["estimates", "20.00"]
    assert [line.split("  ")[0] for line in scores[2:4]] == ["average", "oracle mask"]
    assert "1 s" in " ".join(scores[4:])
    assert differences[0].startswith("sdr minus that of")
    assert "estimates" in " ".join(differences)
    assert {"average", "oracle mask"} <= {line.split("  ")[0] for line in differences}
    assert any(block[0].startswith("usdr") for block in blocks)
    assert err == ""


def test_a_second_run_for_one_report_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    words = ["evaluate", *map(str, folders), "--metric", "si-sdr", "--out", str(report)]
    with FileLock(lock_of(report)):
        assert run(words) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert str(report) in first
    assert "--out" in second
    assert run(words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["est", "ref", "report.json"]


def test_folders_as_csv(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*folders, "--metric", "usdr", "--table", "csv") == 0
    scores, differences = (
        list(csv.reader(io.StringIO(text))) for text in capsys.readouterr().out.split("\n\n")
    )
    assert scores[0] == ["usdr", "bass", "drums", "average", "median", "tracks"]
    assert [row[0] for row in scores[1:]] == ["estimates", "average", "oracle mask"]
    assert scores[1][1].startswith("20.00")
    assert [len(row) for row in (*scores, *differences)] == [6] * 4 + [7] * 3


def test_the_first_finished_track_alone(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*folders, "--json", "--metric", "usdr", "--only", "1") == 0
    document = json.loads(capsys.readouterr().out)
    assert {score["track"] for score in document["tracks"]} == {"one"}
    assert document["protocol"]["tracks"] == 1


def test_folders_as_json(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*folders, "--json", "--metric", "si-sdri") == 0
    document = json.loads(capsys.readouterr().out)
    bass = document["results"]["si-sdri"]["average"]["bass"]
    assert set(bass) == {"mean", "median", "ci95", "n"}
    assert bass["n"] == 2
    assert document["protocol"]["stems"] == ["bass", "drums"]
    assert document["protocol"]["settings"] == {}


def test_what_demucs_left_is_scored_against_musdb(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estimates, references = folders
    for model in ("htdemucs", "mdx"):
        shutil.copytree(estimates, tmp_path / "separated" / model)
    (tmp_path / "musdb" / "train").mkdir(parents=True)
    references.rename(tmp_path / "musdb" / "test")
    command = ["--estimates", tmp_path / "separated", "--dataset", "musdb", "--data", tmp_path / "musdb"]
    files = [word for name in ("csv", "html", "out") for word in (f"--{name}", tmp_path / f"report.{name}")]
    assert _run(*command, *files, "--json", "--metric", "usdr") == 0
    document = json.loads(capsys.readouterr().out)
    rows = document["results"]["usdr"]
    assert list(rows) == ["htdemucs", "mdx", "average", "oracle mask"]
    assert rows["mdx"]["bass"]["mean"] == pytest.approx(20.0, abs=1e-3)
    assert document["differences"]["usdr"]["mdx"]["bass"]["mean"] == 0.0
    assert "MUSDB18" in document["protocol"]["dataset"]
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(document["tracks"]) == 2 * 4 * 2
    assert [float(row["value"]) for row in table] == [score["value"] for score in document["tracks"]]
    page = (tmp_path / "report.html").read_text()
    assert page.count('class="voice"') == 2 * (2 + 2 * 2)  # two tracks: references, two models
    assert json.loads((tmp_path / "report.out").read_text()) == document
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("dataset", ["musdb", "slakh"])
def test_songs_are_separated_without_a_prior(
    dataset: str, tmp_path: Path, tiny_slakh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, subset, song = tiny_slakh, "valid", "Track00003"
    if dataset == "musdb":
        data, subset, song = tmp_path, "test", "A - One"
        (tmp_path / "test" / song).mkdir(parents=True)
        for stem in ("drums", "bass", "vocals"):
            noise = np.random.default_rng(len(stem)).uniform(-0.4, 0.4, (RATE, 2))
            soundfile.write(tmp_path / "test" / song / f"{stem}.wav", noise, RATE)
    command = ["--dataset", dataset, "--data", data, "--split", subset, "--method", "hpss"]
    assert _run(*command, "--metric", "usdr", "--json", "--html", tmp_path / "page.html") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["results"]["usdr"]) == ["hpss", "average", "oracle mask"]
    assert {score["track"] for score in document["tracks"]} == {song}
    assert document["protocol"]["mixture"] == "0.5·drums + 0.5·bass"
    assert (tmp_path / "page.html").read_text().count('class="voice"') == 1 + 2 + 2  # mixture, sources, hpss


def test_one_damaged_song_of_slakh_stops_no_other(
    tiny_slakh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(tiny_slakh, tmp_path / "slakh")
    (data / "validation" / "Track00009").mkdir()
    (data / "validation" / "Track00009" / "metadata.yaml").write_text("stems: [")
    command = ["--dataset", "slakh", "--data", data, "--split", "valid", "--json", "--metric", "usdr"]
    assert _run(*command, "--method", "hpss") == 3
    document = json.loads(capsys.readouterr().out)
    assert {score["track"] for score in document["tracks"]} == {"Track00003"}
    (failed,) = document["failed"]
    assert failed["track"] == "Track00009"
    assert "metadata.yaml" in failed["reason"]
    for track in ("Track00003", "Track00009"):
        (tmp_path / "est" / track).mkdir(parents=True)
        for stem in ("bass", "drums"):
            found = data / "validation" / "Track00003" / "stems"
            shutil.copy(next(found.glob("*.flac")), tmp_path / "est" / track / f"{stem}.flac")
    assert _run("--estimates", tmp_path / "est", *command) == 3
    assert json.loads(capsys.readouterr().out)["failed"] == [failed]
    (data / "validation" / "Track00003" / "metadata.yaml").write_text("stems: [")
    assert _run(*command, "--method", "hpss") == 1
    assert "metadata.yaml" in capsys.readouterr().err


def test_references_may_follow_the_option(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*folders, "--json") == 0
    assert _run("--estimates", *folders, "--json") == 0
    texts = capsys.readouterr().out.split("\n}\n")
    assert texts[0] == texts[1]


def test_a_failed_track_is_exit_3(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (folders[0] / "two" / "bass.wav").write_bytes(b"RIFF")
    assert _run(*folders, "--json", "--quiet") == 3
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [failure["track"] for failure in document["failed"]] == ["two"]
    assert {score["track"] for score in document["tracks"]} == {"one"}
    assert err.startswith("warning: two ")


def test_all_tracks_failed_is_exit_1(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for track in ("one", "two"):
        (folders[0] / track / "bass.wav").write_bytes(b"RIFF")
    assert _run(*folders) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_pairs_are_separated_with_the_prior(
    items: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--prior", "mine", "--device", "cpu", "--sampler", "beam", "--set", "beams=5", "--pairs", "3"]
    assert _run("--dataset", "pairs", "--data", items, *options, "--json", "--batch", "2") == 0
    document = json.loads(capsys.readouterr().out)
    assert (asked["prior"], asked["device"], asked["sampler"]) == ("mine", "cpu", "beam")
    assert asked["settings"] == {"beams": "5"}
    assert asked["separator"].calls == [2, 1]
    assert list(document["results"]["sdr"]) == ["sepcli", "sepcli raw", "average", "oracle mask"]
    assert document["results"]["sdr"]["sepcli"]["drums"]["n"] == 3
    assert document["protocol"]["settings"]["prior"] == "fake"
    assert document["protocol"]["mixture"] == "0.5·drums + 0.5·bass"


def test_estimates_are_made_consistent_as_asked(
    items: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--dataset", "pairs", "--data", items, "--device", "cpu", "--json", "--metric", "usdr"]
    found = {}
    for how in ("wiener", "project", "none"):
        assert _run(*command, "--consistency", how) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["protocol"]["settings"]["consistency"] == how
        found[how] = document["results"]["usdr"]
    assert "sepcli" not in found["none"]
    assert found["none"]["sepcli raw"] == found["project"]["sepcli raw"]
    assert found["wiener"]["sepcli"] != found["project"]["sepcli"]


def test_without_arguments_the_builtin_set_is_separated(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["separator"].sample_rate = 22050
    assert _run("--device", "cpu", "--pairs", "2") == 0
    assert asked["prior"] == "slakh-drums-bass"
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split("  ")[0] for line in lines if not line.startswith(" ")]
    assert heads[1:5] == ["sepcli", "sepcli raw", "average", "oracle mask"]


def test_an_interrupted_run_resumes_to_the_identical_report(
    items: Path, asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--dataset", "pairs", "--data", items, "--device", "cpu", "--batch", "2", "--out"]
    assert _run(*command, tmp_path / "whole.json") == 0
    asked["separator"] = FakeSeparator(fail_at=2)
    assert _run(*command, tmp_path / "killed.json") == 130
    assert not (tmp_path / "killed.json").exists()
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    asked["separator"] = FakeSeparator()
    assert _run(*command, tmp_path / "killed.json") == 0
    assert asked["separator"].calls == [1]
    assert (tmp_path / "killed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"items", "whole.json", "killed.json"}


def test_what_is_scored_is_not_changed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files}

    before = contents()
    assert before
    metrics = ["--metric", "sdr,si-sdr,si-sdri,usdr", "--any-order"]
    assert _run(*folders, *metrics, "--html", tmp_path / "page.html", "--out", tmp_path / "report.json") == 0
    assert contents() == before


def test_an_existing_report_is_kept(
    items: Path, asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    report.write_text("precious")
    command = ["--dataset", "pairs", "--data", items, "--device", "cpu", "--out", report]
    assert _run(*command) == 1
    assert report.read_text() == "precious"
    assert "--overwrite" in capsys.readouterr().err
    assert _run(*command, "--overwrite") == 0
    assert json.loads(report.read_text())["results"]["sdr"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["only-one"], 2, "REFERENCES"),
        (["--dataset", "pairs"], 2, "--dataset"),
        (["--data", "."], 2, "--data"),
        (["a", "b", "--set", "beams=2"], 2, "estimates"),
        (["a", "b", "c"], 2, "REFERENCES"),
        (["--estimates", "a"], 2, "ESTIMATES"),
        (["--estimates", "a", "--dataset", "mnist", "--data", "."], 2, "mnist"),
        (["a", "b", "--split", "test"], 2, "--split"),
        (["--dataset", "pairs", "--data", ".", "--metric", "ssim"], 2, "ssim"),
        (["--jobs", "2", "--executor", "serial"], 2, "--executor"),
        (["a", "b", "--consistency", "wiener"], 2, "--consistency"),
        (["--dataset", "mnist", "--data", ".", "--consistency", "none"], 2, "--consistency"),
        (["--method", "hpss", "--consistency", "project"], 2, "--consistency"),
        (["--consistency", "none", "--samples", "2"], 2, "--consistency"),
        (["--csv", "same", "--html", "same"], 2, "--csv"),
        (["--csv", "a.json.partial", "--out", "a.json"], 2, "a.json.partial"),
        (["--dataset", "musdb", "--data", "."], 1, "MUSDB18"),
        ([".", ".", "--metric", "psnr", "--metric", "sdr"], 2, "metric"),
        (["--set", "beams"], 2, "beams"),
        (["missing", "missing"], 1, "missing"),
        (["--out", "no-such-folder/report.json"], 1, "no-such-folder/report.json"),
        (["--out", "."], 1, "."),
        (["--seed", "-1"], 2, "--seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_requests(
    arguments: list[str], code: int, message: str, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments) == code
    out, err = capsys.readouterr()
    assert message in err.splitlines()[0]
    assert len(err.splitlines()) == 2
    assert out == ""


def test_an_unknown_prior_is_exit_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--prior", "no-such-prior") == 4
    assert "no-such-prior" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--csv", "--html", "--plot"])
def test_a_locked_folder_is_refused_before_the_work(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert _run(option, str(tmp_path / "report.png")) == 1
    assert "report.png" in capsys.readouterr().err


def test_a_document_also_when_no_track_can_be_scored(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folders[0].rglob("*.wav"):
        soundfile.write(path, np.zeros(100), 2 * RATE)
    assert _run(*folders, "--json") == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["results"] == {}
    assert {row["track"] for row in document["failed"]} == {path.name for path in folders[1].iterdir()}
    assert all(str(2 * RATE) in row["reason"] for row in document["failed"])
    assert captured.err.startswith("error: ")
