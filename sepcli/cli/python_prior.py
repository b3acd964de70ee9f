"""``--prior module.py:object``: an object of a Python file as a prior.

Loading it executes the file. Therefore it is only done for an argument of the command line, never for a name
in a card, a fetched repository or a record.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.errors import PriorError

if TYPE_CHECKING:
    from sepcli.protocols import ScorePrior


def is_python(reference: str) -> bool:
    """Return whether an argument names an object of a Python file: ``path.py:object``."""
    file, colon, name = reference.rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def load_object(reference: str) -> ScorePrior:
    """Execute a Python file and return the prior that it defines.

    Args:
        reference: ``path.py:object``, split at the last colon.

    Raises:
        PriorError: there is no such file or object, the file raises, or the object is no prior.
    """
    file, _, name = reference.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise PriorError(f"there is no file {path}", "write --prior path.py:object")
    module_name = f"_sepcli_prior_{abs(hash(str(path.resolve())))}"
    module: Any = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise PriorError(f"{path} is not a Python file", "write --prior path.py:object")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise PriorError(
                f"{path} raised {type(error).__name__}: {error}", "correct the file, then try again"
            ) from error
    if not hasattr(module, name):
        raise PriorError(f"{path} defines no {name}", "name an object of the file: --prior path.py:object")
    prior: Any = getattr(module, name)
    if not callable(getattr(prior, "score", None)):
        raise PriorError(
            f"{reference} is not a prior",
            "give it a method score(x, sigma), or make it with sepcli.from_denoiser",
        )
    checked: ScorePrior = prior
    return checked
