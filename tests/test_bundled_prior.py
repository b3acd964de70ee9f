"""The priors that ship, on the examples that ship: what a new user sees first."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import sepcli
from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.cli.app import run
from sepcli.metrics.audio import usdr
from sepcli.separation.fit import LEAST_FIT

EXAMPLES = Path(__file__).parents[1] / "examples"
SONG, PHOTO = EXAMPLES / "song", EXAMPLES / "photo" / "cat.jpg"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "names"),
    [([], {"drums", "bass", "other"}), (["--prior", "slakh-drums-bass"], {"drums", "bass"})],
    ids=["default", "slakh-drums-bass"],
)
def test_stems_of_the_example_song_are_nearer_to_the_truth_than_half_of_it_is(
    tmp_path: Path, words: list[str], names: set[str]
) -> None:
    assert run(["separate", str(SONG / "mix.flac"), "--out", str(tmp_path), "--quiet", *words]) == 0
    mixture, rate = soundfile.read(SONG / "mix.flac", dtype="int32")
    stems = {path.stem: soundfile.read(path, dtype="int32")[0] for path in (tmp_path / "mix").glob("*.flac")}
    assert set(stems) == names
    assert np.array_equal(sum(stems.values()), mixture)
    assert soundfile.info(tmp_path / "mix" / "bass.flac").samplerate == rate
    for name in ("drums", "bass"):
        truth = soundfile.read(SONG / "stems" / f"{name}.flac", dtype="int32")[0]
        estimate, reference, mixed = (x.astype(float)[None] for x in (stems[name], truth, mixture))
        assert usdr(reference, estimate)[0] > usdr(reference, mixed / 2)[0] + 1.0
    if "other" in names:  # the song has none
        assert np.square(stems["other"] / 2**31).mean() < 0.02 * np.square(mixture / 2**31).mean()


@pytest.mark.slow
def test_drums_and_bass_of_the_built_in_pairs_are_told_apart(tmp_path: Path) -> None:
    assert run(["evaluate", "--metric", "sdr", "--out", str(tmp_path / "report.json"), "--quiet"]) == 0
    found = json.loads((tmp_path / "report.json").read_text())["results"]["sdr"]
    for stem in ("drums", "bass"):
        assert found["sepcli"][stem]["mean"] > found["average"][stem]["mean"] + 1.0


@pytest.mark.slow
def test_colors_the_example_photograph(tmp_path: Path) -> None:
    words = ["colorize", str(PHOTO), "--samples", "3", "--seed", "1", "--out", str(tmp_path), "--quiet"]
    assert run(words) == 0
    gray = np.asarray(Image.open(PHOTO).convert("L")).astype(float)
    drawn = [np.asarray(Image.open(tmp_path / "cat" / f"0{n}.png")).astype(float) for n in (1, 2, 3)]
    for image in drawn:
        assert np.abs(image @ (0.299, 0.587, 0.114) - gray).max() <= 1.0
        tint = image.mean((0, 1)) - gray.mean()
        assert np.sqrt(np.square(image - gray[..., None]).mean()) > 2.0  # there are colors
        assert np.abs(tint).max() < 40.0  # but the whole is not steeped in one
    assert np.abs(drawn[0] - drawn[1]).mean() > 1.0  # a gray image does not say which


@pytest.mark.parametrize("name", index.names())
def test_bundled_files_are_those_of_the_card(name: str) -> None:
    card, folder = resolve.find(name)
    cards.verify(card, folder)
    assert all(entry.size <= 15_000_000 for entry in card.files.values())
    assert card.licence
    assert card.data
    assert card.parts or card.priors
    assert card.figures


def test_drums_and_bass_explain_the_example_song_and_not_noise() -> None:
    separator = sepcli.load("slakh-drums-bass")
    mixture, rate = soundfile.read(SONG / "mix.flac")
    fit = separator.separate(mixture[: 3 * rate], sample_rate=rate).fit
    assert fit is not None
    assert fit > LEAST_FIT
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * rate)
    misfit = separator.separate(noise, sample_rate=rate).fit
    assert misfit is not None
    assert misfit < LEAST_FIT
