"""``sepcli train-prior``: from a data set of clean sources to a part of a prior."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sepcli.cli import completion, console
from sepcli.cli.options import BFLOAT16, STORAGE, Device, Json, Quiet, StorageName, files, model, panel, takes
from sepcli.cli.settings import parse_duration, parse_repeated
from sepcli.errors import UsageError
from sepcli.priors import FAMILIES, Family, resolve
from sepcli.settings import Batch, Seed, Steps, Tokens, limits

if TYPE_CHECKING:
    import torch

    from sepcli.training.config import TrainConfig
    from sepcli.training.distributed import World

NAMES = ", ".join(family.name for family in FAMILIES.values() if family.training)
training = panel("Training")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of ``sepcli train-prior``."""

    family: Annotated[str, model(f"Model family: {NAMES}.", autocompletion=completion.families)] = "vqvae"
    preset: Annotated[
        str,
        model(
            "Size of the network: tiny (tests), small (CPU) or base (GPU).", autocompletion=completion.presets
        ),
    ] = "small"
    sources: Annotated[
        str | None,
        model(
            "Names of the sources, separated by commas: classes or stems of songs, a shape of toy waves."
            " Default: drums,bass of songs, otherwise the folder's name."
        ),
    ] = None
    prior: Annotated[
        list[str] | None,
        model(
            "For variational: flow of a source; repeat it for each source.", autocompletion=completion.priors
        ),
    ] = None
    init: Annotated[
        str | None,
        model("Start from the weights of this prior, a name or a folder.", autocompletion=completion.priors),
    ] = None
    from_mixtures: Annotated[
        str | None,
        model(
            "For denoiser of images: the data are mixtures (x + y)/2, and this is the prior of y. One round"
            " of EM: the prior of x is trained on samples given the prior of --init, at first a Gaussian.",
            metavar="PRIOR",
            autocompletion=completion.priors,
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        model(
            "Change an option of the family, see --list-options; repeatable.", "--set", metavar="KEY=VALUE"
        ),
    ] = None
    list_options: Annotated[
        bool, model("Print the family's options for --set and exit.", "--list-options")
    ] = False
    time_budget: Annotated[str, training("Training time, all runs together: 90s, 40m, 2h.")] = "40m"
    steps: Annotated[int | None, training("Training steps, instead of --time-budget.", **limits(Steps))] = (
        None
    )
    batch: Annotated[
        int | None,
        training("Items per step, of all processes together. Default: the family's.", **limits(Batch)),
    ] = None
    tokens: Annotated[
        int | None,
        training(
            "Tokens or frames per item of audio: of 512 samples, or of 256 for flow and variational.",
            **limits(Tokens),
        ),
    ] = None
    learning_rate: Annotated[
        float | None, training("Initial learning rate. Default: the family's.", min=1e-12, max=100)
    ] = None
    seed: Annotated[int, training("Seed of all randomness.", **limits(Seed))] = 0
    device: Device = "auto"
    storage: Annotated[
        StorageName,
        training("How the weights are stored: two bytes each, or about one with a scale per channel."),
    ] = BFLOAT16
    data: Annotated[
        Path | None,
        files(
            "Folder of the data: songs in Slakh2100's layout or MUSDB18, recordings, images, MNIST's files;"
            " or the name toy-waves."
        ),
    ] = None
    out: Annotated[Path | None, files("The prior's folder; a family writes a part of it.", "-o", "--out")] = (
        None
    )
    cache: Annotated[Path | None, files("Folder for decoded recordings and images. Default: OUT/cache.")] = (
        None
    )
    note: Annotated[str, files("A sentence on the data, for the prior's card.")] = ""
    resume: Annotated[
        bool, files("Continue an unfinished run; extend a finished one to a larger budget.", "--resume")
    ] = False
    overwrite: Annotated[bool, files("Replace a finished run.", "--overwrite")] = False
    as_json: Json = False
    quiet: Quiet = False


@takes(TrainOptions)
def train_prior(options: TrainOptions) -> None:
    """Train a prior on clean sources; a run can be stopped and resumed, and torchrun shares it among GPUs."""
    from sepcli.priors.train import family_named
    from sepcli.training.distributed import joined

    if options.list_options:
        _list_options(family_named(options.family), options.as_json)
        return
    with joined() as world:
        _train(options, world)


def _train(options: TrainOptions, world: World) -> None:
    """Train in one of several processes, or alone; the first one talks."""
    from sepcli.priors.train import family_named, train

    quiet = options.quiet or not world.first
    row, settings, config = world.together(
        lambda: (family_named(options.family), _settings(options), _config(options, world))
    )

    def log(entry: dict[str, float]) -> None:
        console.note("  ".join(f"{key} {value:g}" for key, value in entry.items()), quiet)

    try:
        with console.progress(f"train {row.name}", quiet) as on_progress:
            progress = train(config, settings, on_progress, log, lambda text: console.note(text, quiet))
    except KeyboardInterrupt:
        from sepcli.training.checkpoints import CHECKPOINT

        if any((config.out / row.part).rglob(CHECKPOINT)):
            console.note("finished steps are kept; the same command with --resume continues", quiet)
        raise
    if not world.first:
        return
    if options.as_json:
        console.emit_json(
            {"out": str(config.out), "family": row.name, "steps": progress.step, "history": progress.history}
        )
    else:
        console.emit(f"{config.out / row.part}: {progress.step} steps, best at {progress.best_step}")


def _settings(options: TrainOptions) -> dict[str, Any]:
    """Return the options of the family: of a key that is repeated all values, or the last one."""
    from sepcli.priors.train import repeatable

    several = repeatable(options.family)
    settings: dict[str, Any] = {
        key: values if key in several else values[-1]
        for key, values in parse_repeated(options.settings or ()).items()
    }
    mixtures = {"from_mixtures": options.from_mixtures} if options.from_mixtures else {}
    return settings | mixtures | ({"prior": tuple(options.prior)} if options.prior else {})


def _config(options: TrainOptions, world: World) -> TrainConfig:
    """Return what is trained.

    Raises:
        UsageError: an option is missing or out of range, or options contradict each other.
    """
    data, out = options.data, options.out
    if data is None or out is None:
        missing = "--data" if data is None else "--out"
        raise UsageError(f"missing option '{missing}'", "run `sepcli train-prior --help` for its options")
    if options.resume and options.overwrite:
        raise UsageError("--resume and --overwrite contradict each other", "give one of them")
    seconds = None if options.steps else parse_duration(options.time_budget)
    sources = () if options.sources is None else _parse_sources(options.sources)
    console.load("torch", options.quiet)
    from sepcli.priors.train import training_of
    from sepcli.training.config import TrainConfig
    from sepcli.training.task import LoopSettings

    defaults = training_of(options.family, data)
    if options.tokens is not None and not defaults.tokens:
        raise UsageError("--tokens is for audio, the number of tokens of an image is fixed", "leave it out")
    rate = defaults.learning_rate if options.learning_rate is None else options.learning_rate
    if not 0 < rate < float("inf"):
        raise UsageError(f"--learning-rate {rate:g} is out of range", "give a positive number such as 0.001")
    return TrainConfig(
        family=options.family,
        data=data,
        out=out,
        preset=options.preset,
        sources=sources,
        batch=options.batch or defaults.batch,
        tokens=options.tokens or defaults.tokens,
        cache=options.cache or out / "cache",
        init=options.init,
        device=_device(options.device, world),
        world=world,
        loop=LoopSettings(
            seconds=seconds,
            steps=options.steps,
            learning_rate=rate,
            seed=options.seed,
            storage=STORAGE[options.storage],
        ),
        resume=options.resume,
        overwrite=options.overwrite,
        command=recorded_command(sys.argv[1:]),
        note=options.note,
    )


def _device(name: str, world: World) -> torch.device:
    """Return the device of a process: of several on one machine, each has a GPU to itself.

    Raises:
        UsageError: not a device, or there are fewer of them than processes.
    """
    import torch

    from sepcli.api import choose_device

    if world.size == 1:
        return choose_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UsageError(f"--device {name} cannot be shared by processes", "use auto, cpu or cuda")
    choose_device(name)
    if name == "cpu":
        return torch.device(name)
    count = torch.cuda.device_count()
    if world.local_rank >= count:
        raise UsageError(
            f"process {world.local_rank + 1} of this machine has no GPU: there are {count}",
            f"start {count} processes per machine: torchrun --nproc_per_node={count}",
        )
    torch.cuda.set_device(world.local_rank)
    return torch.device("cuda", world.local_rank)


def recorded_command(arguments: Sequence[str]) -> str:
    """Return the command line for the card, ready for a shell; absolute paths become their last names."""
    command = ["sepcli"]
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        command.append(option + equals + (Path(value).name if Path(value).is_absolute() else value))
    return shlex.join(command)


def _parse_sources(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if len({name.casefold() for name in names}) < max(1, len(names)):
        raise UsageError(f"--sources {text!r} does not name sources", "write for example drums,bass")
    return names


def _list_options(row: Family, as_json: bool) -> None:
    from sepcli.cli import option_table

    kinds = {medium: resolve(row_of.options) for medium, row_of in row.training.items()}
    if as_json:
        console.emit_json({medium: option_table.rows(kind) for medium, kind in kinds.items()})
        return
    for medium, kind in kinds.items():
        console.emit(f"{row.name} of {medium}\n\n{option_table.text(kind) or 'no options'}\n")
