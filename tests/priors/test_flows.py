"""Invertible maps: their inverse, their Jacobian, how they begin, and that flows of them are densities."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sepcli.priors.flows import Chain, MultiScale, Split
from sepcli.priors.transforms import ActNorm, Coupling, Invertible1x1, Lapped, Squeeze
from sepcli.signal.mdct import mdct

CONTEXT = 3


class Net(nn.Module):
    """A small network of neighboring places, of 1-D or 2-D signals, with a context."""

    def __init__(self, inner: int, outer: int, images: bool) -> None:
        super().__init__()
        kind = nn.Conv2d if images else nn.Conv1d
        self.layers = nn.Sequential(kind(inner, 5, 3, padding=1), nn.Tanh(), kind(5, outer, 1))
        self.tell = nn.Linear(CONTEXT, outer)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        out: Tensor = self.layers(x)
        if context is not None:
            out = out + self.tell(context).view(*out.shape[:2], *[1] * (out.dim() - 2))
        return out


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """All parameters moved from where they begin, float64."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in module.double().parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return module.requires_grad_(False)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chain(images: bool) -> Chain:
    squeezed = 8 if images else 4
    half = squeezed // 2
    return Chain(
        Squeeze(),
        ActNorm(squeezed, CONTEXT),
        Invertible1x1(squeezed),
        Coupling(Net(half, 2 * half, images)),
        Coupling(Net(half, half, images), affine=False),
    )


MAKERS: dict[str, Callable[[bool], nn.Module]] = {
    "actnorm": lambda images: ActNorm(2),
    "actnorm with context": lambda images: ActNorm(2, CONTEXT),
    "1x1": lambda images: Invertible1x1(2),
    "affine": lambda images: Coupling(Net(1, 2, images)),
    "additive": lambda images: Coupling(Net(1, 1, images), affine=False),
    "squeeze": lambda images: Squeeze(),
    "lapped": lambda images: Lapped(2),  # of sounds only
    "chain": chain,
}


CASES = [(name, images) for name in MAKERS for images in (False, True)]
CASES.remove(("lapped", True))


@pytest.mark.parametrize(("name", "images"), CASES)
def test_inverse_and_log_determinant(name: str, images: bool) -> None:
    transform = shaken(MAKERS[name](images))
    x, context = draw(3, 2, *((2, 4) if images else (6,))), draw(3, CONTEXT, seed=2)
    y, log_det = transform(x, context)
    torch.testing.assert_close(transform.inverse(y, context), x, atol=1e-9, rtol=1e-9)
    assert log_det.shape == (3,)
    for item in range(3):
        own = context[item : item + 1]

        def one(row: Tensor, shape: torch.Size = x[:1].shape, own: Tensor = own) -> Tensor:
            out: Tensor = transform(row.view(shape), own)[0].flatten()
            return out

        jacobian = torch.autograd.functional.jacobian(one, x[item].flatten())
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(log_det[item]), abs=1e-9)


def test_couplings_of_an_odd_number_of_channels() -> None:
    coupling, x = shaken(Coupling(Net(2, 2, False))), draw(2, 3, 5)
    y, _ = coupling(x)
    assert torch.equal(y[:, :2], x[:, :2])
    torch.testing.assert_close(coupling.inverse(y), x)


def test_a_1x1_begins_as_a_rotation() -> None:
    mix = Invertible1x1(6).requires_grad_(False)
    y, log_det = mix(torch.eye(6)[None])
    torch.testing.assert_close(y[0] @ y[0].mT, torch.eye(6), atol=1e-5, rtol=0)
    assert float(log_det) == pytest.approx(0.0, abs=1e-4)


def test_squeezing_keeps_neighbors_together() -> None:
    assert Squeeze()(torch.arange(6.0).view(1, 1, 6))[0].tolist() == [[[0, 2, 4], [1, 3, 5]]]
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert Squeeze()(image)[0][0, :, 0, 1].tolist() == [2, 3, 6, 7]


