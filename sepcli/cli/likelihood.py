"""``sepcli build-likelihood``: count the likelihood table of a prior."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sepcli.cli import console, tables
from sepcli.cli.options import Devices, ExecutorName, Jobs, Json, Quiet, files, model, panel, takes
from sepcli.cli.outputs import alone
from sepcli.cli.settings import parse_duration, parse_settings
from sepcli.cli.workers import open_executor
from sepcli.errors import UsageError
from sepcli.priors.lass.settings import Count, Entries
from sepcli.separation.executor import Executor, Serial
from sepcli.settings import Seed, limits, parse

if TYPE_CHECKING:
    import torch

counting = panel("Counting")


@dataclass(frozen=True, kw_only=True)
class LikelihoodOptions:
    """Options of ``sepcli build-likelihood``."""

    prior: Annotated[Path, model("Folder of a prior with a trained codec.", "--prior")]
    data: Annotated[
        Path,
        files(
            "Songs in Slakh2100's layout or MUSDB18; for a prior of images a folder of images or MNIST's"
            " files.",
            "--data",
        ),
    ]
    tokens: Annotated[int, counting("Number of token triples to count.", **limits(Count))] = 20_000_000
    time_budget: Annotated[str | None, counting("Stop after this time at the latest: 90s, 1h.")] = None
    symmetric: Annotated[
        bool, counting("Count both orders of exchangeable sources; images always are.", "--symmetric")
    ] = False
    max_nonzeros: Annotated[int, counting("Number of triples kept in the table.", **limits(Entries))] = (
        2_000_000
    )
    merge: Annotated[
        list[Path] | None,
        counting("Add these counts, files or priors, instead of counting; repeatable.", "--merge"),
    ] = None
    settings: Annotated[
        list[str] | None,
        counting(
            "Change a setting; repeatable: pairs and chunk_tokens (counted at once), held_out (batches that"
            " the table is measured on), max_marginals, save_seconds.",
            "--set",
            metavar="KEY=VALUE",
        ),
    ] = None
    seed: Annotated[int, counting("Seed of the pairs; shards need different ones.", **limits(Seed))] = 0
    device: Devices = "auto"
    jobs: Jobs = None
    executor: ExecutorName = None
    cache: Annotated[
        Path | None, files("Folder for decoded recordings and images. Default: PRIOR/cache.")
    ] = None
    resume: Annotated[bool, files("Add to the existing counts.", "--resume")] = False
    overwrite: Annotated[bool, files("Replace the existing counts.", "--overwrite")] = False
    as_json: Json = False
    quiet: Quiet = False


@takes(LikelihoodOptions)
def build_likelihood(options: LikelihoodOptions) -> None:
    """Count p(mixture token | source tokens) over random pairs of clean sources."""
    console.load("torch", options.quiet)
    from sepcli.priors.lass import count as likelihood
    from sepcli.priors.lass.settings import CountSettings
    from sepcli.priors.lass.table_job import open_job

    if options.resume and options.overwrite:
        raise UsageError("--resume and --overwrite contradict each other", "give one of them")
    given = {
        "tokens": options.tokens,
        "seconds": parse_duration(options.time_budget) if options.time_budget else None,
        "symmetric": options.symmetric,
        "max_nonzeros": options.max_nonzeros,
        "seed": options.seed,
    }
    more = parse_settings(options.settings or ())
    if twice := given.keys() & more:
        raise UsageError(f"--set {min(twice)} duplicates an option", "use the option")
    settings = parse(CountSettings, {**given, **more})
    executor, device = _workers(options)
    job = open_job(options.prior, options.data, settings, options.cache or options.prior / "cache", device)
    lock = alone(options.prior / "table", "count into a copy of the prior, and --merge")
    if options.merge:
        with lock:
            summary = likelihood.merge(job, options.merge, options.overwrite)
    else:
        with lock, console.progress("count", options.quiet) as on_progress:
            summary = likelihood.count(
                job,
                resume=options.resume,
                overwrite=options.overwrite,
                executor=executor,
                on_progress=on_progress,
            )
    if options.as_json:
        console.emit_json(summary)
    else:
        _show(summary)


def _workers(options: LikelihoodOptions) -> tuple[Executor | None, torch.device]:
    """Return who counts, None for this process, and the device of this process."""
    import torch

    from sepcli.api import choose_device

    if options.merge:
        return None, choose_device("cpu")
    executor = open_executor(options.device, options.jobs, options.executor, options.quiet)
    serial = isinstance(executor, Serial)
    here = serial or torch.cuda.is_available()
    return None if serial else executor, choose_device(executor.devices[0] if here else "cpu")


def _show(summary: dict[str, Any]) -> None:
    rows = []
    for which in ("counted", "kept"):
        part, coverage = summary[which], summary[f"coverage_{which}"]
        rows.append(
            [
                which,
                f"{part['nonzeros']:,}",
                f"{part['density_percent']:.4f}",
                f"{part['bytes'] / 1e6:.1f}",
                *(f"{100 * coverage[key]:.1f}" for key in ("codes", "triples", "pairs")),
            ]
        )
    heads = ["table", "nonzeros", "density %", "MB", "codes %", "triples %", "pairs %"]
    caption = (
        f"{summary['tokens']:,} tokens counted; β = {summary['beta']:g}; "
        f"{summary['held_out_nats']:.3f} nats per held-out mixture token; coverage is of held-out tokens"
    )
    tables.show(heads, rows, caption)
