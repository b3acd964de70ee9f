"""Synthesize two instruments for training priors, a plucked string and a flute, and duets to separate.

    python compose_separator_audio.py OUT

writes ``OUT/pluck`` and ``OUT/flute``, a few minutes of solo recordings each, and separate duets:
``OUT/duets/duet-1.flac`` is the sum of ``OUT/references/duet-1/pluck.flac`` and ``flute.flac``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Instrument = Callable[[float, float, np.random.Generator], Signal]
"""(Hz, seconds, generator) → one note."""

RATE = 22050
SCALE = (0, 2, 4, 7, 9, 12, 14, 16, 19, 21, 24)
"""Two octaves of the pentatonic scale, in semitones."""


def pluck(hertz: float, seconds: float, rng: np.random.Generator) -> Signal:
    """Return a plucked string: noise in a loop, smoothed in every round (Karplus & Strong 1983)."""
    seconds += 0.7  # notes overlap
    loop = rng.uniform(-1, 1, round(RATE / hertz - 0.5))
    loop, rounds = loop - loop.mean(), []
    for _ in range(int(seconds * RATE / len(loop))):
        rounds.append(loop)
        loop = 0.498 * (loop + np.roll(loop, 1))  # a delay of half a sample, and damping
    note = np.concatenate(rounds)
    return note * np.minimum(1, np.arange(len(note))[::-1] / (0.05 * RATE))


def flute(hertz: float, seconds: float, rng: np.random.Generator) -> Signal:
    """Return a flute: a few harmonics with vibrato, and breath noise."""
    t = np.arange(int(seconds * RATE)) / RATE
    vibrato = 1 + 0.007 * np.minimum(1, t / 0.3) * np.sin(2 * np.pi * (5 * t + rng.uniform()))
    phase = 2 * np.pi * np.cumsum(hertz * vibrato) / RATE
    tone = sum(a * np.sin(k * phase) for k, a in enumerate((1.0, 0.45, 0.2, 0.08), start=1))
    breath = 0.25 * np.convolve(rng.normal(0, 1, len(t)), np.hanning(7) / 3.5, mode="same")
    return (tone + breath) * np.minimum(1, np.minimum(t / 0.08, (t[-1] - t) / 0.05))


INSTRUMENTS: dict[str, tuple[Instrument, int]] = {"pluck": (pluck, 45), "flute": (flute, 62)}
"""Name → instrument and lowest tonic (MIDI); the two ranges overlap."""


def melody(name: str, seconds: float, rng: np.random.Generator) -> Signal:
    """Return a melody in a random key and tempo: steps on the scale, long and short notes, and pauses."""
    play, lowest = INSTRUMENTS[name]
    key, beat = lowest + rng.integers(6), rng.uniform(0.35, 0.6)
    signal, start, step = np.zeros(int(seconds * RATE)), 0.0, len(SCALE) // 2
    while start < seconds - 0.2:
        length = beat * rng.choice([0.5, 1, 1, 2])
        step = int(np.clip(step + rng.integers(-3, 4), 0, len(SCALE) - 1))
        if rng.uniform() > 0.1:
            hertz = 440 * 2 ** ((key + SCALE[step] - 69) / 12)
            note = rng.uniform(0.5, 1) * play(hertz, length, rng)[: len(signal) - int(start * RATE)]
            signal[int(start * RATE) :][: len(note)] += note
        start += length
    return 0.45 * signal / np.abs(signal).max()


def save(path: Path, signal: NDArray[np.int16]) -> None:
    """Write a file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, RATE, subtype="PCM_16")


def main(arguments: list[str] | None = None) -> None:
    """Write the recordings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recordings", type=int, default=10, help="solos of each instrument")
    parser.add_argument("--duets", type=int, default=4)
    parser.add_argument(
        "--seconds", type=float, default=30, help="length of a solo; that of a duet is a third"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    for name in INSTRUMENTS:
        for number in range(options.recordings):
            solo = melody(name, options.seconds, rng)
            save(options.out / name / f"solo-{number + 1}.flac", np.int16(32767 * solo))
    for number in range(options.duets):
        parts = {name: np.int16(32767 * melody(name, options.seconds / 3, rng)) for name in INSTRUMENTS}
        for name, part in parts.items():
            save(options.out / "references" / f"duet-{number + 1}" / f"{name}.flac", part)
        save(options.out / "duets" / f"duet-{number + 1}.flac", parts["pluck"] + parts["flute"])


if __name__ == "__main__":
    main()
