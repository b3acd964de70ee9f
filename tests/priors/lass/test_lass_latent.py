import pytest
import torch
import torch.nn.functional as F

from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood, LatentTerm
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter

V, D = 6, 4


@pytest.fixture
def likelihood() -> LatentLikelihood:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LatentLikelihood(LatentConfig(V, D, 8))
        model.codebook.copy_(F.normalize(torch.randn(V, D), dim=-1))
    return model.requires_grad_(False)


def test_linear_form_is_the_gaussian(likelihood: LatentLikelihood) -> None:
    h = F.normalize(torch.randn(5, D, generator=torch.Generator().manual_seed(1)), dim=-1)
    first, second = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([5, 4, 3, 2, 1])
    mean, log_s = likelihood(first, second)
    normal = torch.distributions.Normal(mean, log_s.exp()[:, None])
    # the D-th dimension is not free on the sphere, so log s counts D - 1 times
    expected = normal.log_prob(h).sum(-1) + log_s
    found = likelihood.log_prob(h, first, second)
    assert torch.allclose(found - found[0], expected - expected[0], atol=1e-5)


def test_rounded_products_are_close(likelihood: LatentLikelihood) -> None:
    h = F.normalize(torch.randn(V, D, generator=torch.Generator().manual_seed(5)), dim=-1)
    codes = torch.arange(V)
    exact = likelihood.log_prob(h, codes, codes.flip(0))
    likelihood.product_type = torch.bfloat16
    difference = (likelihood.log_prob(h, codes, codes.flip(0)) - exact).abs()
    assert 0 < float(difference.max()) < 0.02 * float(exact.abs().max())


def test_learns_where_the_latent_is() -> None:
    codes = F.normalize(torch.randn(V, D, generator=torch.Generator().manual_seed(2)), dim=-1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LatentLikelihood(LatentConfig(V, D, 32))
    model.codebook.copy_(codes)
    a, b = (grid.flatten() for grid in torch.meshgrid(torch.arange(V), torch.arange(V), indexing="ij"))
    target = F.normalize(codes[a] + codes[b], dim=-1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        loss = -model.log_prob(target, a, b).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mean, _ = model(a, b)
    assert F.cosine_similarity(mean, target, dim=-1).min() > 0.9


class Flat:
    """A prior that finds all codes equally likely."""

    def start(self, rows: int) -> int:
        return rows

    def step(self, state: int, tokens: torch.Tensor | None) -> tuple[torch.Tensor, int]:
        return torch.zeros(state, 2, V), state

    def select(self, state: int, rows: torch.Tensor) -> int:
        return len(rows)


@pytest.mark.parametrize("shortlist", [0, 3])
def test_evidence_adds_to_every_candidate(likelihood: LatentLikelihood, shortlist: int) -> None:
    generator = torch.Generator().manual_seed(4)
    z = torch.randint(0, V, (3, 200), generator=generator)
    counter = TripleCounter(V)
    counter.add(*z)
    table = LikelihoodTable.of(counter, "codec")
    mixture = torch.randint(0, V, (2, 3), generator=generator)
    latents = F.normalize(torch.randn(2, 3, D, generator=generator), dim=-1)
    settings = LassSettings(latent=0.5, shortlist=shortlist)
    plain = LassPosterior(Flat(), table, mixture, settings)
    informed = LassPosterior(Flat(), table, mixture, settings, LatentTerm(likelihood, latents, 0.5))
    states = [posterior.start(1) for posterior in (plain, informed)]
    tokens = None
    for t in range(3):
        (without, states[0]), (candidates, states[1]) = (
            posterior.step(state, tokens) for posterior, state in zip((plain, informed), states, strict=True)
        )
        assert torch.equal(without.tokens, candidates.tokens)
        first, second = candidates.tokens.unbind(-1)
        expected = without.log_prob[:, 0] + 0.5 * likelihood.log_prob(latents[:, t, None], first, second)
        possible = without.log_prob[:, 0] > -torch.inf
        assert torch.allclose(candidates.log_prob[:, 0][possible], expected[possible], atol=1e-4)
        tokens = torch.zeros(2, 1, 2, dtype=torch.int64)
