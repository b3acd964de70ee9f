"""``sepcli page`` and ``--html``: a folder of results is enough for its page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.cli.app import run
from sepcli.cli.record_about import fit_warning

RATE = 8000


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2 * RATE, 2))
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, noise, RATE)
    Image.fromarray(np.arange(144, dtype=np.uint8).reshape(12, 12)).save("gray.png")
    return tmp_path


def voices(page: Path) -> list[str]:
    return re.findall(r"<h3>(.*?)</h3>", page.read_text("utf-8"))


def separate(*options: str) -> int:
    return run(["separate", "a.wav", "--method", "hpss", "-q", *options])


def test_a_page_comes_with_the_stems(capsys: pytest.CaptureFixture[str]) -> None:
    assert separate("--html") == 0
    page = Path("separated/a/page.html")
    assert voices(page) == ["mixture", "drums", "bass"]
    assert separate("--html") == 1
    page.unlink()
    assert separate("--html", "--resume") == 0
    assert page.exists()
    assert run(["page", "separated"]) == 1
    assert "page.html" in capsys.readouterr().err
    assert run(["page", "separated", "--overwrite"]) == 0
    assert capsys.readouterr().out == f"{page}\n"


def test_the_page_is_no_output_of_the_record() -> None:
    assert separate("--html") == 0
    record = json.loads(Path("separated/a/run.json").read_text("utf-8"))
    assert [*record["outputs"]] == ["drums.wav", "bass.wav"]
    assert run(["separate", "--replay", "separated/a/run.json", "-o", "again", "-q"]) == 0
    assert not Path("again/a/page.html").exists()


def test_a_page_that_is_there_is_kept() -> None:
    Path("separated/a").mkdir(parents=True)
    Path("separated/a/page.html").write_text("mine")
    assert separate("--html") == 1
    assert not Path("separated/a/drums.wav").exists()
    assert Path("separated/a/page.html").read_text() == "mine"


def test_dry_run_names_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["separate", "a.wav", "--method", "hpss", "--html", "--dry-run", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["dry_run"]
    assert "separated/a/page.html" in entry["outputs"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["sum of the stems", "drums", "bass"]),
        (("--only", "bass"), ["bass"]),
        (("--two-stems", "bass"), ["sum of the stems", "bass", "no_bass"]),
        (("--format", "stem.mp4"), ["mixture", "drums", "bass"]),
        (("--start", "0.5", "--length", "1"), ["sum of the stems", "drums", "bass"]),
    ],
)
def test_the_folder_is_enough(options: tuple[str, ...], expected: list[str]) -> None:
    assert separate(*options) == 0
    shutil.move("separated", "elsewhere")
    Path("a.wav").unlink()
    assert run(["page", "elsewhere"]) == 0
    (page,) = Path("elsewhere").rglob("*page.html")
    assert voices(page) == expected


def test_a_part_of_the_mixture_is_shown() -> None:
    assert separate("--start", "0.5", "--length", "1") == 0
    assert run(["page", "separated"]) == 0
    text = Path("separated/a/page.html").read_text("utf-8")
    assert voices(Path("separated/a/page.html")) == ["mixture", "drums", "bass"]
    assert 'data-seconds="1.000"' in text


def test_several_tracks_and_one_that_is_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["separate", "a.wav", "b.wav", "--method", "hpss", "-q"]) == 0
    Path("separated/b/bass.wav").unlink()
    assert run(["page", "separated", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert [one["page"] for one in document["pages"]] == ["separated/a/page.html"]
    assert "bass.wav" in document["failed"][0]["error"]
    assert run(["page", "separated", "-o", "one.html"]) == 1


@pytest.mark.parametrize("arguments", [("nowhere",), (".",), ("a.wav",)])
def test_folders_without_results(arguments: tuple[str, ...]) -> None:
    assert run(["page", *arguments]) == 1


def test_samples_of_audio_have_groups_and_confidence(tiny_prior: Path) -> None:
    options = ["--prior", str(tiny_prior), "--samples", "2", "--html", "-q"]
    assert run(["separate", "a.wav", *options]) == 0
    text = Path("separated/a/page.html").read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", text)[:3] == ["Mixture", "Sample 1, the best", "Sample 2"]
    record = json.loads(Path("separated/a/run.json").read_text("utf-8"))
    found = [json.loads(one.replace("&#34;", '"')) for one in re.findall(r'data-confidence="(.*?)"', text)]
    assert found == [record["confidence"][name] for name in ("drums", "bass")]


def test_a_prior_that_does_not_fit_is_a_warning() -> None:
    assert fit_warning(None) == fit_warning(0.5) == ()
    (text,) = fit_warning(0.001)
    assert "0.001" in text
    assert separate("--html") == 0
    assert "not assessed" in Path("separated/a/page.html").read_text("utf-8")


def test_pages_of_images_and_colors(tiny_images: Path, tiny_colors: Path) -> None:
    options = ["--samples", "2", "--html", "-q", "--set", "steps=2"]
    assert run(["separate", "gray.png", "--prior", str(tiny_images), *options]) == 0
    text = Path("separated/gray/page.html").read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", text)[:5] == [
        *("Mixture", "Sample 1, the best", "Sample 2", "Mean", "Standard deviation")
    ]
    assert run(["colorize", "gray.png", "--prior", str(tiny_colors), *options]) == 0
    text = Path("colorized/gray/page.html").read_text("utf-8")
    assert "Before and after" in text
    assert len(re.findall(r'name="sample"', text)) == 2
    assert len(re.findall(r'src="data:image/png', text)) == 2 + 2 + 3 + 2
