"""``sepcli evaluate --calibration``: are samples of a score prior's posterior distributed as the truth?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sepcli.cli import console, tables
from sepcli.cli.evaluate_kinds import Request
from sepcli.cli.reports import check_targets
from sepcli.cli.resolve import SeparatorOptions, engine_of
from sepcli.cli.run_record import write_record
from sepcli.cli.separators import find
from sepcli.cli.settings import parse_settings
from sepcli.errors import UsageError
from sepcli.separation.presets import DRAWS

if TYPE_CHECKING:
    from torch import Tensor

    from sepcli.evaluation.calibration import Calibration
    from sepcli.protocols import Engine

MIXTURES, SAMPLES = 200, 9
"""Mixtures and samples of each where no number is given."""
STEIN_SAMPLES = 16
"""Samples of one mixture where no number is given."""
FRAMES = 32
"""Frames of a mixture of audio."""
REJECTED = 0.05
"""p-value below which calibration is rejected."""


def calibrate_prior(request: Request) -> None:
    """Measure the calibration, print its table, and write the document and the figure.

    Raises:
        UsageError: there is no score prior, or the data are not pairs of images.
    """
    options, quiet = request.options, request.options.quiet
    if not request.priors:
        raise UsageError("--calibration needs a score prior", "give --prior NAME or FOLDER")
    for option, path in (("--csv", options.csv), ("--html", options.html)):
        if path is not None:
            raise UsageError(f"{option} is not for --calibration", "use --out or --plot")
    if options.folders:
        _test_mixture(request)
        return
    check_targets({"--out": options.out, "--plot": options.plot}, options.overwrite)
    engine, truths, about = _problem(request)
    from sepcli.evaluation.calibrate import calibrate

    with console.progress("calibrating", quiet) as on_progress:
        result = calibrate(
            engine,
            truths,
            options.samples or SAMPLES,
            seed=options.seed,
            batch=options.batch,
            about=about,
            on_progress=on_progress,
        )
    document = result.as_dict()
    if options.out is not None:
        write_record(options.out, document)
        console.note(f"wrote {options.out}", quiet)
    if options.plot is not None:
        from sepcli.evaluation.calibration_plots import calibration_figure
        from sepcli.evaluation.plots import save_figure

        save_figure(calibration_figure(result), options.plot)
        console.note(f"wrote {options.plot}", quiet)
    if options.as_json:
        console.emit_json(document)
    else:
        _show(result, options.table)


def _problem(request: Request) -> tuple[Engine, Tensor, dict[str, Any]]:
    """Return the engine, the truths in its units, and what is recorded of both."""
    from sepcli.evaluation.calibrate import prior_samples, samples_prior, signal_engine

    options, count = request.options, request.options.pairs or MIXTURES
    separator = _loaded(request, options.preset)
    engine = signal_engine(separator.engine)
    about = {**separator.describe(), "seed": options.seed}
    if request.data:
        recorded = _recorded_audio if separator.medium == "audio" else _recorded
        return engine, recorded(request, count, separator), {**about, "truths": request.dataset.name}
    sampler, same = engine.sampler, samples_prior(engine.sampler)
    if not same:
        sampler = signal_engine(_loaded(request, DRAWS, plain=True).engine).sampler
    with console.progress("sampling the prior", options.quiet):
        truths = prior_samples(engine, _shape(request, separator.engine), count, sampler, options.seed)
    source = "the same sampler" if same else f"the preset {DRAWS}"
    return engine, truths, {**about, "truths": f"samples of the prior by {source}"}


def _loaded(request: Request, preset: str | None, *, plain: bool = False) -> Any:
    """Return the separator of the priors; ``plain``: without the sampler and the settings that are given."""
    options = request.options
    method, sampler = engine_of(next(iter(options.method or ()), None), options.sampler)
    wanted = SeparatorOptions(
        method,
        sampler=None if plain else sampler,
        settings={} if plain else parse_settings(options.settings or ()),
        samples=options.samples or SAMPLES,
        preset=preset,
    )
    choice = find(request.priors, wanted)
    device = "cpu" if options.device == "auto" else options.device
    return choice.load(device)


def _shape(request: Request, engine: Any) -> tuple[int, ...]:
    """Return the shape of one source in the space of the noise: an image, or coefficients of audio."""
    if engine.sample_rate:
        return (1, engine.hop, FRAMES) if getattr(engine, "lapped", False) else (1, FRAMES * engine.hop)
    from sepcli.priors.load import describe_images

    return describe_images(request.priors[0])[0]


def _test_mixture(request: Request) -> None:
    """Test samples of one image by the kernel Stein discrepancy, print it, and write its document.

    Raises:
        UsageError: there are several inputs, or the prior is of audio.
    """
    import torch

    from sepcli.evaluation.calibrate import signal_engine, stein
    from sepcli.media.images import read_image

    options = request.options
    separator = _loaded(request, options.preset)
    paths = options.folders or []
    if len(paths) != 1 or separator.medium != "image" or request.data or options.plot:
        raise UsageError(
            "--calibration with a mixture takes one image, a prior of images, and neither data nor --plot",
            "give one image, or leave it out",
        )
    check_targets({"--out": options.out}, options.overwrite)
    path = paths[0]
    mixture = separator.as_channels(torch.from_numpy(read_image(path).pixels).float())
    count = options.samples or STEIN_SAMPLES
    result = stein(signal_engine(separator.engine), mixture, count, options.seed)
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


def _recorded_audio(request: Request, count: int, separator: Any) -> Tensor:
    """Return sources (N, K, 1, …) of recorded pairs, as the engine has them, at the level of its mixtures.

    Raises:
        UsageError: the data are not pairs of the engine's rate.
    """
    import numpy as np
    import torch

    from sepcli.datasets import resolve
    from sepcli.datasets.pair_folder import PairFolder

    engine, data = separator.engine, resolve(request.dataset.open)(request.data[0])
    if not isinstance(data, PairFolder) or not hasattr(engine, "entered"):
        raise UsageError("--calibration of audio is for --dataset pairs", "leave out --dataset and --data")
    pairs = [*data.pairs(count).items(engine.names, request.options.seed)]
    if any(pair.sample_rate != engine.sample_rate for pair in pairs):
        raise UsageError(f"the prior is of {engine.sample_rate} Hz", "resample the data")
    length = min(pair.sources.shape[-1] for pair in pairs)
    sources = np.stack([pair.sources[:, :length] for pair in pairs])
    mixtures = np.einsum("nkt,k->nt", sources, np.array(engine.weights))
    level = separator.stream.reference_rms
    gains = np.ones(len(pairs)) if level is None else level / np.sqrt(np.square(mixtures).mean(1))
    scaled = torch.from_numpy(sources * gains[:, None, None]).float()[:, :, None]
    entered: Tensor = engine.entered(scaled * engine.scale)
    return entered


def _recorded(request: Request, count: int, separator: Any) -> Tensor:
    """Return the sources of pairs of test images (N, 2, C, H, W)."""
    import torch

    from sepcli.datasets import resolve
    from sepcli.datasets.image_decoder import Decoder
    from sepcli.priors.load import describe_images

    if request.dataset.medium != separator.medium:
        raise UsageError(f"--dataset {request.dataset.name} is not for this prior", "choose another")
    shape = describe_images(request.priors[0])[0]
    decoder = Decoder(size=shape[1:], channels=shape[0])
    images = resolve(request.dataset.open)(request.data[0], "test", decoder)
    pairs = images.pairs(count, request.options.pairing or "any").items(request.options.seed)
    return torch.stack([torch.from_numpy(pair.sources) for pair in pairs]).float()


def _show(result: Calibration, style: tables.TableStyle) -> None:
    """Print the test of every scalar, the coverage, and the verdict."""
    rows = [[name, f"{value:.3g}"] for name, value in result.p_values().items()]
    tables.show(("rank or share", "p-value"), rows, style=style, left=1)
    percent = f"{100 * result.nominal:.0f} %"
    for text in (
        f"{result.mixtures} mixtures, {result.samples} samples each",
        f"{100 * result.covered:.1f} % of the values are within their {percent} interval",
        f"squared error of the mean over its expectation from the spread: {result.error_ratio:.2f}",
    ):
        console.emit(text)
    kind = "too wide" if result.error_ratio < 1.0 else "too narrow"
    verdict = f"rejected: the samples are not distributed as the truth, they are {kind}"
    accepted = f"not rejected (p = {result.p_value:.2g})"
    console.emit(f"calibration is {verdict if result.p_value < REJECTED else accepted}")
