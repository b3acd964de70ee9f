"""The exceptions of the package.

::

    SepError                exit 1   anything that stops the work; carries a message and a hint
    ├── UsageError          exit 2   the request itself is wrong: unknown option value, contradicting options
    ├── InputError          exit 1   a file that cannot be read: empty, cut short, not finite, of another kind
    ├── OutputError         exit 1   a path that cannot be written, a full disk, or an existing file
    └── PriorError          exit 4   a prior that is missing, offline, incomplete or fails its hash

The command line catches ``SepError`` once and prints two lines: what is wrong, what to do.
"""


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
