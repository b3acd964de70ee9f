"""What the mixture around a token says of the tokens of its sources."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood, ContextTerm
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter

V, K, WIDTH = 6, 2, 5


def network(*dilations: int, seed: int = 0) -> ContextLikelihood:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ContextLikelihood(ContextConfig(V, ("drums", "bass"), WIDTH, 16, dilations)).eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_ratio_is_posterior_over_marginal() -> None:
    model = network(1)
    tokens = torch.randint(0, V, (4, K, 50), generator=torch.Generator().manual_seed(2))
    model.count(tokens)
    seen = model(noise(2, 7, WIDTH))
    ratio = model.log_ratio(seen)
    assert ratio.shape == (2, 7, K, V)
    for k in range(K):
        marginal = (torch.bincount(tokens[:, k].flatten(), minlength=V) + 1.0) / (200 + V)
        posterior = (ratio[:, :, k] + marginal.log()).exp()
        torch.testing.assert_close(posterior.sum(-1), torch.ones(2, 7))
        torch.testing.assert_close(posterior, model.logits(seen)[:, :, k].softmax(-1))


def test_it_looks_as_far_ahead_as_back() -> None:
    model, features = network(1, 2, 4), noise(1, 41, WIDTH)
    changed = features.clone()
    changed[:, 20] += 1.0
    moved = (model(changed) - model(features)).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(20 - 7, 20 + 7 + 1))


def test_tokens_of_similar_codes_begin_alike() -> None:
    model, codes = network(1), F.normalize(noise(V, 3), dim=-1)
    codes[1] = F.normalize(codes[0] + 0.01 * noise(3, seed=5), dim=-1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model.order_codes(codes)
    rows = model.head.weight.detach().view(K, V, -1)
    for own in rows:
        distance = (own[0] - own).norm(dim=-1)
        assert distance[1] < 0.1 * distance[2:].min()
    assert not torch.allclose(rows[0], rows[1])


def test_it_learns_what_neighbors_tell_and_not_how_common_tokens_are() -> None:
    """Source 1 is in the features of the token before, source 2 nowhere; token 0 is ten times as common."""
    model, generator = network(1, seed=4), torch.Generator().manual_seed(5)
    common = torch.tensor([10.0, *[1.0] * (V - 1)])
    meanings = noise(V, WIDTH, seed=6)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        tokens = torch.multinomial(common, count * K * 8, replacement=True, generator=generator)
        both = tokens.view(count, K, 8)
        return both, meanings[both[:, 0]].roll(1, 1)

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        tokens, features = draw(64)
        model.count(tokens)
        logits = model.logits(model(features))[:, 1:-1]
        loss = F.cross_entropy(logits.flatten(0, 2), tokens.transpose(1, 2)[:, 1:-1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, features = draw(64)
    seen = model(features)[:, 1:-1]
    first, second = model.log_ratio(seen).unbind(2)
    assert (first.argmax(-1) == tokens[:, 0, 1:-1]).float().mean() > 0.99
    assert model.logits(seen)[:, :, 1].argmax(-1).eq(0).all()  # the classifier goes by how common it is,
    assert second.abs().mean() < 0.2  # the likelihood does not


class Flat:
    """A prior that finds all codes equally likely."""

    def start(self, rows: int) -> int:
        return rows

    def step(self, state: int, tokens: Tensor | None) -> tuple[Tensor, int]:
        return torch.zeros(state, K, V), state

    def select(self, state: int, rows: Tensor) -> int:
        return len(rows)


@pytest.mark.parametrize("shortlist", [0, 2])
def test_evidence_adds_to_every_candidate_and_finds_its_own(shortlist: int) -> None:
    model, generator = network(1, 2), torch.Generator().manual_seed(7)
    counter = TripleCounter(V)
    counter.add(*torch.randint(0, V, (3, 30), generator=generator))
    table = LikelihoodTable.of(counter, "codec")
    mixture = torch.randint(0, V, (2, 3), generator=generator)
    features = 3.0 * noise(2, 3, WIDTH, seed=8)
    with torch.inference_mode():
        evidence = ContextTerm(model, features, 0.5)
        ratio = 0.5 * model.log_ratio(model(features))
        settings = LassSettings(shortlist=shortlist)
        posterior = LassPosterior(Flat(), table, mixture, settings, context=evidence)
        state, tokens = posterior.start(1), None
        for t in range(3):
            (pairs, score), state = posterior.step(state, tokens)
            a, b = pairs.unbind(-1)
            likely = table.log_likelihood(a, b, mixture[:, t, None].expand_as(a))
            expected = likely + ratio[:, t, 0].gather(1, a) + ratio[:, t, 1].gather(1, b)
            possible = score[:, 0] > -torch.inf
            assert possible.any()
            torch.testing.assert_close(score[:, 0][possible], expected[possible], atol=1e-4, rtol=1e-5)
            if shortlist:
                best = ratio[:, t].argmax(-1)
                for w in range(2):
                    assert ((pairs[w] == best[w]).all(-1) & possible[w]).any()
            tokens = torch.zeros(2, 1, K, dtype=torch.int64)


def test_no_context_of_negative_power() -> None:
    with pytest.raises(UsageError, match="context"):
        LassSettings(context=-1.0)
