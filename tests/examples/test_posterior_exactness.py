"""``examples/benchmarks/posterior_exactness.py``: closed forms, and counted evaluations and gradients."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("exact_problems")


@pytest.mark.parametrize("number", range(3))
def test_the_score_is_the_gradient_of_the_density(problems: ModuleType, number: int) -> None:
    prior, sigma = problems.problems(0)[number].prior, torch.tensor(0.7, dtype=torch.float64)
    x = torch.randn(2, 2, 1, 1, 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for source in range(2):
        noisy = prior.cov[source] + sigma**2 * torch.eye(8)
        parts = torch.distributions.MultivariateNormal(prior.mean[source], noisy)
        log = parts.log_prob(x[:, source].reshape(2, 1, 8)) + prior.share[source].log()
        total = total + log.logsumexp(1).sum()
    (expected,) = torch.autograd.grad(total, x)
    assert torch.allclose(prior.score(x, sigma), expected, atol=1e-10)


@pytest.mark.parametrize("number", range(3))
def test_exact_samples_have_no_error(problems: ModuleType, number: int) -> None:
    problem = problems.problems(0)[number]
    share, means, cov = problem.prior.posterior(problem.mixture)
    g = torch.Generator().manual_seed(0)
    component = torch.multinomial(share, 20_000, replacement=True, generator=g)
    values, vectors = torch.linalg.eigh(cov)
    root = vectors * values.clamp(min=0).sqrt()
    noise = torch.randn(20_000, 16, generator=g, dtype=torch.float64)
    x = (means[component] + noise @ root.T).view(-1, 2, 1, 1, 8)
    assert torch.allclose(0.5 * x.sum(1).flatten(1), problem.mixture, atol=1e-6)
    found = problems.errors(problem, x)
    assert found["mean"] < 0.02
    assert found["trace"] == pytest.approx(1.0, abs=0.09 if number == 2 else 0.03)  # 2: rare, distant modes
    assert abs(found["share"]) < 0.02


def test_rows_count_evaluations_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    out = tmp_path / "report.json"
    monkeypatch.setattr(sys, "argv", ["posterior_exactness.py", "--samples", "100", "--out", str(out)])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(BENCHMARKS / "posterior_exactness.py"), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    rows = [row for row in json.loads(out.read_text())["rows"] if row["package"] == "sepcli"]
    cost = {row["sampler"]: (row["evaluations"], row["backwards"]) for row in rows}
    assert cost["projected, draws"] == (64, 128)
    assert cost["projected, ancestral"] == (64, 0)
    assert cost["particles, 16"] == (1024, 2048)
    assert cost["halving, default"] == (64, 0)
    assert {row["problem"] for row in rows} == {"correlated", "independent", "two components"}
    draws, default = (
        next(row for row in rows if row["sampler"] == name)
        for name in ("projected, draws", "projected, default")
    )
    assert draws["mean"] < 0.12  # 0.06 is expected of 100 samples
    assert draws["trace"] == pytest.approx(1.0, abs=0.15)
    assert default["trace"] < 0.75
