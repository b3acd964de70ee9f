"""Options, commands and values that are called otherwise elsewhere, or are misspelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepcli.cli import app, meanings


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["separate", "a.wav", "--model", "x"], "--prior"),
        (["separate", "a.wav", "--output", "x"], "--out"),
        (["separate", "a.wav", "--steps", "3"], "--set steps=N"),
        (["separate", "a.wav", "--force"], "--overwrite"),
        (["train-prior", "--model", "x"], "--prior"),
        (["train-prior", "--epochs", "3"], "--steps"),
        (["train-prior", "--lr", "3"], "--learning-rate"),
        (["evaluate", "--metrics", "sdr"], "--metric"),
        (["evaluate", "--workers", "2"], "--jobs"),
        (["evaluate", "--limit", "2"], "--pairs"),
        (["evaluate", "--latex"], "--table"),
        (["evaluate", "--metric", "SDR"], "sdr"),
        (["evaluate", "--metric", "sisdr"], "si-sdr"),
        (["evaluate", "--metric", "SIR,sirr"], "sir"),
        (["evaluate", "--dataset", "MUSDB18"], "musdb"),
        (["separate", "a.wav", "--method", "hpsss"], "hpss"),
        (["train-prior", "--family", "Denoisr"], "denoiser"),
        (["samplers", "Multi_Source"], "multi-source"),
        (["fetch-priors", "--show", "slakh-drum"], "slakh-drums"),
        (["separrate"], "`sepcli separate`"),
        (["train"], "`sepcli train-prior`"),
        (["download", "x"], "`sepcli fetch-priors`"),
    ],
    ids=" ".join,
)
def test_what_was_meant(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(arguments) in (2, 4)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert second == f"  → did you mean {meant}?"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evaluate", "--zzz"], "`sepcli evaluate --help`"),
        (["evaluate", "--out"], "`sepcli evaluate --help`"),
        (["zzz"], "`sepcli --help`"),
        (["evaluate", "--dataset", "zzz"], "toy-waves"),
    ],
    ids=" ".join,
)
def test_what_is_near_nothing(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(arguments) == 2
    assert line in capsys.readouterr().err.splitlines()[1]


def test_what_is_meant_exists() -> None:
    assert set(meanings.COMMANDS.values()) <= set(app.COMMANDS)
    assert not set(meanings.COMMANDS) & set(app.COMMANDS)
    group = app.get_command(app.app)
    options = {name for command in group.commands.values() for p in command.params for name in p.opts}
    for twins in meanings.OPTIONS.values():
        assert {twin.split()[0] for twin in twins} <= options


@pytest.mark.parametrize(
    ("arguments", "given", "allowed"),
    [
        (["separate", "a.wav", "--samples", "None"], "--samples None", "a whole number from 1 up to 1,000"),
        (["separate", "a.wav", "--samples=0"], "--samples 0", "a whole number from 1 up to 1,000"),
        (["separate", "a.wav", "--sources", "1.5"], "--sources 1.5", "a whole number from 2 up to 256"),
        (["evaluate", "--noise", "loud"], "--noise loud", "a number from 0 up to 1,000"),
    ],
    ids=str,
)
def test_numbers_are_explained(
    arguments: list[str], given: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert given in first
    assert second == f"  → use {allowed}"


@pytest.mark.parametrize("name", ["-dash.wav", "-out.wav", "--dash.WAV", "-song", "-q.png"])
@pytest.mark.parametrize("command", ["separate", "colorize"])
def test_a_file_that_begins_with_a_dash(
    command: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert app.run([command, name]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert name in first
    assert f"./{name}" in second
    assert "--" in second


def test_other_wrong_options_are_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["separate", "a.wav", "--hints=b.png"]) == 2
    assert "./" not in capsys.readouterr().err
