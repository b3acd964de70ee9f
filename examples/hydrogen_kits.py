"""Play the drum notes of MIDI songs on drum kits of Hydrogen: recorded samples with layers by velocity.

A kit is a folder with a ``drumkit.xml`` and the samples of its instruments. Kits name their instruments
freely ("Snare Rock", "Pearl Kick", "Hat 1 Cl"), and the MIDI notes in the file are often all the same, so
that General MIDI's notes are matched to instruments by name. ``apt-get install hydrogen-drumkits`` brings 14
kits, with licences of their own.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import oaconvolve

KICK, SNARE, CLAP, STICK = r"kick|bass ?drum|thump", r"snare(?! roll)", r"clap", r"stick|rim ?click|click"
LOW_TOM, MID_TOM, HIGH_TOM = (
    r"tom (low|floor)|(low|floor) tom",
    r"tom mid|middle tom|tom 2",
    r"tom hi|high tom|tom 1",
)
TOM, HAT = r"\btom|drum \d", r"\bhh|\bhat|hi-?hat"
CLOSED, PEDAL, OPEN = (
    rf"({HAT}).*(cl|ring|dirty)|closed ?h",
    rf"({HAT}).*(pd|pedal)|pedal ?h",
    rf"({HAT}).*(\bop|open)|open ?h|side ohh",
)
CRASH, RIDE, BELL = r"crash|splash|china|cymbal", r"ride|cymbal", r"\bbell"
TAMBOURINE, COWBELL, CLAVE = r"tambourine", r"cowbell|agogo", r"clave|wood"
INSTRUMENTS: dict[tuple[int, ...], tuple[str, ...]] = {
    (35, 36): (KICK,),
    (38, 40): (SNARE, CLAP),
    (37,): (STICK, SNARE),
    (39,): (CLAP, SNARE),
    (41, 43): (LOW_TOM, TOM, KICK),
    (45, 47): (MID_TOM, TOM, SNARE),
    (48, 50): (HIGH_TOM, TOM, SNARE),
    (42,): (CLOSED, HAT),
    (44,): (PEDAL, CLOSED, HAT),
    (46,): (OPEN, HAT),
    (49, 52, 55, 57): (CRASH, RIDE, OPEN),
    (51, 59): (RIDE, CRASH, CLOSED),
    (53,): (BELL, RIDE, CRASH),
    (54, 69, 70, 82): (TAMBOURINE, CLOSED, HAT),
    (56, 67, 68): (COWBELL, STICK, BELL),
    (60, 61, 62, 63, 64, 65, 66): (r"bongo|conga", HIGH_TOM, TOM),
    (75, 76, 77): (CLAVE, STICK),
}
"""Notes of General MIDI's drum channel → patterns of instrument names, the preferred one first."""
HATS = (42, 44, 46)
"""Notes of one hi-hat, of which a new one ends the one before."""
CUT_SECONDS, MAX_NOTE_SECONDS, RATE = 0.03, 6.0, 44100
Hit = tuple[float, int, int]  # seconds, note, velocity


@dataclass(frozen=True)
class Layer:
    """A sample, and the velocities that it is for, in [0, 1]."""

    path: Path
    low: float
    high: float
    gain: float


@dataclass(frozen=True)
class Kit:
    """A drum kit: instrument name → its layers, without instruments that have none."""

    name: str
    instruments: tuple[tuple[str, tuple[Layer, ...]], ...]

    def choose(self, note: int, rng: np.random.Generator) -> tuple[Layer, ...]:
        """Choose an instrument of a General MIDI note; no layers if the kit has nothing like it."""
        patterns = next((patterns for notes, patterns in INSTRUMENTS.items() if note in notes), (TOM, STICK))
        for pattern in patterns:
            found = [layers for name, layers in self.instruments if re.search(pattern, name.casefold())]
            if found:
                return found[int(rng.integers(len(found)))]
        return ()


