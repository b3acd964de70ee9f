"""From the options of ``sepcli evaluate`` to a task: data are opened, priors loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.evaluate_options import AUDIO, COLORS, LIKELIHOOD, Kind
from sepcli.cli.resolve import Method, engine_of, find, load, made_with
from sepcli.cli.settings import parse_settings
from sepcli.datasets import Dataset, resolve
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.datasets.image_pairs import LabelledImages
    from sepcli.datasets.songs import SongSet
    from sepcli.evaluation.task import Task

ALL = 50_000
"""Images that are colorized where no number is given: all, in the paper this many."""
ITEMS = 100
"""Test items of cross-likelihood where no number is given."""


@dataclass(frozen=True)
class Choice:
    """What is evaluated.

    Attributes:
        kind: of run.
        dataset: the data set; the small built-in one if none was chosen.
        data: its folders.
        split: of the data set.
        pairing: how pairs of images are chosen.
        metrics: names; may be none.
        priors: names or folders.
        methods: engines and baselines.
        sampler: of the engine.
        settings: ``key=value`` texts.
        samples: per item; None: the prior's default.
        consistency: of estimates of audio.
        pairs: number of items; None: the data set's default.
        seed: of items and samples.
        batch: items, or windows of songs, that are separated together.
        device: auto, cpu, cuda, cuda:N or mps.
        inception: weights of the Inception network.
        noise: σ of the noise on items of cross-likelihood.
        cache: folder for decoded songs.
        quiet: no progress, no notes.
    """

    kind: Kind
    dataset: Dataset
    data: Sequence[Path]
    split: str
    pairing: str
    metrics: Sequence[str]
    priors: Sequence[str]
    methods: Sequence[Method]
    sampler: str | None
    settings: Sequence[str]
    samples: int | None
    consistency: str | None
    pairs: int | None
    seed: int
    batch: int
    device: str
    inception: Path | None
    noise: float
    cache: Path | None
    quiet: bool


def make_task(choice: Choice) -> Task[Any]:
    """Open the data and load the priors.

    Raises:
        SepError: the options do not fit, or priors or data cannot be used.
    """
    if choice.kind is LIKELIHOOD:
        return _likelihood(choice)
    if choice.kind is AUDIO:
        return _audio(choice)
    return _images(choice)


def open_songs(dataset: Dataset, folder: Path, split: str) -> SongSet:
    """Open the songs of a data set.

    Raises:
        InputError: there are none.
    """
    songs: SongSet = resolve(dataset.open)(folder, split)
    return songs


def _audio(choice: Choice) -> Task[Any]:
    """Pairs or songs, with a prior's engine, baselines, or both."""
    baselines = [method.value for method in choice.methods if method.is_baseline]
    engines = [method for method in choice.methods if not method.is_baseline]
    if len(engines) > 1:
        raise UsageError(f"--method {' and '.join(engines)} are two runs", "evaluate one engine at a time")
    row = choice.dataset
    if row.means and not choice.priors:
        raise UsageError(
            f"--dataset {row.name} needs priors", "give --prior once per source, or one of encoders"
        )
    if row.means and baselines:
        raise UsageError(
            f"--method {baselines[0]} is not for --dataset {row.name}", "use priors of its sources"
        )
    if len(choice.priors) > 1 and not row.means:
        raise UsageError(f"{len(choice.priors)} --prior for --dataset {row.name}", "give one")
    with_prior = bool(choice.priors or engines or not baselines)
    if choice.consistency and (not with_prior or row.means):
        raise UsageError("--consistency is not used: no prior separates recordings here", "leave it out")
    if choice.consistency == "none" and choice.samples:
        raise UsageError("--consistency none scores the bare first sample", "leave out --samples")
    engine, stream, about = _engine(choice, engines, choice.methods[:1] if not with_prior else engines)
    from sepcli.datasets.songs import SongSet
    from sepcli.evaluation.tasks.pairs import Pairs
    from sepcli.evaluation.tasks.songs import WholeSongs
    from sepcli.separation.settings import StreamSettings

    folder = (choice.data[0],) if choice.data else ()
    split = (choice.split,) if row.splits else ()
    data = resolve(row.open)(*folder, *split).pairs(choice.pairs or row.items or None)
    if not with_prior:
        engine, about = None, {"prior": None, "device": "cpu"}
    if isinstance(data, SongSet):
        return WholeSongs(data, engine, baselines, replace(stream, batch=choice.batch), about)
    if row.means:
        stream = StreamSettings(samples=choice.samples or 1, reference_rms=None)
    return Pairs(data, engine, baselines, stream, about, row.metrics or ("sdr",))


def _engine(
    choice: Choice, engines: Sequence[Method], leading: Sequence[Method]
) -> tuple[Any, Any, dict[str, Any]]:
    """The engine of the priors, how recordings go through it, and what it is, for records."""
    method, sampler = engine_of(next(iter(leading), None), choice.sampler)
    mean, count = None, len(choice.priors)
    if choice.dataset.means and count > 1:
        mean = ",".join([repr(1 / count)] * count)
    settings = parse_settings(choice.settings)
    if choice.samples:
        settings["draws"] = str(choice.samples)
    chosen = find(
        method,
        choice.priors,
        weights=mean,
        sampler=sampler,
        settings=settings,
        samples=choice.samples or 1,
    )
    separator = load(chosen, choice.device, choice.consistency)
    about = {key: value for key, value in made_with(separator).items() if key != "stream"}
    return separator.engine, separator.stream, about


