"""Chroma from small to full size; the lock on the gray; hints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sepcli.signal.chroma import (
    GRAYS,
    MAX_AREA,
    diversity,
    enlarged,
    gray_of,
    guide,
    hinted,
    locked,
    reduced,
    stretched,
    working_size,
)

LUMA, MEAN = GRAYS["luma"], GRAYS["mean"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def eight_bits(colors: Tensor) -> np.ndarray:
    return np.rint(255 * colors.movedim(0, -1).numpy()).astype(np.uint8)


@pytest.mark.parametrize("weights", GRAYS.values())
@pytest.mark.parametrize("reach", [0.1, 1.0, 30.0])
def test_locked_colors_have_the_gray_and_are_colors(
    weights: tuple[float, float, float], reach: float
) -> None:
    gray, chroma = random(2, 9, 7).double(), reach * (random(2, 3, 9, 7, seed=1).double() - 0.5)
    colors = locked(gray, chroma, weights)
    assert torch.allclose(gray_of(colors, weights), gray, atol=1e-12)
    assert colors.min() >= 0.0
    assert colors.max() <= 1.0
    direction = chroma - gray_of(chroma, weights)[:, None]
    cosine = F.cosine_similarity(colors - gray[:, None], direction, dim=1)
    assert torch.allclose(cosine, torch.ones_like(cosine))
    if reach == 30.0:  # as far as it goes: a channel is empty or full
        assert torch.minimum(colors, 1 - colors).amin(1).abs().max() < 1e-12


def test_black_and_white_have_no_colors_and_colors_in_reach_are_kept() -> None:
    ends = torch.tensor([[0.0, 1.0]])
    assert torch.equal(locked(ends, random(3, 1, 2), LUMA), ends.expand(3, 1, 2))
    colors = random(3, 5, 5)
    gray = gray_of(colors, MEAN)
    assert torch.allclose(locked(gray, colors - gray, MEAN), colors, atol=1e-6)


@pytest.mark.parametrize(("name", "size"), [("luma", (40, 31)), ("mean", (40, 31)), ("luma", (1, 90))])
def test_the_gray_of_the_file_is_kept_within_one_level(name: str, size: tuple[int, int]) -> None:
    gray = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    full = gray.float() / 255
    small = reduced(full[None], (max(1, size[0] // 5), size[1] // 5))[0]
    data = eight_bits(enlarged(full, small, 3 * random(3, *small.shape) - 1.5, GRAYS[name]))
    back = np.asarray(Image.fromarray(data).convert("L")) if name == "luma" else data.mean(-1)
    assert np.abs(back.astype(float) - gray.numpy()).max() <= 1.0
    assert np.ptp(data, axis=-1).max() > 100


def test_chroma_that_is_affine_in_the_gray_is_as_sharp_as_the_gray() -> None:
    full = 0.3 + 0.4 * random(45, 37)
    slope, shift = torch.tensor([0.3, -0.2, 0.1]).view(3, 1, 1), torch.tensor([0.05, 0.1, -0.1]).view(3, 1, 1)
    small = reduced(full[None], (9, 8))[0]
    actual = enlarged(full, small, slope * small + shift, MEAN, epsilon=1e-9)
    assert torch.allclose(actual, locked(full, slope * full + shift, MEAN), atol=1e-4)
    blurred = F.interpolate(small[None, None], size=full.shape, mode="bilinear")[0]
    assert (locked(full, slope * blurred + shift, MEAN) - actual).abs().max() > 0.02


def test_an_edge_of_the_gray_is_an_edge_of_the_colors() -> None:
    full = torch.full((40, 40), 0.15)
    full[:, 18:] = 0.85  # inside a small pixel
    tint = torch.tensor([0.1, 0.0, -0.1]).view(3, 1, 1)
    truth = torch.where(full > 0.5, tint, -tint)
    small, chroma = reduced(full[None], (8, 8))[0], reduced(truth, (8, 8))
    actual = enlarged(full, small, chroma, MEAN) - full
    plain = F.interpolate(chroma[None], size=full.shape, mode="bilinear")[0]
    assert (actual - truth).abs().max() < 0.3 * (plain - truth).abs().max()


def test_at_equal_size_the_chroma_is_unchanged() -> None:
    gray, chroma = 0.4 + 0.2 * random(11, 6), 0.2 * random(3, 11, 6, seed=1)
    assert torch.allclose(enlarged(gray, gray, chroma, LUMA), locked(gray, chroma, LUMA), atol=1e-6)


def test_the_guide_is_the_regression_of_its_windows() -> None:
    gray, chroma = random(3, 3), random(3, 3, 3, seed=1)
    slope, remainder = guide(gray, chroma, 0.02)
    total = torch.zeros(3, dtype=torch.float64)
    for y in range(3):
        for x in range(3):
            window = (slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
            i, p = gray[window].double().flatten(), chroma[(slice(None), *window)].double().flatten(1)
            deviation = i - i.mean()
            total += (p * deviation).mean(1) / (deviation.square().mean() + 0.02)
    assert torch.allclose(slope[:, 1, 1].double(), total / 9)
    assert torch.allclose(remainder, chroma - slope * gray, atol=1e-6)


@pytest.mark.parametrize("size", [(13, 40), (3, 5), (2, 3), (1, 1)])
def test_interpolation_in_strips_is_that_of_the_whole(size: tuple[int, int]) -> None:
    values = random(4, 3, 5)
    strips = list(stretched(values, size, strip=3 * size[1]))
    assert [rows.start for rows, _ in strips] == list(range(0, size[0], 3))
    whole = F.interpolate(values[None], size=size, mode="bilinear")[0]
    assert torch.allclose(torch.cat([part for _, part in strips], dim=1), whole, atol=1e-6)


def test_the_working_size_has_the_shape_of_the_image_and_a_bound() -> None:
    assert working_size(64, 96, 32) == (32, 48)
    assert working_size(20, 7, 32) == (20, 7)
    assert working_size(1, 1, 32) == (1, 1)
    height, width = working_size(20, 100_000, 8)
    assert height == 1
    assert width == MAX_AREA * 8**2
    assert working_size(20, 1000, 8) == (3, 160)
    assert working_size(6000, 9000, 32) == (32, 48)


def test_a_stroke_is_a_color_of_the_image_s_own_gray() -> None:
    small = torch.full((4, 4), 0.5)
    hint, alpha = torch.zeros(3, 16, 16), torch.zeros(16, 16)
    hint[0], hint[1] = 0.9, 0.3
    alpha[5, 2:14] = 1.0  # one row of the four of a small pixel
    alpha[15, 15] = 0.25
    target, weight = hinted(hint, alpha, small, MEAN)
    assert weight[1].tolist() == [1.0] * 4
    assert (weight > 0).sum() == 5
    assert weight[3, 3] == 0.25
    assert torch.allclose(gray_of(target, MEAN), small)
    assert torch.allclose(target[:, 1, 0], torch.tensor([1.0, 0.4, 0.1]))


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    samples = torch.zeros(3, 3, 2, 2)
    samples[1, 0] = 30 / 255
    a = 30 / 3**0.5
    assert diversity(samples) == pytest.approx((a + a + 0) / 3)
