"""Calibration of samplers on an exact prior: draws pass, the sharp default does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from exact_priors import GaussianFields

from sepcli.errors import UsageError
from sepcli.evaluation.calibrate import calibrate, prior_samples, samples_prior, signal_engine, stein
from sepcli.evaluation.calibration import Calibration
from sepcli.evaluation.calibration_plots import calibration_figure
from sepcli.evaluation.plots import save_figure
from sepcli.protocols import Sampler
from sepcli.samplers import Halving, Langevin, MultiSource, Particles, Projected
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.presets import DRAWS, PRESETS

SCHEDULE = {"sigma_max": 20.0, "sigma_min": 0.01, "rho": 7.0}
SAMPLER = Projected(64, eta=None, order=2, **SCHEDULE)
PRIOR = GaussianFields.random(2, 8)


def engine_of(settings: dict[str, Any]) -> ScoreEngine:
    engine = score_engine(
        PRIOR,  # type: ignore[arg-type]
        ("a", "b"),
        (1.0, 0.5),
        torch.device("cpu"),
        "projected",
        settings,
    )
    return engine


def result_of(settings: dict[str, Any], count: int = 150) -> Calibration:
    engine = engine_of(settings)
    truths = prior_samples(engine, (1, 8), count, SAMPLER, seed=5).double()
    return calibrate(engine, truths, 9, seed=7, batch=150)


def test_truths_are_of_the_prior() -> None:
    x = prior_samples(engine_of({}), (1, 8), 2000, SAMPLER, seed=0).flatten(2)
    assert torch.allclose(x.mean(0).double(), PRIOR.mean, atol=0.12)
    for source, cov in zip(x.unbind(1), PRIOR.cov, strict=True):
        assert float(torch.cov(source.T).trace() / cov.trace()) == pytest.approx(1.0, abs=0.06)


def test_draws_are_calibrated_and_the_default_is_not() -> None:
    draws = result_of({**PRESETS[DRAWS].settings, **SCHEDULE})
    assert draws.p_value > 0.05
    assert draws.covered == pytest.approx(draws.nominal, abs=0.03)
    assert draws.error_ratio == pytest.approx(1.0, abs=0.15)  # three standard errors
    sharp = result_of({"steps": 20})
    assert sharp.p_value < 1e-3
    assert sharp.error_ratio > 1.3


def test_a_truth_depends_on_its_number_only() -> None:
    engine = engine_of({})
    many, few = (prior_samples(engine, (1, 8), count, SAMPLER, seed=4) for count in (5, 2))
    assert torch.allclose(many[:2], few, atol=1e-6)


def test_the_figure_has_a_panel_per_scalar_and_one_of_coverage(tmp_path: Path) -> None:
    result = result_of({"steps": 4}, count=20)
    figure = calibration_figure(result)
    assert len(figure.axes) == len(result.ranks) + 1
    save_figure(figure, tmp_path / "calibration.svg")
    assert (tmp_path / "calibration.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("sampler", "whether"),
    [
        (Projected(), False),
        (Projected(average=True), True),
        (Projected(eta=None), True),
        (Projected(eta=0.0), True),
        (Projected(eta=None, repeats=2), False),
        (Halving(), False),
        (Particles(), True),
        (MultiSource(), True),
        (Langevin(), True),
    ],
)
def test_samplers_of_lower_temperature_make_no_truths(sampler: Sampler, whether: bool) -> None:
    assert samples_prior(sampler) is whether


def test_other_engines_are_refused() -> None:
    with pytest.raises(UsageError) as error:
        signal_engine(object())  # type: ignore[arg-type]
    assert error.value.argument == "priors"


def test_samples_of_one_mixture_fit_their_score_or_do_not() -> None:
    mixture = torch.linspace(-1, 1, 8)[None]
    schedule = {**SCHEDULE, "sigma_min": 0.1}
    fitting = stein(engine_of({**PRESETS[DRAWS].settings, **schedule}), mixture, 200, seed=3)
    assert fitting.p_value > 0.05
    narrow = {"steps": 64, "moments": "jacobian", **schedule}  # η = 1: half of the variance
    assert stein(engine_of(narrow), mixture, 200, seed=3).p_value < 0.01


def test_the_discrepancy_is_for_the_constraint() -> None:
    engine = score_engine(
        PRIOR,  # type: ignore[arg-type]
        ("a", "b"),
        (1.0, 0.5),
        torch.device("cpu"),
        "langevin",
        {"levels": 2, "steps": 1},
    )
    with pytest.raises(UsageError) as error:
        stein(engine, torch.zeros(1, 8), 8)
    assert error.value.argument == "sampler"
