"""``examples/benchmarks/levy_posterior.py``: conditionals of scale mixtures, chains, and the report."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

KINDS = ("laplace", "student")


@pytest.fixture
def levy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples" / "benchmarks")
    return importlib.import_module("levy_posterior")


@pytest.mark.parametrize("kind", KINDS)
def test_scales_and_increments_have_their_joint_distribution(levy: ModuleType, kind: str) -> None:
    rng = np.random.default_rng(0)
    u = levy.increments(kind, (200_000,), rng)
    again = np.sqrt(levy.variances(kind, u, rng)) * rng.standard_normal(u.shape)
    for q in (0.6, 0.8, 0.95):  # a Gibbs step from samples of the prior has samples of the prior
        assert np.quantile(again, q) == pytest.approx(np.quantile(u, q), rel=0.04)


def test_the_covariance_is_of_sums(levy: ModuleType) -> None:
    w = np.random.default_rng(0).random((2, 5))
    steps = np.tril(np.ones((5, 5)))
    assert np.allclose(levy.covariance(w)[1], steps @ np.diag(w[1]) @ steps.T)


def test_chains_cover_the_signals(levy: ModuleType) -> None:
    rng = np.random.default_rng(1)
    signals = np.stack([np.cumsum(levy.increments(k, (24, 16), rng), -1) for k in levy.KINDS], axis=1)
    mixture = signals.sum(1) + levy.SIGMA_Y * rng.standard_normal((24, 16))
    chain, means = levy.gibbs(mixture, levy.KINDS, levy.SIGMA_Y, 300, rng)
    low, high = np.quantile(chain, [0.05, 0.95], axis=0)
    assert ((signals >= low) & (signals <= high)).mean() == pytest.approx(0.9, abs=0.05)
    assert np.allclose(chain.mean(0), means.mean(0), atol=0.1)
    assert np.abs(chain.sum(2) - mixture).std() < 2 * levy.SIGMA_Y


def test_the_report_has_a_row_per_sampler(levy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("averaged noise",)
    monkeypatch.setitem(levy.LEVELS, "sigma_max", 1.0)
    few = {name: (sampler, {**settings, "steps": 2}) for name, (sampler, settings) in levy.SAMPLERS.items()}
    monkeypatch.setattr(levy, "SAMPLERS", few)
    report = levy.measure(2, 4, 10, 2, 0, names)
    assert set(report["rows"]) == {"Gibbs chain, half of it", *names}
    assert report["rows"][names[0]]["evaluations"] == 2
