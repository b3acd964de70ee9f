"""Tests use public names, and recognize messages by their class and subject, not by their prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
PRIVATE = re.compile(r"(?<![\w.])_(?!_)[a-z]\w*$")
NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Public methods of named tuples; their underscore keeps them apart from fields."""
PROSE = re.compile(r"(?<![-\w`./])[a-z]{2,} [a-z]{2,} [a-z]{2,}(?![-\w./])")
SYSTEM = re.compile("no space left on device|most recent call last")
"""Words of the operating system or of Python, which a message quotes."""


def private_names(source: str) -> Iterator[str]:
    """Private names that a module imports, reads of objects other than ``self``, or patches."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            texts = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (part for text in texts for part in text.split(".") if PRIVATE.match(part))
        elif isinstance(node, ast.Attribute) and node.attr not in NAMED_TUPLES:
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            yield from [node.attr] if PRIVATE.match(node.attr) and not own else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            names = [part for text in literals(node) for part in text.split(".")]
            patches = called in ("setattr", "getattr", "delattr", "hasattr", "patch")
            yield from (name for name in names if patches and PRIVATE.match(name))


def prose(source: str) -> Iterator[str]:
    """Sentences that a module expects in an error: ``match=``, or ``in`` an error's text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "match":
            yield from (text for text in literals(node) if is_prose(text))
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            where = ast.unparse(node.comparators[0])
            error = re.search(r"\b(err|stderr|message|hint|two_lines|str)\b", where)
            yield from (text for text in literals(node.left) if error and is_prose(text))


def literals(node: ast.AST) -> list[str]:
    """Texts in an expression."""
    values = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return [value for value in values if isinstance(value, str)]


def is_prose(text: str) -> bool:
    """Whether a text has three plain words in a row, which are not the system's."""
    return PROSE.search(text) is not None and not SYSTEM.search(text.lower())


@pytest.mark.parametrize("room", sorted({path.relative_to(FOLDER).parts[0] for path in MODULES}))
def test_no_test_needs_private_names_or_prose(room: str) -> None:
    for path in MODULES:
        if path.relative_to(FOLDER).parts[0] == room:
            source = path.read_text("utf-8")
            assert [*private_names(source), *prose(source)] == [], path


def test_private_names_are_seen() -> None:
    lines = (
        "from sepcli.atomic import _parts",
        "import sepcli._core",
        "prior._levels(3)",
        "monkeypatch.setattr('sepcli.api._load', None)",
        "getattr(prior, '_flow')",
        "self._mine, named._replace(x=1), module.__doc__",
    )
    assert {*private_names("\n".join(lines))} == {"_parts", "_core", "_levels", "_load", "_flow"}


def test_prose_is_seen() -> None:
    lines = (
        "raises(InputError, match='the file is broken')",
        "raises(InputError, match=r'a\\.wav')",
        "assert 'cannot be read' in capsys.readouterr().err",
        "assert 'run `sepcli fetch-priors NAME`' in error.hint",
        "assert 'one two three' in words",
    )
    assert {*prose("\n".join(lines))} == {"the file is broken", "cannot be read"}
