"""The prior that ships, on the mix that ships: what a new user sees first."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.metrics import usdr

SONG = Path(__file__).parents[1] / "examples" / "song"


@pytest.mark.slow
def test_separates_the_example_song(tmp_path: Path) -> None:
    assert run(["separate", str(SONG / "mix.flac"), "--out", str(tmp_path), "--quiet"]) == 0
    mixture, rate = soundfile.read(SONG / "mix.flac", dtype="int32")
    stems = {path.stem: soundfile.read(path, dtype="int32")[0] for path in (tmp_path / "mix").glob("*.flac")}
    assert set(stems) == {"drums", "bass"}
    assert np.array_equal(stems["drums"] + stems["bass"], mixture)
    assert soundfile.info(tmp_path / "mix" / "bass.flac").samplerate == rate
    truth = {name: soundfile.read(SONG / "stems" / f"{name}.flac", dtype="int32")[0] for name in stems}
    for name, stem in stems.items():
        estimate, reference, mixed = (x.astype(float)[None] for x in (stem, truth[name], mixture))
        assert usdr(reference, estimate)[0] > usdr(reference, mixed)[0]  # better than doing nothing


@pytest.mark.parametrize("name", cards.names())
def test_bundled_files_are_those_of_the_card(name: str) -> None:
    card, folder = cards.find(name)
    cards.verify(card, folder)
    assert all(entry["size"] <= 15_000_000 for entry in card.files.values())
    assert card.licence
    assert card.data
    assert card.training