def _images(choice: Choice) -> Task[Any]:
    """Pairs of images, or images to be colorized."""
    if not choice.priors:
        raise UsageError(
            f"--dataset {choice.dataset.name} needs a prior of images", "give --prior NAME or FOLDER"
        )
    most = 2 if choice.dataset.folders > 1 and choice.kind is not COLORS else 1
    if len(choice.priors) > most:
        raise UsageError(
            f"{len(choice.priors)} --prior for --dataset {choice.dataset.name} and {len(choice.data)} --data",
            f"give at most {most}",
        )
    from sepcli.priors.select import choose

    for method in choice.methods:
        if method not in (Method.SCORE, Method.LASS):
            raise UsageError(f"--method {method} is not for images", "leave it out, or use score or lass")
    engines: list[str | None] = [method.value for method in choice.methods]
    for engine in engines or [None]:  # a misspelt name is answered before torch is imported
        choose(choice.priors, engine=engine)
    given = parse_settings(choice.settings)
    shape, classes = _prior_shape(choice)
    return (
        _colorization(choice, shape, given) if choice.kind is COLORS else _sums(choice, shape, classes, given)
    )


def _sums(
    choice: Choice, shape: tuple[int, int, int], classes: tuple[str, ...], given: Mapping[str, str]
) -> Task[Any]:
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.tasks.images import ImageSums
    from sepcli.priors.load import load_selection
    from sepcli.priors.select import choose

    if len(choice.data) == 2 and choice.data[0].samefile(choice.data[1]):
        raise UsageError(
            f"{choice.data[0]} is given twice", "give it once for pairs of any two of its images"
        )
    opened = [_open_images(choice, folder, shape) for folder in choice.data]
    count = choice.pairs or choice.dataset.items
    pairs = opened[0].pairs(count, choice.pairing, *opened[1:])
    conditional = choice.pairing == "class" and classes == pairs.names
    device = str(choose_device(choice.device))
    selection = choose(
        choice.priors,
        weights=(1.0, 1.0),
        engine=next((method.value for method in choice.methods), None),
        labels=(0, 1) if conditional else None,
        sampler=choice.sampler,
        settings=given,
    )
    separator = load_selection(selection, device)
    about = separator.describe() | {"class_conditional": conditional}
    networks = _networks(choice, device)
    return ImageSums(pairs, separator.engine, choice.samples or 1, about, networks)


def _colorization(choice: Choice, shape: tuple[int, int, int], given: Mapping[str, str]) -> Task[Any]:
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.tasks.colorization import WEIGHTS, Colorization
    from sepcli.priors.load import load_selection
    from sepcli.priors.select import choose

    device = str(choose_device(choice.device))
    selection = choose(choice.priors[0], colorize=WEIGHTS, sampler=choice.sampler, settings=given)
    separator = load_selection(selection, device)
    images = _open_images(choice, choice.data[0], shape)
    about = separator.describe() | {"task": "colorize", "gray": "mean"}
    data = images.colors(choice.pairs or ALL)
    return Colorization(data, separator.engine, choice.samples or 1, about, _networks(choice, device))


def _open_images(choice: Choice, folder: Path, shape: tuple[int, int, int]) -> LabelledImages:
    """All test images; those of any folder are cropped and scaled to a prior's shape."""
    from sepcli.datasets.image_decoder import Decoder

    on_message: Callable[[str], None] = lambda text: console.note(text, choice.quiet)  # noqa: E731
    images: LabelledImages
    with console.progress(f"reading {folder.name}", choice.quiet) as on_progress:
        decoder = Decoder(size=shape[1:], channels=shape[0], on_progress=on_progress, on_message=on_message)
        images = resolve(choice.dataset.open)(folder, "test", decoder)
    return images


def _prior_shape(choice: Choice) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Channels, height and width of the first prior's images, and its classes."""
    from sepcli.priors.load import describe_images

    shape, classes = describe_images(choice.priors[0])
    if choice.dataset.channels not in (0, shape[0]):
        kind = "gray" if shape[0] == 1 else "color"
        raise UsageError(
            f"prior {choice.priors[0]} is of {kind} images, {choice.dataset.name} is not",
            "choose another prior",
        )
    return shape, classes


def _networks(choice: Choice, device: str) -> Any:
    import torch

    from sepcli.evaluation.distribution import open_networks

    return open_networks(choice.metrics, choice.inception, torch.device(device))


def _likelihood(choice: Choice) -> Task[Any]:
    if not choice.data or not 0 <= choice.noise < 1:
        raise UsageError(
            "cross-likelihood needs --data, and --noise from 0 to less than 1",
            "give --data toy-waves, or --data DIR with STEM/ITEM.wav or of Slakh2100 or MUSDB18, and for "
            "example --noise 0.1",
        )
    if len(choice.data) > 1:
        raise UsageError(f"{len(choice.data)} --data for cross-likelihood", "give one")
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.density_evaluators import items_of, open_evaluators
    from sepcli.evaluation.tasks.likelihood import Likelihood

    device, data = choose_device(choice.device), choice.data[0]
    evaluators = open_evaluators(choice.priors, choice.noise, device)
    names = [evaluator.source for evaluator in evaluators]
    rate = int(evaluators[0].kind["sample_rate"])
    items, count, about = items_of(data, names, choice.pairs or ITEMS, rate, choice.seed, choice.cache)
    settings = {
        "data": str(data),
        **about,
        **evaluators[0].kind,
        "files": {evaluator.prior: evaluator.files for evaluator in evaluators},
        "device": str(device),
    }
    return Likelihood(evaluators, items, count, f"test items of {data}", settings)
