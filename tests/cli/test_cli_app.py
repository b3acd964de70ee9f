"""The command's edge: help without torch, exit codes, two-line errors, colors and pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from sepcli import __version__, errors
from sepcli.cli import app, console

COMMANDS: list[list[str]] = [[], *([name] for name in app.COMMANDS)]
PROBE = """
import sys
from sepcli.cli.app import run
code = run(sys.argv[1:])
heavy = {"torch", "librosa", "soundfile", "numpy", "scipy", "soxr"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100", **environment}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=60, check=False
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c) or "sepcli")
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    done = _run("-c", PROBE, *command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: sepcli" in done.stdout
    assert done.stderr == ""


def test_workers_which_import_the_main_module_do_not_import_the_command_line() -> None:
    done = _run("-c", "import sys, sepcli.__main__; sys.exit('typer' in sys.modules)")
    assert done.returncode == 0, done.stderr


def _seconds(*arguments: str) -> float:
    """The processor time of a call, which other work on the machine hardly changes."""
    before = os.times()
    _run(*arguments)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_help_is_quick() -> None:
    bare = _seconds("-c", "pass")
    assert min(_seconds("-m", "sepcli", "evaluate", "--help") for _ in range(3)) < max(0.5, 20 * bare)


def test_version_and_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out == f"sepcli {__version__}\n"
    assert app.run([]) == 0
    assert "evaluate" in capsys.readouterr().out


def test_main_exits_with_the_code() -> None:
    with pytest.raises(SystemExit) as left:
        app.main(["--version"])
    assert left.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["separrate"], "separrate", "`sepcli"),
        (["evaluate", "--nonsense"], "--nonsense", "`sepcli"),
        (["evaluate", "--metric", "loudness"], "'loudness'", "sdr"),
        (["evaluate", "--pairs", "many"], "--pairs many", "number"),
        (["evaluate", "--only", "many"], "--only many", "number"),
    ],
)
def test_usage_errors_are_two_lines(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(arguments) == 2
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("  → ")
    assert hint in second
    assert captured.out == ""


def _failing(monkeypatch: pytest.MonkeyPatch, problem: BaseException | int) -> None:
    class Command:
        def main(self, *_: object, **__: object) -> int:
            if isinstance(problem, int):
                return problem
            raise problem

    monkeypatch.setattr(app, "get_command", lambda _: Command())


@pytest.mark.parametrize(
    ("problem", "code", "lines"),
    [
        (
            errors.InputError("a.wav is\nempty", "give another"),
            1,
            ["error: a.wav is empty", "  → give another"],
        ),
        (
            errors.PriorError("no prior 'x'", "did you mean y?"),
            4,
            ["error: no prior 'x'", "  → did you mean y?"],
        ),
        (errors.UsageError("no", "yes"), 2, ["error: no", "  → yes"]),
        (
            ZeroDivisionError("division by zero"),
            1,
            [
                "ZeroDivisionError: division by zero",
                "SEPCLI_DEBUG=1",
            ],
        ),
        (
            OSError(36, "File name too long", "xxx.json"),
            1,
            ["error: xxx.json: File name too long", "  → "],
        ),
        (
            OSError(28, "No space left on device"),
            1,
            ["error: No space left on device", "  → "],
        ),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (130, 130, ["interrupted"]),
        (3, 3, []),
    ],
    ids=str,
)
def test_what_goes_wrong_has_a_code_and_its_lines(
    problem: BaseException | int,
    code: int,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SEPCLI_DEBUG", raising=False)
    _failing(monkeypatch, problem)
    assert app.run(["evaluate"]) == code
    captured = capsys.readouterr()
    for line, subject in zip(captured.err.splitlines(), lines, strict=True):
        assert subject in line
    assert captured.out == ""


@pytest.mark.parametrize("problem", [errors.InputError("bad", "hint"), errors.PriorError("bad", "hint")])
def test_one_document_also_when_nothing_could_be_done(
    problem: errors.SepError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _failing(monkeypatch, problem)
    assert app.run(["evaluate", "--json"]) == problem.exit_code
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"failed": [{"error": "bad", "hint": "hint"}]}
    assert "bad" in captured.err


@pytest.mark.parametrize("problem", [errors.InputError("bad", "hint"), ZeroDivisionError("x")], ids=str)
def test_debug_adds_the_traceback(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEPCLI_DEBUG", "1")
    _failing(monkeypatch, problem)
    assert app.run(["evaluate"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "error: " in err


def test_a_closed_pipe_is_no_error() -> None:
    close = "import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1)"
    done = _run("-c", f"{close}; from sepcli.cli.app import main; main()", "--version")
    assert done.returncode == 1
    assert done.stderr == ""


class _Terminal:
    """A stderr that claims to be a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_colors_only_on_a_terminal_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    colorized = _Terminal()
    monkeypatch.setattr(sys, "stderr", colorized)
    console.error("bad", "do this")
    assert "\x1b[" in colorized.text
    monkeypatch.setenv("NO_COLOR", "1")
    plain = _Terminal()
    monkeypatch.setattr(sys, "stderr", plain)
    console.error("bad", "do this")
    assert plain.text == "error: bad\n  → do this\n"


def test_progress_is_drawn_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("work") as on_progress:
        on_progress(1, 2)
    assert capsys.readouterr() == ("", "")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.progress("work") as on_progress:
        on_progress(1, 2)
    assert "work" in terminal.text
    silent = _Terminal()
    monkeypatch.setattr(sys, "stderr", silent)
    with console.progress("work", quiet=True) as on_progress:
        on_progress(1, 2)
    assert silent.text == ""


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": "é"}})
    assert (
        capsys.readouterr().out
        == '{\n  "a": null,\n  "b": [\n    null,\n    1.5\n  ],\n  "c": {\n    "d": "é"\n  }\n}\n'
    )


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_is_an_interruption(number: signal.Signals) -> None:
    probe = """
import os, signal, sys
from sepcli.cli import app
signal.signal(int(sys.argv[1]), signal.SIG_DFL)  # under nohup, SIGHUP is ignored, as it should be
def run(argv):
    try:
        os.kill(os.getpid(), int(argv[0]))
    except KeyboardInterrupt:
        return 130
    return 0
app.run = run
app.main()
"""
    assert _run("-c", probe, str(int(number))).returncode == 130


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_change_no_exit_code(closed: str) -> None:
    line = f'"{sys.executable}" -m sepcli --version {closed}'
    assert subprocess.run(["sh", "-c", line], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("command", [words[0] for words in COMMANDS if words])
def test_every_help_fits_80_columns_and_ends_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "<list" not in text
    options, _, examples = text.partition("\nExamples:\n")
    lines = [line.rpartition(" -m ")[2].split() for line in examples.splitlines()]  # without torchrun
    assert lines
    assert all(line[:2] == ["sepcli", command] for line in lines)
    used = {word for line in lines for word in line if word.startswith("-")}
    assert used <= {word.strip(",") for word in options.split()}


def test_errors_of_the_library_name_the_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for argument, option in (
        ("weights", "--weights"),
        ("priors", "--prior"),
        ("settings.steps", "--set steps"),
        ("learning_rate", "--learning-rate"),
        ("signal", None),
        (None, None),
    ):
        problem = errors.UsageError("3 is too many", "use 2")
        problem.argument = argument  # type: ignore[attr-defined,unused-ignore]
        _failing(monkeypatch, problem)
        assert app.run(["evaluate"]) == 2
        said = capsys.readouterr().err.splitlines()[0]
        assert said == f"error: {option}: 3 is too many" if option else said == "error: 3 is too many"
