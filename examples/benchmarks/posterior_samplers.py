"""Posterior samplers of sepcli, azula and deepinv beside each other: one prior, the same pairs, one run.

    python examples/benchmarks/posterior_samplers.py --mnist MNIST --out posterior-samplers.json

Each sampler separates the same sums 0.5 x_1 + 0.5 x_2 of MNIST's test digits with the same denoiser in
float32, in 64 evaluations of it for every pair (or as many as its row says; gradients are counted, too, and
not limited). PSNR is that of ``sepcli evaluate --metric psnr``: of images clamped to [0, 1], in the better
order. Settings without a fitting default come from a small grid, which is in the output: those of greatest
PSNR on sums of training digits are taken, of sepcli's samplers, too. Seconds are those of the processor (and
of the clock) for a pair, with one thread unless ``--threads`` says otherwise.

azula and deepinv are the dependency group ``benchmarks``; rows of a package that is not installed are left
out, with a note.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from counted import Counted
from sampler_rows import BUDGET, OURS, Method, compare, grid, summarize
from torch import Tensor

from sepcli import __version__
from sepcli.datasets.idx import open_mnist
from sepcli.datasets.pair_folder import Pair
from sepcli.evaluation.samples import seeds_of
from sepcli.evaluation.tasks.images import pair_values, weighted
from sepcli.priors.load import load_selection
from sepcli.priors.select import choose
from sepcli.priors.selection import Selection
from sepcli.separation.engines import score_engine
from sepcli.separation.independent import IndependentPriors
from sepcli.separation.weights import image_scale

WEIGHTS = (0.5, 0.5)
FEW = {
    "weigh": 1,
    "sigma_max": 1.2,
    "sigma_min": 0.03,
    "decide_from": 0.5,
    "decide_to": 0.35,
    "end_from": 0.2,
}
"""Settings of ``halving`` with few evaluations, of which ``examples/reproduce/mnist.sh`` has the first."""
HALVING = (
    {**FEW, "candidates": 3, "steps": 22, "endings": 2},
    {**FEW, "candidates": 4, "steps": 22, "endings": 2},
    {**FEW, "candidates": 4, "steps": 22, "endings": 2, "rho": 2.0},
)
LANGEVIN = ({"levels": 8, "steps": 8}, {"levels": 16, "steps": 4}, {"levels": 64, "steps": 1})
PEERS = {"azula": "peers_azula", "deepinv": "peers_deepinv"}
"""Package → module of its rows."""


def own_methods(selection: Selection) -> tuple[Method, ...]:
    """Return the samplers of sepcli: the default of the prior, and others."""

    def method(label: str, sampler: str, choices: Sequence[Mapping[str, Any]]) -> Method:
        def run(prior: Counted, mixtures: Tensor, settings: Mapping[str, Any], seed: int) -> Tensor:
            names, scale = selection.names, image_scale(WEIGHTS)
            cpu, bounds = torch.device("cpu"), (0.0, 1.0)
            engine = score_engine(prior, names, WEIGHTS, cpu, sampler, settings, bounds=bounds, scale=scale)
            return engine.sample(mixtures, seeds_of(seed, range(len(mixtures))))[:, 0]

        return Method(OURS, label, tuple(choices), run)

    default = selection.default_sampler or "projected"
    return (
        method(f"{default}, default", default, [selection.options()]),
        method("halving", "halving", HALVING),
        method("projected", "projected", grid(steps=(BUDGET,), weigh=(1,))),
        method("langevin", "langevin", LANGEVIN),
    )


def psnr(pairs: Sequence[Pair], images: Tensor) -> list[float]:
    """Return the mean PSNR of the two images of every pair, in the better order."""
    values = [
        [score.value for score in pair_values(pair, ("first", "second"), {"": estimates})]
        for pair, estimates in zip(pairs, images, strict=True)
    ]
    return [sum(both) / len(both) for both in values]


def separate(
    method: Method, prior: Counted, pairs: Sequence[Pair], settings: Mapping[str, Any], seed: int
) -> Tensor:
    """Return the images (N, 2, C, H, W) of the pairs by a method."""
    mixtures = torch.stack([weighted(torch.from_numpy(pair.sources), WEIGHTS) for pair in pairs])
    parts = mixtures.split(1 if method.single else len(mixtures))
    return torch.cat([method.run(prior, part, settings, seed + n) for n, part in enumerate(parts)])


def tune(method: Method, prior: Counted, pairs: Sequence[Pair], seed: int) -> list[dict[str, Any]]:
    """Return the grid with its PSNR, the best first; without pairs, or a choice, as it is."""
    if not pairs or len(method.grid) == 1:
        return [{"settings": dict(settings), "psnr": None} for settings in method.grid]
    tried = []
    for settings in method.grid:
        value = float(np.mean(psnr(pairs, separate(method, prior, pairs, settings, seed))))
        tried.append({"settings": dict(settings), "psnr": round(value, 3) if math.isfinite(value) else None})
    return sorted(
        tried, key=lambda entry: -math.inf if entry["psnr"] is None else entry["psnr"], reverse=True
    )


def measure(
    method: Method, prior: Counted, pairs: Sequence[Pair], tuning: Sequence[Pair], seed: int
) -> dict[str, Any]:
    """Return the row of a method, with the values of the pairs."""
    tried = tune(method, prior, tuning, seed)
    prior.evaluations = prior.backwards = 0
    processor, clock = time.process_time(), time.perf_counter()
    images = separate(method, prior, pairs, tried[0]["settings"], seed)
    processor, clock = time.process_time() - processor, time.perf_counter() - clock
    return {
        "package": method.package,
        "sampler": method.name,
        "settings": tried[0]["settings"],
        "grid": tried if len(tried) > 1 else [],
        "one_at_a_time": method.single,
        "evaluations": prior.evaluations / len(pairs),
        "backwards": prior.backwards / len(pairs),
        "cpu_seconds": processor / len(pairs),
        "seconds": clock / len(pairs),
        "values": psnr(pairs, images),
    }


def peer_methods() -> list[Method]:
    """Return the rows of the packages that are installed; say which are not."""
    methods: list[Method] = []
    for package, module in PEERS.items():
        if find_spec(package):
            methods += importlib.import_module(module).METHODS
        else:
            print(f"{package} is not installed: its rows are left out", file=sys.stderr)
    return methods


def versions() -> dict[str, str]:
    """Return the versions of what ran."""
    found = {"sepcli": __version__, "python": platform.python_version()}
    for name in ("torch", *PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="folder of MNIST's four files")
    parser.add_argument("--prior", default="mnist", help="a denoiser of digits")
    parser.add_argument("--pairs", type=int, default=16, help="pairs of test digits")
    parser.add_argument(
        "--grid-pairs", type=int, default=4, help="pairs of training digits; 0: the first of every grid"
    )
    parser.add_argument("--packages", nargs="+", default=[OURS, *PEERS], choices=[OURS, *PEERS])
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser.parse_args()


def report(
    given: argparse.Namespace, title: str, half: float, rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the document of ``--out``."""
    return {
        "format": 1,
        "measured": {"date": datetime.now(UTC).date().isoformat(), "versions": versions()},
        "dataset": f"{title}, pairs 0 … {given.pairs - 1}",
        "pairs": given.pairs,
        "grid_pairs": given.grid_pairs,
        "budget": BUDGET,
        "threads": given.threads,
        "half": half,
        "rows": [summarize(dict(row)) for row in rows],
        "comparison": compare(rows),
    }


