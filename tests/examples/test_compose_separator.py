"""The walkthrough from recordings to a separator, with tiny networks and seconds of training."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from example_scripts import run_script

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "compose_separator_audio", EXAMPLES / "compose_separator_audio.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["pluck", "flute"])
@pytest.mark.parametrize("hertz", [110.0, 220.0, 440.0])
def test_a_note_is_in_tune(program: ModuleType, name: str, hertz: float) -> None:
    play, _ = program.INSTRUMENTS[name]
    note = play(hertz, 1.0, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(note * np.hanning(len(note)))) ** 2
    frequencies = np.fft.rfftfreq(len(note), 1 / program.RATE)
    near = (frequencies > 0.8 * hertz) & (frequencies < 1.25 * hertz)
    found = frequencies[near][power[near].argmax()]
    assert abs(12 * np.log2(found / hertz)) < 0.3  # semitones
    tonal = np.abs(frequencies / hertz - np.round(frequencies / hertz)) < 0.06
    assert power[tonal & (frequencies > hertz / 2)].sum() > 0.9 * power.sum()


def test_a_duet_is_the_sum_of_new_solos(program: ModuleType, tmp_path: Path) -> None:
    program.main([str(tmp_path), "--recordings", "2", "--duets", "1", "--seconds", "6"])
    for name in ("pluck", "flute"):
        solos = [soundfile.read(path, dtype="int16")[0] for path in sorted((tmp_path / name).iterdir())]
        assert [len(solo) for solo in solos] == [6 * program.RATE] * 2
        assert not np.array_equal(solos[0], solos[1])
        assert min(np.abs(solo.astype(int)).max() for solo in solos) > 14000
    parts = [
        soundfile.read(path, dtype="int16")[0] for path in (tmp_path / "references" / "duet-1").iterdir()
    ]
    assert np.array_equal(sum(parts), soundfile.read(tmp_path / "duets" / "duet-1.flac", dtype="int16")[0])
    assert np.abs(sum(part.astype(int) for part in parts)).max() < 32768


@pytest.mark.slow
def test_from_recordings_to_figures(tmp_path: Path) -> None:
    tiny = {"PRESET": "tiny", "SOUNDS": "--seconds 12 --recordings 3"}
    done = run_script("compose_separator.sh", tmp_path / "out", "1s", **tiny)
    assert done.stderr.count("+ sepcli train-prior --family denoiser") == 2
    stems = {path.name for path in (tmp_path / "out" / "estimates" / "duet-3").iterdir()}
    assert stems == {"pluck.flac", "flute.flac", "run.json"}
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert {"estimates", "average", "oracle mask"} <= rows.keys()
