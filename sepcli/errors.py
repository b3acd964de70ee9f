"""The exceptions of the package.

::

    SepError                exit 1   anything that stops the work; carries a message and a hint
    ├── UsageError          exit 2   the request itself is wrong: unknown option value, contradicting options
    ├── InputError          exit 1   a file that cannot be read: empty, cut short, not finite, of another kind
    ├── OutputError         exit 1   a path that cannot be written, a full disk, or an existing file
    └── PriorError          exit 4   a prior that is missing, offline, incomplete or fails its hash
        └── FormatError     exit 4   a card, config, table or record of a newer format

The command line catches ``SepError`` once and prints two lines: what is wrong, what to do.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from sepcli import __version__


class SepError(Exception):
    """An error with a line that says what is wrong and a line that says what to do.

    Each kind is also the fitting built-in exception, for programs without knowledge of this package.

    Args:
        message: no final full stop; names the file, argument or prior concerned.
        hint: no final full stop.
        argument: the argument of the Python API that is wrong, such as ``weights`` or ``settings.steps``;
            the command line names the option instead.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str, argument: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.argument = argument

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process restores the error."""
        return _restored, (type(self), self.args, self.__dict__)


class UsageError(SepError, ValueError):
    """The request itself is wrong."""

    exit_code = 2


class InputError(SepError, ValueError):
    """An input cannot be used."""


class OutputError(SepError, OSError):
    """An output cannot be written."""


class PriorError(SepError, LookupError):
    """A prior is missing, cannot be loaded or fails its verification."""

    exit_code = 4


class FormatError(PriorError):
    """A file is of a newer format than this version reads: a card, config, table, record or report."""


def refuse_newer(what: str, version: object, newest: int, writer: str | None = None) -> None:
    """Refuse a file of a newer format.

    Args:
        what: the file, for the message.
        version: its entry ``format``; what is not a whole number is not refused here.
        newest: the newest format that this version of sepcli reads.
        writer: the version of sepcli that wrote the file, as the file says; None: unknown.

    Raises:
        FormatError: the format is newer.
    """
    if isinstance(version, int) and version > newest:
        unknown = writer in (None, __version__)
        needed = f"a newer sepcli than {__version__}" if unknown else f"sepcli >= {writer}"
        raise FormatError(f"{what} has format {version}, which needs {needed}", "update sepcli")


def nearest(name: str, names: Collection[str]) -> str:
    """Return a hint for an unknown name: the nearest one, whatever its case and hyphens, else all names."""
    plain = {_letters(one): one for one in reversed([*names])}
    near = get_close_matches(_letters(name), plain, n=1, cutoff=0.7)
    return f"did you mean {plain[near[0]]}?" if near else f"one of: {', '.join(names)}"


def _restored(kind: type[SepError], args: tuple[Any, ...], state: dict[str, Any]) -> SepError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
