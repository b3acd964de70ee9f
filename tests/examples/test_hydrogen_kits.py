"""Drum notes on kits of recorded samples: instruments by name, layers by velocity, times of the notes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import hydrogen_kits as kits

RATE = kits.RATE
LEVELS = {
    "Kick": (0.1, 0.5),
    "Snare Roll": (0.9,),
    "Snare Rock": (0.2,),
    "Hat 1 Cl": (0.3,),
    "Open HH": (0.4,),
}


class Dry:
    """Random numbers of a rendering without a room, which takes the first of all choices."""

    def random(self) -> float:
        return 0.0

    def integers(self, _: int) -> int:
        return 0


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Instruments of constant samples of one second; the kick has two layers."""
    folder, entries = tmp_path / "My Kit", []
    folder.mkdir()
    for number, (name, levels) in enumerate(LEVELS.items()):
        layers = []
        for index, level in enumerate(levels):
            soundfile.write(folder / f"{number}-{index}.flac", np.full(RATE, level), RATE)
            low, high = index / len(levels), (index + 1) / len(levels)
            layers.append(
                f"<layer><filename>{number}-{index}.flac</filename><min>{low}</min><max>{high}</max></layer>"
            )
        entries.append(f"<instrument><name>{name}</name>{''.join(layers)}</instrument>")
    entries.append("<instrument><name>Crash</name><filename>lost.flac</filename></instrument>")
    entries.append("<instrument><name>Tom Low</name><filename>0-0.flac</filename></instrument>")
    text = f"<drumkit_info><instrumentList>{''.join(entries)}</instrumentList></drumkit_info>"
    (folder / "drumkit.xml").write_text(text)
    return folder


def played(kit: Path, *hits: tuple[float, int, int], seconds: float = 3.0) -> np.ndarray:
    """The left channel of hits without a room."""
    return kits.play(hits, kits.read_kit(kit), seconds, Dry())[:, 0]  # type: ignore[arg-type]


def test_instruments_are_found_by_name(kit: Path) -> None:
    (found,) = kits.find_kits([kit.parent])
    assert found.name == "My Kit"
    assert [name for name, _ in found.instruments] == [*LEVELS, "Tom Low"]  # a lost sample: no instrument

    def chosen(note: int) -> str:
        layers = found.choose(note, np.random.default_rng(0))
        return next(name for name, own in found.instruments if own == layers)

    names = {36: "Kick", 38: "Snare Rock", 42: "Hat 1 Cl", 46: "Open HH", 44: "Hat 1 Cl", 41: "Tom Low"}
    assert {note: chosen(note) for note in names} == names
    assert found.choose(53, np.random.default_rng(0)) == ()


def test_a_folder_without_kick_snare_and_hat_is_no_kit(kit: Path) -> None:
    text = (kit / "drumkit.xml").read_text()
    (kit / "drumkit.xml").write_text(text.replace("Kick", "Djembe"))
    assert kits.find_kits([kit]) == []


def test_a_layer_is_chosen_by_velocity_and_scaled_by_it(kit: Path) -> None:
    out = played(kit, (0.5, 36, 127), (2.0, 36, 32))
    onset = round(0.5 * RATE)
    assert out[onset - 1] == 0
    assert out[onset] == pytest.approx(0.5, abs=1e-4)
    assert out[round(2.0 * RATE)] == pytest.approx(0.1 * 32 / 127, abs=1e-4)


def test_a_hat_ends_the_one_before(kit: Path) -> None:
    alone, followed = played(kit, (0.0, 46, 127)), played(kit, (0.0, 46, 127), (0.5, 42, 127))
    late = round(0.8 * RATE)
    assert alone[late] == pytest.approx(0.4, abs=1e-4)
    assert followed[late] == pytest.approx(0.3, abs=1e-4)
    assert np.array_equal(alone[: RATE // 4], followed[: RATE // 4])


def test_notes_at_the_end_are_cut_there(kit: Path) -> None:
    assert len(played(kit, (2.9, 36, 127))) == 3 * RATE


def test_a_room_adds_its_tail_and_keeps_the_sound(kit: Path) -> None:
    dry = np.zeros((RATE, 2))
    dry[100] = 1.0
    wet = kits.in_room(dry, np.random.default_rng(0))
    assert wet.shape == dry.shape
    assert np.abs(wet[:100]).max() < 1e-9
    tail = np.sqrt(np.square(wet - dry).sum(axis=0))
    assert (20 * np.log10(tail) > -27).all()
    assert (20 * np.log10(tail) < -11).all()
