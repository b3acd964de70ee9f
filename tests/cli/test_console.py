"""What names of files may hold and a terminal would obey."""

from __future__ import annotations

import io
import json
import sys

import pytest

from sepcli.cli import console, tables

STEERS = "a\x1b[2J\x9b1m\x00\x7f\u202eb"
SHOWN = "a\\x1b[2J\\x9b1m\\x00\\x7f\\u202eb"


def test_control_characters_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.note(f"{STEERS}\tä\nb")
    console.warn(f"{STEERS}\nforged")
    console.error(STEERS, STEERS)
    console.emit(STEERS)
    tables.show([STEERS], [[STEERS]])
    out, err = capsys.readouterr()
    assert out.splitlines() == [SHOWN] * 3
    assert err.splitlines() == [
        f"{SHOWN}\tä",
        "b",
        f"warning: {SHOWN} forged",
        f"error: {SHOWN}",
        f"  → {SHOWN}",
    ]


def test_json_keeps_what_it_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_json({"name": STEERS})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": STEERS}
    assert not set(STEERS) & set(out) - set("a[2J1mb")


def test_a_title_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress(f"[/red]{STEERS}") as on_progress:
        on_progress(1, 2)
    assert f"[/red]{SHOWN}" in terminal.getvalue()
