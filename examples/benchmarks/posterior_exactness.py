"""Samplers of the posterior against closed forms: sepcli, azula and deepinv, with one prior, in one run.

    python examples/benchmarks/posterior_exactness.py --out posterior-exactness.json

Sums 0.5 x_1 + 0.5 x_2 of two signals of 8 values: Gaussian fields with full covariances, independent values,
and a first signal of two components. The score of every prior is exact, so that all errors are those of the
samplers. Evaluations and backward passes are counted; all samplers have 64 evaluations, but Langevin
dynamics 1,000, and particles 64 each. azula and deepinv are the dependency group ``benchmarks``; those that
are not installed are left out, with a note.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import exactness_peers as peers
import torch
from counted import Counted
from exact_problems import WEIGHTS, Problem, errors, problems
from torch import Tensor

from sepcli import __version__
from sepcli.separation.engines import score_engine

OURS = "sepcli"
LEVELS = {"steps": 64, "sigma_max": 20.0, "sigma_min": 0.01, "rho": 7.0}
ANCESTRAL = {**LEVELS, "eta": "ancestral"}
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "projected, draws": ("projected", {**ANCESTRAL, "order": 2, "moments": "jacobian", "products": 2}),
    "projected, draws, 1 product": (
        "projected",
        {**ANCESTRAL, "order": 2, "moments": "jacobian", "products": 1},
    ),
    "projected, draws, 3 products": (
        "projected",
        {**ANCESTRAL, "order": 2, "moments": "jacobian", "products": 3},
    ),
    "particles, 16": (
        "particles",
        {"particles": 16, **LEVELS, "moments": "jacobian", "products": 2},
    ),
    "projected, ancestral": ("projected", ANCESTRAL),
    "projected, default": ("projected", {"steps": 64}),
    "halving, default": ("halving", {"steps": 30}),
    "langevin of the paper": ("langevin", {}),
}
"""Row → sampler of sepcli and its settings."""


def own(problem: Problem, prior: Counted, name: str, count: int, seed: int) -> Tensor:
    """Return samples (N, 2, 1, 1, n) by a sampler of sepcli."""
    sampler, settings = METHODS[name]
    weigh = {"weigh": 1} if problem.prior.has_variance and sampler != "langevin" else {}
    cpu, scale = torch.device("cpu"), 2.0
    engine = score_engine(
        prior, ("first", "second"), WEIGHTS, cpu, sampler, {**settings, **weigh}, scale=scale
    )
    seeds = torch.arange(count)[None] + seed * count
    return replace(engine, batch=count).sample(problem.mixture.view(1, 1, 1, -1), seeds)[0]


def rows(problem: Problem, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the row of every sampler for a problem."""
    prior = Counted(problem.prior)
    mixtures = problem.mixture.view(1, 1, 1, -1).expand(count, -1, -1, -1)
    runs: list[tuple[str, str, Any]] = [
        (OURS, name, lambda name=name: own(problem, prior, name, count, seed)) for name in METHODS
    ]
    for package in peers.installed():
        for name, make in peers.ROWS[package].items():
            runs.append((package, name, lambda make=make: make()(prior, mixtures, seed)))
    for package, name, run in runs:
        prior.evaluations = prior.backwards = 0
        start = time.process_time()
        samples = run()
        yield {
            "problem": problem.name,
            "package": package,
            "sampler": name,
            "settings": dict(METHODS[name][1]) if package == OURS else {},
            **errors(problem, samples),
            "evaluations": prior.evaluations / count,
            "backwards": prior.backwards / count,
            "cpu_seconds": time.process_time() - start,
        }


def main() -> None:
    """Print a line per problem and sampler, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=4096, help="samples of every posterior")
    parser.add_argument("--seed", type=int, default=0, help="of the problems and the samples")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for package in set(peers.ROWS) - set(peers.installed()):
        print(f"{package} is not installed: its rows are left out", file=sys.stderr)
    versions = {OURS: __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in ("torch", *peers.installed())}
    measured: list[dict[str, Any]] = []
    for problem in problems(given.seed):
        for row in rows(problem, given.samples, given.seed):
            measured.append(row)
            shown = "  ".join(f"{key} {row[key]:.4g}" for key in row if isinstance(row[key], float))
            print(f"{row['problem']}: {row['package']} {row['sampler']}: {shown}", flush=True)
    document = {
        "format": 1,
        "measured": {"date": datetime.now(UTC).date().isoformat(), "versions": versions},
        "samples": given.samples,
        "seed": given.seed,
        "rows": measured,
    }
    if given.out:
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
