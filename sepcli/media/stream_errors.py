"""Errors of audio decoders, which ``sepcli.media.audio`` turns into messages."""

from __future__ import annotations


class TruncatedError(ValueError):
    """A file is shorter than its header says."""


class ChangeError(ValueError):
    """A stream changes its sample rate or channels, so that its parts are no single signal."""
