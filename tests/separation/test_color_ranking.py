"""The order of colorizations: the likelier ones of equal chroma first, not the dull ones."""

from __future__ import annotations

import torch

from sepcli.separation.colorize import at_equal_chroma


def samples_of(chroma: list[float]) -> torch.Tensor:
    """Samples (S, 3, 4, 4) of one gray, with this root mean square chroma."""
    direction = torch.tensor([1.0, 0.0, -1.0])[:, None, None] * (1.5**0.5)
    return torch.stack([0.5 + rms * direction.expand(3, 4, 4) for rms in chroma])


def test_what_dull_colors_gain_in_likelihood_does_not_count() -> None:
    chroma = [0.01, 0.02, 0.04, 0.08, 0.16]
    merit = torch.tensor([-2.0, 1.0, 0.0, 3.0, -2.0], dtype=torch.float64)  # no straight line in log chroma
    line = torch.tensor(chroma, dtype=torch.float64).log()
    centred = line - line.mean()
    merit = merit - merit.mean() - centred * (merit @ centred) / (centred @ centred)
    log_prior = -800.0 - 40.0 * line + merit
    assert int(log_prior.argmax()) == 0  # the dullest
    torch.testing.assert_close(at_equal_chroma(log_prior, samples_of(chroma)), merit, atol=1e-4, rtol=0)
    assert int(at_equal_chroma(log_prior, samples_of(chroma)).argmax()) == 3


def test_samples_of_equal_chroma_are_ranked_by_their_log_prior() -> None:
    log_prior = torch.tensor([1.0, 3.0, 2.0])
    found = at_equal_chroma(log_prior, samples_of([0.05, 0.05, 0.05]))
    torch.testing.assert_close(found, (log_prior - 2.0).double())


def test_of_two_the_richer_one_is_first() -> None:
    assert at_equal_chroma(torch.tensor([9.0, 1.0]), samples_of([0.02, 0.1])).argmax() == 1
    assert torch.isfinite(at_equal_chroma(torch.tensor([0.0, 0.0]), samples_of([0.0, 0.1]))).all()
