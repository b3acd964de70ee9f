"""What an error on the command line is."""

from __future__ import annotations


def two_lines(text: str) -> tuple[str, str]:
    """What is wrong, and what to do."""
    first, second = text.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  → ")
    return first, second
