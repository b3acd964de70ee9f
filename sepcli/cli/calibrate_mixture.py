"""``sepcli evaluate MIXTURE --calibration``: do samples of one mixture fit their score?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sepcli.catalog.measured import REJECTED
from sepcli.cli import console
from sepcli.cli.evaluate_kinds import Request
from sepcli.cli.excerpt import loudest
from sepcli.cli.reports import check_targets
from sepcli.cli.run_record import write_record
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from sepcli.separation.separator import Separator

SAMPLES = 16
"""Samples where no number is given."""
SECONDS = 1.5
"""Length of the excerpt of a recording: the loudest one."""


def assess_mixture(request: Request, separator: Separator) -> None:
    """Test samples of one mixture by the kernel Stein discrepancy, print it, and write its document.

    Raises:
        UsageError: there are several inputs, or options that have no use.
    """
    from sepcli.evaluation.calibrate import signal_engine, stein

    options = request.options
    paths = options.folders or []
    if len(paths) != 1 or request.data or options.plot:
        raise UsageError(
            "--calibration with a mixture takes one file, and neither data nor --plot",
            "give one image or recording, or leave it out",
        )
    check_targets({"--out": options.out}, options.overwrite)
    path = paths[0]
    count = options.samples or SAMPLES
    result = stein(signal_engine(separator.engine), _mixture(path, separator), count, options.seed)
    document = {
        "format": 1,
        "kind": "stein",
        "samples": count,
        "discrepancy": result.value,
        "p_value": result.p_value,
        "about": {**separator.describe(), "seed": options.seed, "mixture": path.name},
    }
    if options.out is not None:
        write_record(options.out, document)
        console.note(f"wrote {options.out}", options.quiet)
    if options.as_json:
        console.emit_json(document)
        return
    fits = "do not fit" if result.p_value < REJECTED else "fit"
    console.emit(
        f"kernel Stein discrepancy of {count} samples: {result.value:.4g} (p = {result.p_value:.2g})"
    )
    console.emit(f"the samples {fits} the score of the posterior")


def _mixture(path: Path, separator: Separator) -> Tensor:
    """Return a mixture as the engine of the priors has it: an image, or coefficients of an excerpt.

    Raises:
        InputError: it cannot be read as the priors' medium.
        UsageError: the excerpt is silent, or the engine is of no score priors.
    """
    import torch

    signal, rate = loudest(path, separator.medium, SECONDS)
    if not rate:
        return separator.as_channels(torch.from_numpy(signal).float())
    import numpy as np
    import soxr

    from sepcli.evaluation.calibrate import signal_engine

    signal_engine(separator.engine)
    engine, level = separator.engine, separator.stream.reference_rms
    mono = np.zeros(0) if signal is None else signal.mean(0)
    if not mono.any():
        raise UsageError(f"{path} is silent", "choose another recording", argument="folders")
    mono = soxr.resample(mono, rate, separator.sample_rate)
    mono *= 1.0 if level is None else level / np.sqrt(np.square(mono).mean())
    entered: Tensor = engine.entered(torch.from_numpy(mono).float()[None])  # type: ignore[attr-defined]
    return entered
