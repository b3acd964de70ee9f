"""``sepcli evaluate --calibration``: are samples of a score prior's posterior distributed as the truth?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sepcli.catalog.measured import REJECTED
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

    from sepcli.cli.resolve import Choice
    from sepcli.evaluation.calibration import Calibration
    from sepcli.protocols import Engine

MIXTURES, SAMPLES = 200, 9
"""Mixtures and samples of each where no number is given."""
FRAMES = 32
"""Frames of a mixture of audio."""


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
        from sepcli.cli.calibrate_mixture import assess_mixture

        choice = _chosen(request, options.preset)
        _note(choice, quiet)
        assess_mixture(request, choice.load(_device(request)))
        return
    check_targets({"--out": options.out, "--plot": options.plot}, options.overwrite)
    engine, truths, about, per_second = _problem(request)
    from sepcli.evaluation.calibrate import calibrate

    with console.progress("calibrating", quiet) as on_progress:
        result = calibrate(
            engine,
            truths,
            options.samples or SAMPLES,
            seed=options.seed,
            batch=options.batch,
            about=about,
            per_second=per_second,
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


def _problem(request: Request) -> tuple[Engine, Tensor, dict[str, Any], float]:
    """Return the engine, the truths in its units, what is recorded of both, and positions per second."""
    from sepcli.evaluation.calibrate import prior_samples, samples_prior, signal_engine

    options, count = request.options, request.options.pairs or MIXTURES
    choice = _chosen(request, options.preset)
    _note(choice, options.quiet)
    separator = choice.load(_device(request))
    engine = signal_engine(separator.engine)
    per_second = separator.engine.sample_rate / (_step(separator.engine) or 1)
    notes = {"notes": [note.strip() for note in choice.notes]} if choice.notes else {}
    about = {**separator.describe(), "seed": options.seed, **notes}
    if request.data:
        recorded = _recorded_audio if separator.medium == "audio" else _recorded
        truths = recorded(request, count, separator)
        return engine, truths, {**about, "truths": request.dataset.name}, per_second
    sampler, same = engine.sampler, samples_prior(engine.sampler)
    if not same:
        plain = _chosen(request, DRAWS, plain=True).load(_device(request))
        sampler = signal_engine(plain.engine).sampler
    with console.progress("sampling the prior", options.quiet):
        truths = prior_samples(engine, _shape(request, separator.engine), count, sampler, options.seed)
    source = "the same sampler" if same else f"the preset {DRAWS}"
    return engine, truths, {**about, "truths": f"samples of the prior by {source}"}, per_second


def _chosen(request: Request, preset: str | None, *, plain: bool = False) -> Choice:
    """Choose the separator of the priors; ``plain``: without the sampler and the settings that are given."""
    options = request.options
    method, sampler = engine_of(next(iter(options.method or ()), None), options.sampler)
    wanted = SeparatorOptions(
        method,
        sampler=None if plain else sampler,
        settings={} if plain else parse_settings(options.settings or ()),
        samples=options.samples or SAMPLES,
        preset=preset,
    )
    return find(request.priors, wanted)


def _note(choice: Choice, quiet: bool) -> None:
    for note in choice.notes:
        console.note(note, quiet)


def _device(request: Request) -> str:
    return "cpu" if request.options.device == "auto" else request.options.device


def _shape(request: Request, engine: Any) -> tuple[int, ...]:
    """Return the shape of one source in the space of the noise: an image, or coefficients of audio."""
    if engine.sample_rate:
        return (1, engine.hop, FRAMES) if _step(engine) > 1 else (1, FRAMES * engine.hop)
    from sepcli.priors.load import describe_images

    return describe_images(request.priors[0])[0]


def _step(engine: Any) -> int:
    """Samples of audio per position of the last axis of an engine's state."""
    return int(engine.hop) if getattr(engine, "lapped", False) else 1


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


def _of_confidence(result: Calibration) -> tuple[str, ...]:
    """Return the lines on the confidence of recordings."""
    confidence = result.confidence
    if confidence is None:
        return ()
    medians = f"{confidence.reported:.1f} dB reported, {confidence.attained:.1f} dB attained"
    order = f"rank correlation {confidence.rank_correlation:.2f}"
    shares = f"{100 * confidence.covered:.1f} % of {100 * confidence.nominal:.0f} %"
    return (
        f"confidence: {medians} (medians of {confidence.values} seconds of sources), {order}",
        f"seconds whose truth is no farther from the mean than most samples: {shares}",
    )


def _show(result: Calibration, style: tables.TableStyle) -> None:
    """Print the test of every scalar, the coverage, and the verdict."""
    rows = [[name, f"{value:.3g}"] for name, value in result.p_values().items()]
    tables.show(("rank or share", "p-value"), rows, style=style, left=1)
    percent = f"{100 * result.nominal:.0f} %"
    for text in (
        f"{result.mixtures} mixtures, {result.samples} samples each",
        f"{100 * result.covered:.1f} % of the values are within their {percent} interval",
        f"{100 * result.within_std:.1f} % are within their 90 % interval by the standard deviation",
        *_of_confidence(result),
        f"squared error of the mean over its expectation from the spread: {result.error_ratio:.2f}",
    ):
        console.emit(text)
    kind = "too wide" if result.error_ratio < 1.0 else "too narrow"
    verdict = f"rejected: the samples are not distributed as the truth, they are {kind}"
    accepted = f"not rejected (p = {result.p_value:.2g})"
    console.emit(f"calibration is {verdict if result.p_value < REJECTED else accepted}")
