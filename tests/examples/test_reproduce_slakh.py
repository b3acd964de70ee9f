"""``slakh-drums-bass.sh``: from songs to a prior of two engines and its figures, stopped at every step."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from finished_cards import check_figures
from msgspec import structs
from tiny_sound import make_sound

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.cli.app import run
from sepcli.errors import PriorError

REPRODUCE = Path(__file__).parents[2] / "examples" / "reproduce"
STUB = """#!/usr/bin/env bash
call=$(printf '%q ' "$(basename "$0")" "$@")
grep -qxF -- "$call" "$CALLS" && exit 0
printf '%s\\n' "$call" > "$CALLS.next"
exit 75
"""
"""Stands for a program: has nothing to do if it was called like that before, and stops the script if not."""


@pytest.fixture
def songs(tiny_slakh: Path, tmp_path: Path) -> Path:
    """Slakh's layout with a test song of drums, bass and a flute."""
    root = tmp_path / "songs"
    shutil.copytree(tiny_slakh, root)
    track = root / "test" / "Track00009"
    shutil.copytree(root / "validation" / "Track00003", track)
    stems = [soundfile.read(track / "stems" / name) for name in ("S00.flac", "S01.flac")]
    rate = stems[0][1]
    flute = 0.1 * np.sin(2 * np.pi * 880 * np.arange(len(stems[0][0])) / rate)
    soundfile.write(track / "stems" / "S02.flac", flute, rate)
    soundfile.write(track / "mix.flac", (flute + sum(stem for stem, _ in stems)).clip(-1, 1), rate)
    with (track / "metadata.yaml").open("a") as file:
        file.write("  S02: {inst_class: Pipe, audio_rendered: true}\n")
    return root


