"""Weights of mixtures: one rule at every door."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loading import engine_of
from tiny_tokens import make_tokens

from sepcli.separation.weights import image_scale, mixing_weights


@pytest.mark.parametrize(
    ("given", "of_card", "images", "sources", "expected"),
    [
        ((0.2, 0.8), (1.0, 1.0), True, 2, (0.2, 0.8)),
        (None, (0.3, 0.7), True, 2, (0.3, 0.7)),
        (None, (0.3, 0.7), False, 2, (0.3, 0.7)),
        (None, (1.0,), True, 4, (0.25,) * 4),  # a card of one image says nothing of four
        (None, (1.0,), False, 3, (1.0,) * 3),
        (None, (), True, 2, (0.5, 0.5)),
    ],
)
def test_the_argument_else_the_card_else_the_medium(
    given: tuple[float, ...] | None,
    of_card: tuple[float, ...],
    images: bool,
    sources: int,
    expected: tuple[float, ...],
) -> None:
    assert mixing_weights(given, of_card, images=images, sources=sources) == expected


def test_the_mean_size_of_scaled_image_weights_is_one() -> None:
    assert image_scale((0.5, 0.5)) == 2.0
    assert image_scale((1.0, -3.0)) == 0.5


@pytest.mark.parametrize("sampler", ["projected", "langevin", "halving"])
def test_image_separators_take_the_mixture_as_it_is(tiny_images: Path, sampler: str) -> None:
    """A mixture of weights c w has the samples of one of weights w: the sources are unscaled."""
    mixture = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    seeds = torch.tensor([[1], [2]])
    load = [
        engine_of([str(tiny_images)], weights, sampler=sampler, settings={"steps": "3"})
        for weights in ((1.5, 0.5), (0.75, 0.25))
    ]
    assert [separator.weights for separator in load] == [(1.5, 0.5), (0.75, 0.25)]
    torch.testing.assert_close(load[0].sample(2 * mixture, seeds), load[1].sample(mixture, seeds))


def test_loading_by_name_gives_the_weights_of_the_command(tiny_images: Path, tmp_path: Path) -> None:
    tokens, seeds = make_tokens(tmp_path / "tokens"), torch.tensor([[1], [2]])
    for prior, size in ((tiny_images, 12), (tokens, 8)):
        mean = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
        separator = engine_of(str(prior))
        assert separator.weights == (0.5, 0.5)
        of_sums = engine_of([str(prior)], (1.0, 1.0))
        torch.testing.assert_close(separator.sample(mean, seeds), of_sums.sample(2 * mean, seeds))
