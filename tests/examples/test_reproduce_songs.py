"""``songs.sh``, ``speech-music.sh`` and ``combine_priors.py``: from songs to a prior of all their sources."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from example_scripts import EXAMPLES, run_script
from msgspec import structs
from tiny_sound import make_dual, make_sound
from train_request import run

from sepcli import load
from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.training.task import LoopSettings

CLASSES = ("Drums", "Bass", "Other")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "combine_priors", EXAMPLES / "reproduce" / "combine_priors.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_priors_of_one_source_become_one_prior(program: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "band"
    sounds = {name: make_sound(folder / name, name) for name in ("kit", "low", "rest")}
    assert program.main([str(folder), *sounds, "--title", "All of it", "--limit", "Only tests."]) == 0
    card = cards.read(folder)
    assert (card.name, card.title, card.sources) == ("band", "All of it", ("kit", "low", "rest"))
    assert (card.priors, card.weights, card.files) == (("kit", "low", "rest"), (1.0, 1.0, 1.0), {})
    assert card.limits[0] == "Only tests."
    card = structs.replace(card, settings={"score": {"steps": 3}})
    cards.write(card, folder)
    assert load(folder).describe()["settings"]["steps"] == 3
    assert load(folder, other=True).describe()["settings"]["steps"] != 3  # another sampling problem
    cards.write(structs.replace(card, settings={}), folder)
    mixture = torch.randn(2048, generator=torch.Generator().manual_seed(0))
    together, alone = (
        load(prior).separate(mixture, sample_rate=8000) for prior in (folder, [*sounds.values()])
    )
    assert list(together.sources) == ["kit", "low", "rest"]
    for name in together.sources:
        torch.testing.assert_close(together[name], alone[name])


def test_other_priors_are_refused(
    program: ModuleType, tmp_path: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dual = make_dual(tmp_path / "dual", tiny_prior)
    make_sound(tmp_path / "kit", "kit")
    for bad in (dual, tmp_path / "nothing"):
        assert program.main([str(tmp_path / "p"), str(tmp_path / "kit"), str(bad), "--title", "p"]) == 1
        assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "p").exists()


def make_songs(data: Path, classes: Sequence[str]) -> Path:
    """Songs of noise in Slakh's layout, one of each split."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        track = data / split / "Track00001"
        (track / "stems").mkdir(parents=True)
        stems = {f"S{n:02d}": {"inst_class": name, "audio_rendered": True} for n, name in enumerate(classes)}
        for stem in stems:
            soundfile.write(track / "stems" / f"{stem}.flac", 0.1 * rng.standard_normal(22050 * 4), 22050)
        (track / "metadata.yaml").write_text(json.dumps({"audio_dir": "stems", "stems": stems}))
    return data


def make_denoiser(out: Path, data: Path, source: str) -> Path:
    """A tiny denoiser of a source of songs, trained for one step."""
    loop = LoopSettings(seconds=None, steps=1, validations=1)
    words = {
        "family": "denoiser",
        "preset": "tiny",
        "sources": (source,),
        "batch": 2,
        "tokens": 16,
        "validated": 2,
    }
    run({**words, "data": data, "out": out, "cache": None, "device": torch.device("cpu"), "loop": loop})
    return out


@pytest.mark.slow
def test_speech_and_music_are_trained_combined_and_measured(tmp_path: Path) -> None:
    data, out = make_songs(tmp_path / "set", ("Speech", "Music")), tmp_path / "out"
    first = make_denoiser(tmp_path / "first", data, "music")
    settings = {"PRESET": "tiny", "BUDGET": "1s", "VALIDATED": "2", "PAIRS": "1", "INIT": str(first)}
    run_script("reproduce/speech-music.sh", data, data, out, **settings, RANK="4")
    card, bundled = (cards.read(folder / "speech-music") for folder in (out, index.BUNDLED))
    assert (card.sources, card.settings) == (("speech", "music"), bundled.settings)
    results = json.loads((out / "speech-music.json").read_text())["results"]
    assert {"sepcli", "average", "oracle mask"} <= set(results["sdr"])
    entry = cards.read(out / "speech-music" / "speech").parts["denoiser"]
    assert "--set rank=4" in entry.training["command"]
    assert [before["prior"] for before in entry.history] == ["speech", "first"]
    stopped = out / "speech-music" / "music" / "card.toml"
    stopped.unlink()  # as by a stop before the card, which is written last
    run_script("reproduce/speech-music.sh", data, data, out, **settings, RANK="4")
    assert cards.read(stopped.parent).parts["denoiser"].training["rank"] == 4


@pytest.mark.slow
def test_the_script_trains_combines_and_measures(tmp_path: Path) -> None:
    data = make_songs(tmp_path / "slakh", CLASSES)
    first, out = make_denoiser(tmp_path / "first", data, "drums"), tmp_path / "out"
    settings = {"PRESET": "tiny", "BUDGET": "2s", "SONGS_INIT": f"{first} {first} {first}", "SONGS": "1"}
    run_script("reproduce/songs.sh", data, out, **settings)
    card = cards.read(out / "songs")
    assert card.sources == ("drums", "bass", "other")
    results = json.loads((out / "songs.json").read_text())["results"]
    assert {"sepcli", "average", "oracle mask"} <= set(results["sdr"])
    shutil.rmtree(out / "songs" / "songs-other")
    (out / "songs.json").unlink()
    run_script("reproduce/songs.sh", data, out, **settings)  # goes on where it was
    assert (out / "songs.json").is_file()
