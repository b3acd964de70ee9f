"""From the options of ``sepcli evaluate`` to a task: data are opened, priors loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.evaluate_kinds import AUDIO, COLORS, LIKELIHOOD, Request
from sepcli.cli.resolve import Method, SeparatorOptions, engine_of
from sepcli.cli.separators import find
from sepcli.cli.settings import parse_settings
from sepcli.datasets import resolve
from sepcli.errors import UsageError

if TYPE_CHECKING:
    import torch

    from sepcli.datasets.image_pairs import LabelledImages
    from sepcli.datasets.songs import SongSet
    from sepcli.evaluation.task import Task
    from sepcli.separation.separator import Separator

ALL = 50_000
"""Images that are colorized where no number is given: all, in the paper this many."""
ITEMS = 100
"""Test items of cross-likelihood where no number is given."""


def make_task(request: Request, device: str) -> Task[Any]:
    """Open the data, and load the priors on a device.

    Raises:
        SepError: the options do not fit, or priors or data cannot be used.
    """
    if request.kind == LIKELIHOOD:
        return _likelihood(request, device)
    return _audio(request, device) if request.kind == AUDIO else _images(request, device)


def in_workers(request: Request, device: str) -> tuple[Task[Any], Callable[[str], Task[Any]]]:
    """Return a task for a process that computes nothing, and what makes the same task on a worker's device.

    Args:
        request: what is evaluated.
        device: of a worker; the report names its kind.

    Raises:
        SepError: the options do not fit, or priors or data cannot be used.
    """
    task: Any = make_task(request, "cpu")
    kind = device.partition(":")[0]
    settings = {**task.settings, **({"device": kind} if "device" in task.settings else {})}
    options = replace(request.options, context=None, quiet=True)  # type: ignore[arg-type]
    return replace(task, settings=settings), partial(make_task, replace(request, options=options))


def open_songs(request: Request) -> SongSet:
    """Open the songs of a data set.

    Raises:
        InputError: there are none.
    """
    songs: SongSet = resolve(request.dataset.open)(request.data[0], request.options.split or "test")
    return songs


def _audio(request: Request, device: str) -> Task[Any]:
    """Return the separation of pairs or songs with a prior's engine, baselines, or both."""
    options, row, priors = request.options, request.dataset, request.priors
    methods = dict.fromkeys(options.method or ())
    baselines = [method.value for method in methods if method.is_baseline]
    engines = [method for method in methods if not method.is_baseline]
    if len(engines) > 1:
        raise UsageError(f"--method {' and '.join(engines)} are two runs", "evaluate one engine at a time")
    if row.means and not priors:
        raise UsageError(
            f"--dataset {row.name} needs priors", "give --prior once per source, or one of encoders"
        )
    if row.means and baselines:
        raise UsageError(
            f"--method {baselines[0]} is not for --dataset {row.name}", "use priors of its sources"
        )
    if len(priors) > 1 and not row.means:
        raise UsageError(f"{len(priors)} --prior for --dataset {row.name}", "give one")
    with_prior = bool(priors or engines or not baselines)
    if options.consistency and (not with_prior or row.means):
        raise UsageError("--consistency is not used: no prior separates recordings here", "leave it out")
    if options.consistency == "none" and options.samples:
        raise UsageError("--consistency none scores the bare first sample", "leave out --samples")
    separator = _separator(request, next(iter(engines if with_prior else methods), None), device)
    from sepcli.datasets.songs import SongSet
    from sepcli.evaluation.tasks.pairs import Pairs
    from sepcli.evaluation.tasks.songs import WholeSongs
    from sepcli.separation.settings import StreamSettings

    about: dict[str, Any] = {"prior": None, "device": "cpu"}
    if with_prior:
        described = separator.describe()
        about = {"method": described["engine"], **described}
        del about["stream"]
    engine, stream = separator.engine if with_prior else None, separator.stream
    split = (options.split or "test",) if row.splits else ()
    data = resolve(row.open)(*request.data[:1], *split).pairs(options.pairs or row.items or None)
    if isinstance(data, SongSet):
        return WholeSongs(data, engine, baselines, replace(stream, batch=options.batch), about)
    if row.means:
        stream = StreamSettings(samples=options.samples or 1, reference_rms=None)
    return Pairs(data, engine, baselines, stream, about, row.metrics or ("sdr",))


def _separator(request: Request, leading: Method | None, device: str) -> Separator:
    """Return what separates with the priors, or with the first baseline."""
    options, count = request.options, len(request.priors)
    method, sampler = engine_of(leading, options.sampler)
    settings = parse_settings(options.settings or ())
    if options.samples:
        settings["draws"] = str(options.samples)
    if options.consistency:
        settings["consistency"] = options.consistency.value
    means = request.dataset.means and count > 1
    wanted = SeparatorOptions(
        method,
        weights=",".join([repr(1 / count)] * count) if means else None,
        sampler=sampler,
        settings=settings,
        samples=options.samples or 1,
        preset=options.preset,
    )
    choice = find(request.priors, wanted)
    _note(request, choice.notes)
    return choice.load(device)


def _note(request: Request, notes: Sequence[str]) -> None:
    for note in notes:
        console.note(note, request.options.quiet)


