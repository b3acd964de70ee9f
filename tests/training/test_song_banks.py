"""Songs with stems of either layout: which it is, its splits, and what trains on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_songs import RATE, make_musdb, make_song
from train_request import run

from sepcli.catalog import card as cards
from sepcli.datasets.detect import Kind, holds_images, kind_of
from sepcli.datasets.musdb18 import is_musdb, validation_songs
from sepcli.datasets.slakh2100 import is_slakh
from sepcli.datasets.song_banks import has_split, held_out_split, holds_songs, open_songs
from sepcli.errors import InputError, UsageError
from sepcli.priors.audio import recordings as audio
from sepcli.priors.audio.recordings import FRAME, mixtures_of
from sepcli.priors.lass import count as likelihood
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table_job import open_job
from sepcli.training.config import TrainConfig
from sepcli.training.task import LoopSettings

SPLITS = ("train", "validation", "test")


@pytest.fixture
def musdb(tmp_path: Path) -> Path:
    return make_musdb(tmp_path / "musdb")


def test_what_musdb_is(musdb: Path, tiny_slakh: Path, tmp_path: Path) -> None:
    assert (is_musdb(musdb), is_slakh(musdb), is_musdb(tiny_slakh)) == (True, False, False)
    assert kind_of(musdb) is Kind.AUDIO
    assert not holds_images(musdb)
    mp4 = tmp_path / "mp4"
    (mp4 / "test").mkdir(parents=True)
    (mp4 / "test" / "A - One.stem.mp4").touch()
    assert is_musdb(mp4)
    assert kind_of(mp4) is Kind.AUDIO
    with pytest.raises(UsageError, match="musdb"):
        audio.default_source(musdb)


def test_a_folder_with_a_recording_of_that_name_is_not_musdb(tmp_path: Path) -> None:
    make_song(tmp_path / "train" / "kit", 0.1, lacking=("bass", "other", "vocals", "mixture"))
    assert kind_of(tmp_path) is Kind.AUDIO
    assert not holds_songs(tmp_path)
    make_song(tmp_path / "train" / "song", 0.1, lacking=("other", "vocals", "mixture"))
    assert holds_songs(tmp_path)


def test_splits_of_both_layouts(musdb: Path, tiny_slakh: Path) -> None:
    assert [has_split(musdb, split) for split in SPLITS] == [True, True, True]
    assert [has_split(tiny_slakh, split) for split in SPLITS] == [True, True, False]
    assert (held_out_split(musdb), held_out_split(tiny_slakh)) == ("test", "validation")
    assert [open_songs(musdb, split, ("bass",), RATE).seconds for split in SPLITS] == [(6.0,), (3.0,), (3.0,)]
    assert open_songs(tiny_slakh, "validation", ("bass",), RATE).seconds == (4.0,)
    shutil.rmtree(musdb / "test")
    assert held_out_split(musdb) == "validation"
    shutil.rmtree(musdb / "train" / min(validation_songs()))
    with pytest.raises(InputError, match="musdb"):
        held_out_split(musdb)


def test_neither_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=tmp_path.name) as caught:
        open_songs(tmp_path, "train", ("bass",), RATE)
    assert "Slakh2100" in caught.value.hint
    assert "MUSDB18" in caught.value.hint
    with pytest.raises(InputError, match="nowhere"):
        open_songs(tmp_path / "nowhere", "train", ("bass",), RATE)


def test_the_official_songs_are_held_out_if_they_are_there(musdb: Path, tmp_path: Path) -> None:
    learn, held_out = audio.open_banks(musdb, "Drums", RATE, RATE, tmp_path / "cache")
    assert (learn.seconds, held_out.seconds) == ((6.0,), (3.0,))
    assert learn.names == ("Drums",)
    shutil.rmtree(musdb / "train" / min(validation_songs()))
    learn, held_out = audio.open_banks(musdb, "Drums", RATE, RATE)
    assert (learn.seconds, held_out.seconds) == ((3.0,), (3.0,))


def test_mixtures_are_those_of_the_songs(musdb: Path) -> None:
    config = TrainConfig("variational", musdb, musdb, sources=("drums", "bass"), tokens=RATE // FRAME + 1)
    learn, _ = mixtures_of(config, RATE, RATE)
    spectrum = torch.fft.rfft(learn(np.random.default_rng(0), 2)).abs().mean(0)
    assert sorted(spectrum.topk(4).indices.tolist()) == [90, 300, 500, 1700]


def request(data: Path, out: Path, family: str, sources: tuple[str, ...], tokens: int) -> dict[str, Any]:
    return dict(
        family=family,
        data=data,
        out=out,
        preset="tiny",
        sources=sources,
        batch=2,
        tokens=tokens,
        cache=None,
        loop=LoopSettings(seconds=None, steps=1, validations=1),
        device=torch.device("cpu"),
    )


def test_a_denoiser_and_a_codec_train_on_musdb(tmp_path: Path) -> None:
    data = make_musdb(tmp_path / "musdb", 4.0)
    run(request(data, tmp_path / "p", "denoiser", ("vocals",), 16))
    card = cards.read(tmp_path / "p")
    assert card.sources == ("vocals",)
    assert card.parts["denoiser"].training["hours_of_data"] == pytest.approx(8 / 3600, abs=6e-4)
    run(request(data, tmp_path / "lass", "vqvae", ("drums", "other"), 32))
    card = cards.read(tmp_path / "lass")
    assert (card.engine, card.sources) == ("lass", ("drums", "other"))


def test_a_table_is_counted_on_musdb(musdb: Path, tiny_prior: Path, tmp_path: Path) -> None:
    prior = Path(shutil.copytree(tiny_prior, tmp_path / "prior"))
    settings = CountSettings(
        tokens=8 * 32, max_nonzeros=30, max_marginals=20, pairs=8, chunk_tokens=32, held_out=2
    )
    job = open_job(prior, musdb, settings, tmp_path / "cache")
    assert likelihood.count(job)["tokens"] == 8 * 32
    assert sorted(path.name.split("-")[1] for path in (tmp_path / "cache").iterdir()) == ["train", "valid"]