class Script:
    """The script with programs that stop it; what it asks for is done here, in one process."""

    def __init__(self, folder: Path, songs: Path, out: Path) -> None:
        self.calls = folder / "calls"
        for name in ("sepcli", "python"):
            (folder / name).write_text(STUB)
            (folder / name).chmod(0o755)
        self.command = ["bash", str(REPRODUCE / "slakh-drums-bass.sh"), str(songs), str(out)]
        self.environment = {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "PRESET": "tiny",
            "TRAIN": "--steps 1 --batch 2",
            "COMPILE": "",  # which takes a minute
            "COUNTING": "1s",
            "VALIDATION_PAIRS": "1",
            "PAIRS": "1",
            "STEPS": "2",
            "SAMPLERS": "top-k",
            "SAMPLER_PAIRS": "1",
            "DRAWS": "2",
        }

    def next_call(self) -> list[str]:
        """What it asks for that has not been done; nothing when it is through."""
        waiting = Path(f"{self.calls}.next")
        waiting.unlink(missing_ok=True)
        done = subprocess.run(self.command, env=self.environment, capture_output=True, text=True, check=False)
        if not waiting.exists():
            assert done.returncode == 0, done.stderr
            return []
        assert done.returncode != 0
        return shlex.split(waiting.read_text())

    def finish(self, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """Every call, in order, each after a start from the beginning."""
        self.calls.write_text("")
        monkeypatch.syspath_prepend(REPRODUCE)  # where Python looks when it runs a program from there
        found = []
        while call := self.next_call():
            found.append(call)
            if call[0] == "sepcli":
                assert run(call[1:]) == 0
            else:
                monkeypatch.setattr(sys, "argv", call[1:])
                with contextlib.suppress(SystemExit):  # what failed is missed later
                    runpy.run_path(call[1], run_name="__main__")
            with self.calls.open("a") as file:
                file.write(Path(f"{self.calls}.next").read_text())
        return found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_slakh_goes_from_songs_to_two_engines_and_goes_on_where_it_was(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    script, out = Script(tmp_path / "bin", songs, tmp_path / "out"), tmp_path / "out"
    script.finish(monkeypatch)
    card = cards.read(out / "slakh-drums-bass")
    assert card.priors == ("drums", "bass")
    bundled = resolve.find("slakh-drums-bass")[0].defaults("lass")
    for key in ("lam", "latent", "context", "shortlist"):
        assert card.defaults("lass")[key] == bundled[key]
    assert set(card.parts) == {"codec", "transformer", "latent", "context", "table"}
    reports = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    means = {
        engine: reports[f"validation-{engine}"]["results"]["sdr"]["sepcli"]["average"]["mean"]
        for engine in ("lass", "score")
    }
    assert means[card.engine] == max(means.values())
    assert list(reports["lass"]["results"]["si-sdri"]) == [
        "sepcli",
        "sepcli raw",
        "hpss",
        "average",
        "oracle mask",
    ]
    assert card.figures.keys() == {"command", "lass", "score"}
    for engine in ("lass", "score"):
        check_figures(card.figures[engine], reports[engine])
    rows = ("projected-2", "score-draws-2", "lass-top-k")
    used = {name: reports[name]["protocol"]["settings"] for name in rows}
    assert used["projected-2"]["sampler"] == "projected"
    assert used["projected-2"]["settings"]["steps"] == 2
    assert used["score-draws-2"]["samples"] == 2
    assert used["lass-top-k"]["sampler"] == "top-k"
    ours = {key: used["lass-top-k"]["settings"][key] for key in ("latent", "context", "shortlist")}
    assert {float(value) for value in ours.values()} == {0.0}
    with_both = reports["lass-top-k-context"]["protocol"]["settings"]["settings"]
    assert (with_both["latent"], with_both["context"]) == (bundled["latent"], bundled["context"])
    for name in ("lass", "score", "projected-2", "score-draws-2"):
        record = json.loads((out / "cost" / name / "Track00009" / "run.json").read_text())
        assert record["report"]["elapsed"] > 0
        assert record["report"]["seconds"] == 4.0
    assert (out / "full-mix" / "Track00009" / "other.flac").is_file()
    assert reports["full-mix"]["protocol"]["stems"] == ["bass", "drums"]
    assert reports["full-mix"]["failed"] == []
    before = (out / "slakh-drums-bass" / "card.toml").read_bytes()
    again = script.finish(monkeypatch)
    assert {Path(call[1]).name for call in again} == {"two_engines.py", "finish_card.py"}
    assert (out / "slakh-drums-bass" / "card.toml").read_bytes() == before


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(REPRODUCE)
    spec = importlib.util.spec_from_file_location("two_engines", REPRODUCE / "two_engines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def prior(tiny_prior: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_prior, tmp_path / "prior")
    for name in ("drums", "bass"):
        make_sound(tmp_path / "prior" / name, name)
    return tmp_path / "prior"


def report(**means: float | None) -> dict[str, Any]:
    stems = {stem: {"mean": mean, "median": mean, "ci95": [mean, mean]} for stem, mean in means.items()}
    protocol = {"dataset": "pairs", "mixture": "a sum", "tracks": 1, "version": "1", "seed": 0}
    return {"protocol": protocol, "results": {"sdr": {"sepcli": stems}}}


def test_score_priors_are_named_once_and_in_order(program: ModuleType, prior: Path) -> None:
    card = cards.read(prior)
    joined = program.join(card, prior, ["drums", "bass"], "slakh-drums-bass")
    model = resolve.find("slakh-drums-bass")[0]
    assert joined.priors == ("drums", "bass")
    assert (joined.title, joined.stream) == (model.title, model.stream)
    tuned = structs.replace(joined, settings={"lass": {"lam": 9.0}})
    assert program.join(tuned, prior, ["drums", "bass"], "slakh-drums-bass") == tuned
    with pytest.raises(PriorError, match="bass, drums"):
        program.join(card, prior, ["bass", "drums"])
    with pytest.raises(PriorError, match="cello"):
        program.join(card, prior, ["drums", "cello"])


@pytest.mark.parametrize(("lass", "score", "better"), [(3.0, 2.0, "lass"), (-3.0, -2.0, "score")])
def test_the_better_engine_is_the_default(
    program: ModuleType, prior: Path, lass: float, score: float, better: str
) -> None:
    card = program.join(cards.read(prior), prior, ["drums", "bass"])
    chosen = program.choose(card, {"lass": report(average=lass), "score": report(average=score)})
    assert chosen.engine == better
    cards.write(chosen, prior)
    assert cards.read(prior) == chosen


def test_an_error_is_two_lines(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([str(tmp_path), "--score", "drums"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