def _images(request: Request, device: str) -> Task[Any]:
    """Return the separation of pairs of images, or the colorization of images."""
    options, row, priors = request.options, request.dataset, request.priors
    if not priors:
        raise UsageError(f"--dataset {row.name} needs a prior of images", "give --prior NAME or FOLDER")
    colors = request.kind == COLORS
    most = 2 if row.folders > 1 and not colors else 1
    if len(priors) > most:
        raise UsageError(
            f"{len(priors)} --prior for --dataset {row.name} and {len(request.data)} --data",
            f"give at most {most}",
        )
    from sepcli.priors.select import choose

    methods = [*dict.fromkeys(options.method or ())]
    for method in methods:
        if method not in (Method.SCORE, Method.LASS):
            raise UsageError(f"--method {method} is not for images", "leave it out, or use score or lass")
    engines: list[str | None] = [method.value for method in methods]
    for engine in engines or [None]:  # a misspelt name is answered before torch is imported
        choose(priors, engine=engine)
    settings = parse_settings(options.settings or ())
    from sepcli.api import choose_device
    from sepcli.priors.load import describe_images

    shape, classes = describe_images(priors[0])
    if row.channels not in (0, shape[0]):
        kind = "gray" if shape[0] == 1 else "color"
        raise UsageError(f"prior {priors[0]} is of {kind} images, {row.name} is not", "choose another prior")
    given: dict[str, Any] = {"sampler": options.sampler, "settings": settings, "preset": options.preset}
    if colors:
        return _colorization(request, shape, given, choose_device(device))
    given["engine"] = next(iter(engines), None)
    return _sums(request, shape, classes, given, choose_device(device))


def _sums(
    request: Request,
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    given: Mapping[str, Any],
    device: torch.device,
) -> Task[Any]:
    from sepcli.evaluation.distribution import open_networks
    from sepcli.evaluation.tasks.images import ImageSums
    from sepcli.priors.load import load_selection
    from sepcli.priors.select import choose

    options, data = request.options, request.data
    if len(data) == 2 and data[0].samefile(data[1]):
        raise UsageError(f"{data[0]} is given twice", "give it once for pairs of any two of its images")
    opened = [_open_images(request, folder, shape) for folder in data]
    pairing = options.pairing or "any"
    other, count = next(iter(opened[1:]), None), options.sources or 2
    pairs = opened[0].pairs(options.pairs or request.dataset.items, pairing, other, count)
    conditional = pairing == "class" and classes == pairs.names
    labels = (0, 1) if conditional else None
    samples = options.samples or 1
    selection = choose(request.priors, weights=(1.0,) * count, labels=labels, samples=samples, **given)
    _note(request, selection.notes)
    separator = load_selection(selection, device)
    about = separator.describe() | {"class_conditional": conditional}
    networks = open_networks(request.metrics, options.inception_weights, device)
    return ImageSums(pairs, separator.engine, samples, about, networks)


def _colorization(
    request: Request, shape: tuple[int, int, int], given: Mapping[str, Any], device: torch.device
) -> Task[Any]:
    from sepcli.evaluation.distribution import open_networks
    from sepcli.evaluation.tasks.colorization import WEIGHTS, Colorization
    from sepcli.priors.load import load_selection
    from sepcli.priors.select import choose

    options = request.options
    selection = choose(request.priors[0], colorize=WEIGHTS, **given)
    _note(request, selection.notes)
    separator = load_selection(selection, device)
    images = _open_images(request, request.data[0], shape)
    about = separator.describe() | {"task": "colorize", "gray": "mean"}
    networks = open_networks(request.metrics, options.inception_weights, device)
    return Colorization(
        images.colors(options.pairs or ALL), separator.engine, options.samples or 1, about, networks
    )


def _open_images(request: Request, folder: Path, shape: tuple[int, int, int]) -> LabelledImages:
    """Return all test images; those of any folder are cropped and scaled to a prior's shape."""
    from sepcli.datasets.image_decoder import Decoder

    note = partial(console.note, quiet=request.options.quiet)
    images: LabelledImages
    with console.progress(f"reading {folder.name}", request.options.quiet) as on_progress:
        decoder = Decoder(size=shape[1:], channels=shape[0], on_progress=on_progress, on_message=note)
        images = resolve(request.dataset.open)(folder, "test", decoder)
    return images


def _likelihood(request: Request, device_name: str) -> Task[Any]:
    options = request.options
    if not request.data or not 0 <= options.noise < 1:
        raise UsageError(
            "cross-likelihood needs --data, and --noise from 0 to less than 1",
            "give --data toy-waves, or --data DIR with STEM/ITEM.wav or of Slakh2100 or MUSDB18, and for "
            "example --noise 0.1",
        )
    if len(request.data) > 1:
        raise UsageError(f"{len(request.data)} --data for cross-likelihood", "give one")
    from sepcli.api import choose_device
    from sepcli.evaluation.density_evaluators import items_of, open_evaluators
    from sepcli.evaluation.tasks.likelihood import Likelihood

    device, data = choose_device(device_name), request.data[0]
    evaluators = open_evaluators(request.priors, options.noise, device)
    names = [evaluator.source for evaluator in evaluators]
    rate = int(evaluators[0].kind["sample_rate"])
    items, count, about = items_of(data, names, options.pairs or ITEMS, rate, options.seed, options.cache)
    settings = {
        "data": str(data),
        **about,
        **evaluators[0].kind,
        "files": {evaluator.prior: evaluator.files for evaluator in evaluators},
        "device": str(device),
    }
    return Likelihood(evaluators, items, count, f"test items of {data}", settings)
