"""The style of error messages and the vocabulary of the code, checked mechanically."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sepcli
from sepcli import errors

ROOT = Path(sepcli.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.SepError)
}
OPTION = re.compile(r"(?<![\w-])--[a-z]")
CAPITAL = re.compile(r"(?!(?:Langevin|Pillow|Ray|Slakh|Demucs)\b)[A-Z][a-z]+ |A ")
"""A first word that is capitalized and not a name."""
ROOMS = sorted({path.relative_to(ROOT).parts[0] for path in MODULES})
"""Folders and modules of the package."""


class Raised:
    """The message and the hint of an error, with placeholders for what is filled in."""

    def __init__(self, path: Path, call: ast.Call) -> None:
        self.place = f"{path.relative_to(ROOT)}:{call.lineno}"
        texts = [*call.args[:2], *(k.value for k in call.keywords if k.arg in ("message", "hint"))]
        self.message, self.hint = ([_text(node) for node in texts] + [None, None])[:2]


def raised(path: Path) -> Iterator[Raised]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            yield Raised(path, node)


def _text(node: ast.expr) -> str | None:
    """The text of a literal, with {} for every inserted value; None for other expressions."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        left, right = _text(node.left), _text(node.right)
        return None if left is None or right is None else left + right
    return None


def test_messages_are_found() -> None:
    assert sum(1 for path in MODULES for _ in raised(path)) > 200


@pytest.mark.parametrize("room", ROOMS)
def test_messages_and_hints_are_lower_case_without_full_stop(room: str) -> None:
    """Below the command line they name no options either: ``sepcli.cli`` knows their names."""
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] != room:
            continue
        for error in raised(path):
            for text in filter(None, (error.message, error.hint)):
                assert not text.endswith("."), (error.place, text)
                assert not CAPITAL.match(text), (error.place, text)
                assert room == "cli" or not OPTION.search(text), (error.place, text)


OLD_WORDS = re.compile(
    r"\b(pictures?|sounds?|colour\w*|grey|ladders?|told|asked|heard|pulls?|gaps?|charge[ds]?|contest|doubt\w*|"
    r"draw|drawn|selective|foreign|unlabelled|judges?|learnt|taking|places?|own|known|knows|found|made|words?|"
    r"usual|(?<!\.)(?<!def )tell|the rest)\b|(?<![Ss]tandard )\bdeviations?\b"
)
"""Words that the vocabulary of the project replaces; some have legitimate uses, so that lines are counted;
``draws`` is the name of a preset."""
OLD_LINES = 35
"""Lines with such words, most of them keys of stored weights; this number only falls."""


def test_old_words_disappear() -> None:
    lines = [line for path in MODULES for line in path.read_text("utf-8").splitlines()]
    count = sum(1 for line in lines if OLD_WORDS.search(line))
    assert count <= OLD_LINES


def test_docstrings_are_no_genitive_fragments() -> None:
    for path in MODULES:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            assert not re.match(r'\s*"""(Of|By) ', line), f"{path.relative_to(ROOT)}:{number}"
