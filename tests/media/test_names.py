"""Names from outside stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepcli.errors import OutputError
from sepcli.media.names import inside, safe_name


@given(st.text())
def test_any_text_becomes_one_harmless_component(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set(safe) & set('/\\:*?"<>|\0\n')
    assert len(safe.encode("utf-8", "surrogateescape")) <= 200
    assert inside(Path("out"), safe) == Path("out") / safe
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("My Song (live) – 03", "My Song (live) – 03"),
        ("../../etc/passwd", "___.._etc_passwd"),
        ("..", "__"),
        (".hidden", "_hidden"),
        ("", "_"),
        ("con", "_con"),
        ("LPT1.wav", "_LPT1.wav"),
        ("a" * 300, "a" * 200),
        ("C:\\x", "C__x"),
    ],
)
def test_examples(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize("relative", ["../x.wav", "a/../../x.wav", "/etc/x.wav", ".", "", "a/.."])
def test_paths_that_leave_are_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(OutputError):
        inside(tmp_path, relative)


def test_paths_inside_are_kept(tmp_path: Path) -> None:
    assert inside(tmp_path, "track/./drums.wav") == tmp_path / "track" / "drums.wav"