def main() -> None:
    """Print a line per sampler and the comparison, and write JSON."""
    given = parse()
    torch.set_num_threads(given.threads)
    selection = choose(given.prior, weights=WEIGHTS)
    loaded = load_selection(selection).engine.prior
    one = replace(loaded.priors[0], fast=False)
    prior = Counted(IndependentPriors([one] * len(WEIGHTS)))
    test, training = (open_mnist(given.mnist, split) for split in ("test", "train"))
    pairs = list(test.pairs(given.pairs).items(given.seed))
    tuning = list(training.pairs(given.grid_pairs).items(given.seed))
    halves = torch.stack([torch.from_numpy(pair.sources).mean(0).expand(2, -1, -1, -1) for pair in pairs])
    half, rows = float(np.mean(psnr(pairs, halves))), []
    for method in (*own_methods(selection), *peer_methods()):
        if method.package in given.packages:
            rows.append(measure(method, prior, pairs, tuning, given.seed))
            document = report(given, test.title, half, rows)
            shown = {key: value for key, value in document["rows"][-1].items() if key != "grid"}
            print("  ".join(f"{key} {value}" for key, value in shown.items()), flush=True)
            if given.out:
                given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(document["comparison"].get("sentence", "there are no others to compare with"))


if __name__ == "__main__":
    main()
