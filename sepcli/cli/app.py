"""The ``sepcli`` command: its subcommands, and where errors become two lines and an exit code.

::

    0 all done · 1 failure · 2 usage · 3 some inputs of a batch failed · 4 prior missing or refused
    130 interrupted

The subcommands import their work inside their bodies, so that ``--help`` never waits for torch.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from sepcli import __version__
from sepcli.cli import console
from sepcli.cli.colorize import colorize
from sepcli.cli.env import show_environment
from sepcli.cli.evaluate import evaluate
from sepcli.cli.examples import EXAMPLES
from sepcli.cli.fetch import fetch_priors
from sepcli.cli.help import Command, Group
from sepcli.cli.importer import import_prior
from sepcli.cli.likelihood import build_likelihood
from sepcli.cli.meanings import dashed_file, meant_command, meant_option, refused_choice, refused_number
from sepcli.cli.numba_cache import ensure_numba_cache
from sepcli.cli.old_flags import missing_command, twin
from sepcli.cli.options import NO_INPUT, in_option_words
from sepcli.cli.page import page
from sepcli.cli.push import push_prior
from sepcli.cli.samplers import list_samplers
from sepcli.cli.separate import separate
from sepcli.cli.threads import allow_threads, share_heap
from sepcli.cli.train import train_prior
from sepcli.cli.ui import open_ui
from sepcli.errors import SepError, UsageError
from sepcli.training.distributed import ReportedError, part, started

# click's base class, wherever this version of typer keeps it: BadParameter → UsageError → ClickException
_ClickException: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="sepcli",
    cls=Group,
    help="Separate mixtures into their sources with generative priors.",
    epilog=EXAMPLES[""],
    rich_markup_mode=None,  # boxes take longer to load than all else that --help does
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: Mapping[str, Callable[..., Any]] = {
    "separate": separate,
    "colorize": colorize,
    "evaluate": evaluate,
    "page": page,
    "ui": open_ui,
    "samplers": list_samplers,
    "fetch-priors": fetch_priors,
    "train-prior": train_prior,
    "build-likelihood": build_likelihood,
    "import-prior": import_prior,
    "push-prior": push_prior,
    "env": show_environment,
}
"""Name → function."""
PANELS: Mapping[str, Sequence[str]] = {
    "Separation": ("separate", "colorize", "evaluate", "page", "ui", "samplers"),
    "Priors": ("fetch-priors", "train-prior", "build-likelihood", "import-prior", "push-prior"),
    "Installation": ("env",),
}
"""Panel of the help → its commands."""
for _panel, _names in PANELS.items():
    for _name in _names:
        app.command(_name, cls=Command, epilog=EXAMPLES[_name], rich_help_panel=_panel)(COMMANDS[_name])


def _print_version(wanted: bool) -> None:
    if wanted:
        console.emit(f"sepcli {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, ``sys.argv[1:]`` if None, and exit the process with its exit code."""
    for name in ("SIGTERM", "SIGHUP"):  # as Ctrl-C: what is half written is removed
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    allow_threads(os.environ)
    share_heap(os.environ)
    ensure_numba_cache()
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by whoever started this
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command line, ``--help`` if it is empty, and return its exit code; errors are printed.

    ``SEPCLI_DEBUG=1`` in the environment prints the traceback above an error. Of several processes that train
    together, the first one prints.
    """
    silent = [*argv[:1]] == ["train-prior"] and not started().first
    try:
        result = get_command(app).main(list(argv) or ["--help"], prog_name="sepcli", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except (KeyboardInterrupt, typer.Abort):
        result = 130
    except ReportedError as problem:
        part()
        return problem.exit_code
    except _ClickException as problem:
        if silent:
            part()
        else:
            console.error(*_usage(problem, argv))
        return int(problem.exit_code)
    except Exception as problem:
        if os.environ.get("SEPCLI_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        message, hint = _explained(problem, argv)
        if "--json" in argv and isinstance(problem, SepError) and not isinstance(problem, UsageError):
            console.emit_json({"failed": [{"error": message, "hint": hint}]})
        console.error(message, hint)
        return problem.exit_code if isinstance(problem, SepError) else 1
    if result == 130:
        console.note("interrupted", silent)
    return result if isinstance(result, int) else 0


def _usage(problem: Any, argv: Sequence[str]) -> tuple[str, str]:
    """Return the two lines of an error of the parser: what is wrong, what was meant."""
    context, first = getattr(problem, "ctx", None), next(iter(argv), "")
    command = context.command_path if context else f"sepcli {first}" if first in COMMANDS else "sepcli"
    message, hint = problem.format_message().strip().rstrip("."), None
    option = getattr(problem, "option_name", "")
    if "such option" in message and (lines := dashed_file(argv)):
        message, hint = lines
    elif "such option" in message and context:
        message = f"there is no option {option}"
        names = {name for one in context.command.params for name in one.opts}
        hint = twin(option, command) or meant_option(option, names)
    elif command == "sepcli" and first and not first.startswith("-"):
        hint = meant_command(first, COMMANDS)
        message, hint = missing_command(argv, COMMANDS) or (f"there is no command '{first}'", hint)
    elif lines := refused_choice(message) or refused_number(problem, argv):
        message, hint = lines
    return message, hint or f"run `{command} --help` for its options"


def _explained(problem: Exception, argv: Sequence[str]) -> tuple[str, str]:
    """Return the two lines of an error: what is wrong, what to do."""
    if isinstance(problem, SepError):
        if problem.message == NO_INPUT[0] and (lines := dashed_file(argv)):
            return lines
        return in_option_words(problem.message, problem.argument), problem.hint
    if isinstance(problem, MemoryError):
        return "there is not enough memory", "ask for less at once, such as a smaller batch"
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        return f"{where}{problem.strerror or problem}", "check names, rights and free space"
    detail = str(problem).strip() or "no message"
    return f"unexpected {type(problem).__name__}: {detail}", "rerun with SEPCLI_DEBUG=1 for the traceback"


def _silence_stdout() -> None:
    """Let the interpreter's last flush of a broken stdout go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
