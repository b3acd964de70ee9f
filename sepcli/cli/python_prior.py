"""``--prior module.py:object``: an object of a Python file as a prior.

Loading it executes the file. Therefore it is only done for an argument of the command line, never for a name
in a card, a fetched repository or a record.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.catalog.card import HUB
from sepcli.cli.resolve import Choice, Method, SeparatorOptions
from sepcli.cli.settings import parse_weights
from sepcli.errors import PriorError, UsageError

if TYPE_CHECKING:
    from sepcli.protocols import ScorePrior
    from sepcli.separation.separator import Separator


FORM = "write --prior path.py:object"
LONGEST = 1 << 20
"""Bytes of a file that is parsed for its objects."""


def is_python(reference: str) -> bool:
    """Return whether an argument names an object of a Python file: ``path.py:object``."""
    file, colon, name = reference.rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def refuse_files(references: Sequence[str]) -> None:
    """Refuse Python files without the name of an object; the file is parsed for candidates, not executed.

    Raises:
        PriorError: there is one, and it does not exist.
        UsageError: there is one.
    """
    for reference in references:
        file, colon, _ = reference.rpartition(":")
        path = Path(file if colon and file.endswith(".py") else reference)
        if path.suffix != ".py" or reference.startswith(HUB) or is_python(reference) or path.is_dir():
            continue
        if not path.is_file():
            raise PriorError(f"there is no file {path}", FORM)
        names = objects_of(path)
        hint = f"write --prior {path}:OBJECT" + (f"; OBJECT may be {' or '.join(names)}" if names else "")
        raise UsageError(f"--prior {reference} names no object of the Python file", hint)


def objects_of(path: Path) -> list[str]:
    """Return the public names that a Python file assigns the result of a call to; [] if it cannot be parsed.

    Nothing is executed.
    """
    try:
        if path.stat().st_size > LONGEST:
            return []
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names: list[str] = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(getattr(node, "value", None), ast.Call):
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


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
        raise PriorError(f"there is no file {path}", FORM)
    module_name = f"_sepcli_prior_{abs(hash(str(path.resolve())))}"
    module: Any = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise PriorError(f"{path} is not a Python file", FORM)
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


def choose_objects(references: Sequence[str], options: SeparatorOptions) -> Choice:
    """Choose objects of Python files: one for all sources, or one per source.

    Raises:
        PriorError: an object cannot be loaded.
        UsageError: there are names of priors among them, or options that are for other priors.
    """
    for reference in references:
        if not is_python(reference):
            raise UsageError(f"{reference} is not an object of a Python file", "do not mix kinds", "priors")
    if options.method not in (None, Method.SCORE) or options.other:
        option = "other" if options.other else "engine"
        raise UsageError(f"{references[0]} is a score prior by itself", "leave the option out", option)
    priors = [load_object(reference) for reference in references]
    rate = int(getattr(priors[0], "sample_rate", 0))
    weights = None if options.weights is None else parse_weights(options.weights, options.sources)
    if weights is None and options.sources is not None:
        weights = (1.0 if rate else 1.0 / options.sources,) * options.sources
    titles = [reference.rpartition(":")[2] for reference in references]
    every = titles * (len(weights) if weights else 2) if len(titles) == 1 else titles
    names = tuple(
        f"{title}-{every[: k + 1].count(title)}" if every.count(title) > 1 else title
        for k, title in enumerate(every)
    )

    load = partial(_separator, references, options, rate, {"weights": weights, "names": names})
    prior = "+".join(dict.fromkeys(titles))
    return Choice("audio" if rate else "image", prior, names, load, references=tuple(references))


def choose_colorizing_object(
    reference: str, weights: Sequence[float], stem: str, options: SeparatorOptions
) -> Choice:
    """Choose an object of a Python file as a prior of color images, with weights of the gray.

    Raises:
        PriorError: it cannot be loaded.
    """
    load_object(reference)
    load = partial(_separator, [reference], options, 0, {"gray": tuple(weights)})
    return Choice("image", reference.rpartition(":")[2], (stem,), load, references=(reference,))


def _separator(
    references: Sequence[str],
    options: SeparatorOptions,
    sample_rate: int,
    mixing: Mapping[str, Any],
    device: str,
) -> Separator:
    """Return what separates with objects of Python files, whose names and hashes are for records.

    ``mixing`` has weights and names of the sources, or the weights of a gray. Every process executes the
    files.
    """
    from sepcli.api import choose_device
    from sepcli.catalog.card import sha256
    from sepcli.priors.load import split_settings
    from sepcli.separation.separator import Separator
    from sepcli.separation.settings import StreamSettings
    from sepcli.settings import parse
    from sepcli.signal.mixing import ChannelSum

    stream, settings = split_settings(options.settings) if sample_rate else ({}, options.settings)
    arguments = {"mixing": ChannelSum(mixing["gray"])} if "gray" in mixing else mixing
    separator = Separator(
        [load_object(reference) for reference in references],
        sampler=options.sampler,
        preset=options.preset,
        settings=settings,
        sample_rate=sample_rate,
        device=choose_device(device),
        **arguments,
    )
    split = [(Path(file), name) for file, _, name in (reference.rpartition(":") for reference in references)]
    names = [f"{path.name}:{name}" for path, name in split]
    provenance = {
        "prior": names[0] if len(names) == 1 else names,
        "files": {path.name: sha256(path) for path, _ in split},
    }
    return separator.configured(parse(StreamSettings, stream), provenance=provenance)