def test_bands_of_a_lapped_transform_are_channels() -> None:
    lapped, x = Lapped(4), draw(3, 1, 20).float()
    with torch.autocast("cpu", torch.bfloat16):
        y, log_det = lapped(x)
        back = lapped.inverse(y)
    torch.testing.assert_close(y, mdct(x[:, 0], 4))
    assert torch.equal(log_det, torch.zeros(3))
    torch.testing.assert_close(back, x, atol=1e-5, rtol=0)


def test_actnorm_hears_the_mean_of_frames() -> None:
    norm, x, frames = shaken(ActNorm(2, CONTEXT)), draw(3, 2, 6), draw(3, CONTEXT, 4, seed=2)
    for actual, expected in zip(norm(x, frames), norm(x, frames.mean(2)), strict=True):
        torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(norm.inverse(norm(x, frames)[0], frames), x)


@pytest.mark.parametrize("shape", [(50, 3, 7), (20, 3, 4, 6)])
def test_actnorm_begins_with_zero_mean_and_unit_variance(shape: tuple[int, ...]) -> None:
    norm, x = ActNorm(3).double(), 5.0 + 0.1 * draw(*shape)
    x[:, 2] = 0.25  # a channel that does not vary
    norm.initialize(x)
    rows = norm(x)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(rows.std(1, correction=0), torch.tensor([1.0, 1.0, 0.0]).double())


def flow(scales: int = 2) -> MultiScale:
    """Of images (1, 4, 4): 16 values."""
    chains, channels = [], 1
    for number in range(scales):
        channels *= 4
        steps = (ActNorm(channels), Invertible1x1(channels), Coupling(Net(channels // 2, channels, True)))
        chains.append(Chain(Squeeze(), *steps))
        channels //= 1 if number == scales - 1 else 2
    return MultiScale(chains, [Split(Net(2, 4, True)) for _ in range(scales - 1)])


def test_data_reach_every_actnorm_when_a_flow_begins() -> None:
    made, x = flow().double().requires_grad_(False), 3.0 + 2.0 * draw(60, 1, 4, 4)
    made.initialize(x)
    latents, _ = made(x)
    assert [tuple(z.shape[1:]) for z in latents] == [(2, 2, 2), (8, 1, 1)]
    seen: list[Tensor] = []
    for module in made.modules():
        if isinstance(module, ActNorm):
            module.register_forward_hook(lambda _m, _i, out: seen.append(out[0]))
    made(x)
    assert len(seen) == 2
    for out in seen:
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(out.shape[1]).double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(out.shape[1]).double())


def test_a_flow_of_scales_inverts_and_its_density_is_the_change_of_variables() -> None:
    made, x = shaken(flow()), draw(2, 1, 4, 4)
    latents, log_det = made(x)
    torch.testing.assert_close(made.inverse(latents), x)
    base = torch.distributions.Normal(0.0, 1.0)
    value = sum(base.log_prob(z).flatten(1).sum(1) for z in latents) + log_det
    torch.testing.assert_close(made.log_prob(x), value)

    def one(row: Tensor) -> Tensor:
        return torch.cat([z.flatten() for z in made(row.view(1, 1, 4, 4))[0]])

    jacobian = torch.autograd.functional.jacobian(one, x[0].flatten())
    assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(log_det[0]), abs=1e-9)


def test_a_density_integrates_to_one() -> None:
    steps = [Squeeze()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(3):
            steps += [ActNorm(2), Invertible1x1(2), Coupling(Net(1, 2, False))]
    made = shaken(MultiScale([Chain(*steps)], []), seed=5)
    axis = torch.linspace(-14, 14, 561, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]  # signals of one channel and two samples
    with torch.no_grad():
        density = made.log_prob(grid).exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-3)
    assert float(density.view(561, 561)[0].max()) < 1e-9  # nothing is left outside the grid


def test_transforms_compute_in_float32_under_autocast() -> None:
    made, x = flow().requires_grad_(False), draw(2, 1, 4, 4).float()
    with torch.autocast("cpu", torch.bfloat16):
        latents, log_det = made(x)
        back = made.inverse(latents)
    assert log_det.dtype == latents[0].dtype == torch.float32
    torch.testing.assert_close(back, x, atol=1e-3, rtol=0)