def read_kit(folder: Path) -> Kit:
    """Read a kit; instruments without a sample that can be read are left out."""
    root = ET.parse(folder / "drumkit.xml").getroot()
    space = root.tag[: root.tag.index("}") + 1] if "}" in root.tag else ""
    instruments = []
    for entry in root.iter(f"{space}instrument"):
        parts = [*entry.iter(f"{space}layer")] or [entry]
        layers = [layer for part in parts if (layer := _layer(part, space, folder)) is not None]
        name = entry.findtext(f"{space}name") or ""
        if layers and not name.startswith("Sample:"):
            instruments.append((name, tuple(layers)))
    return Kit(folder.name, tuple(instruments))


def find_kits(folders: Sequence[Path]) -> list[Kit]:
    """Return the kits of folders, each a kit or a folder of kits, that have a kick, a snare and a hi-hat."""
    paths = [path.parent for folder in folders for path in sorted(folder.rglob("drumkit.xml"))]
    kits = [read_kit(path) for path in paths]
    return [kit for kit in kits if all(_has(kit, pattern) for pattern in (KICK, SNARE, HAT))]


def play(hits: Sequence[Hit], kit: Kit, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return audio (T, 2) at 44.1 kHz of the hits, in half of all renderings in a room."""
    out = np.zeros((round(seconds * RATE), 2))
    chosen = {note: kit.choose(note, rng) for note in sorted({note for _, note, _ in hits})}
    ordered = sorted(hits)
    for index, hit in enumerate(ordered):
        start, note, velocity = hit
        if not chosen[note]:
            continue
        layer = _layer_for(chosen[note], velocity / 127)
        sample, first = _sample(layer.path), round(start * RATE)
        wanted = min(len(out) - first, round((_end(hit, ordered[index + 1 :]) - start) * RATE))
        if wanted > 0:
            gain, part = velocity / 127 * layer.gain, _faded(sample[:wanted], wanted < len(sample))
            out[first : first + len(part)] += gain * part
    return out if rng.random() < 0.5 else in_room(out, rng)


def in_room(dry: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the reverberation of a random room, 12 to 26 dB below the dry sound, to audio (T, 2)."""
    seconds, level = float(rng.uniform(0.2, 0.9)), float(10 ** (rng.uniform(-26, -12) / 20))
    decay = 10 ** (-3 * np.arange(round(seconds * RATE)) / (seconds * RATE))
    tail = rng.standard_normal((len(decay), 2)) * decay[:, None]
    tail *= level / np.sqrt(np.square(tail).sum(axis=0))
    return np.asarray(dry + oaconvolve(dry, tail, axes=0)[: len(dry)])


def _layer(part: ET.Element, space: str, folder: Path) -> Layer | None:
    name = part.findtext(f"{space}filename")
    if not name or not (folder / name).is_file():
        return None
    low, high, gain = (
        float(part.findtext(f"{space}{key}") or default)
        for key, default in (("min", 0), ("max", 1), ("gain", 1))
    )
    return Layer(folder / name, low, high, gain)


def _has(kit: Kit, pattern: str) -> bool:
    return any(re.search(pattern, name.casefold()) for name, _ in kit.instruments)


def _layer_for(layers: Sequence[Layer], velocity: float) -> Layer:
    """Return the layer of a velocity in [0, 1], or else the nearest."""
    return min(layers, key=lambda layer: max(layer.low - velocity, velocity - layer.high, 0.0))


@cache
def _sample(path: Path) -> np.ndarray:
    """Return a sample (T, 2) at 44.1 kHz."""
    signal, rate = soundfile.read(path, always_2d=True)
    signal = np.repeat(signal, 2, axis=1) if signal.shape[1] == 1 else signal[:, :2]
    return np.asarray(signal if rate == RATE else soxr.resample(signal, rate, RATE))


def _end(hit: Hit, later: Sequence[Hit]) -> float:
    """Return when a note ends at the latest, in seconds: if it is of the hi-hat, at the next note of it."""
    start, note, _ = hit
    cut = (other + CUT_SECONDS for other, key, _ in later if note in HATS and key in HATS)
    return min(start + MAX_NOTE_SECONDS, next(cut, float("inf")))


def _faded(sample: np.ndarray, cut: bool) -> np.ndarray:
    if not cut:
        return sample
    length = min(len(sample), round(CUT_SECONDS * RATE))
    ramp = np.ones(len(sample))
    ramp[len(sample) - length :] = np.linspace(1.0, 0.0, length)
    return np.asarray(sample * ramp[:, None])
