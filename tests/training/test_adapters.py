"""Low-rank adapters: where they start, what they train, and what is written of them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sepcli.catalog.low_rank import LEFT, RIGHT, factors
from sepcli.catalog.storage import read_weights
from sepcli.training.adapters import add_adapters, whole_state
from sepcli.training.ema import averaged
from sepcli.training.loop import write_weights

RANK = 2


class Small(nn.Module):
    """A convolution, a matrix and a matrix too small for factors."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.wide, self.head = nn.Conv1d(8, 16, 3), nn.Linear(16, 20), nn.Linear(20, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 8, T) to (B, 2)."""
        return self.head(self.wide(self.convolution(x).mean(-1)).tanh())


@pytest.fixture
def network() -> Small:
    torch.manual_seed(0)
    return Small()


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in whole_state(network)[0].items()}


def test_adapters_of_its_own_weights_change_nothing(network: Small) -> None:
    x, before = torch.randn(3, 8, 10), copy.deepcopy(network)
    add_adapters(network, network.state_dict(), RANK)
    torch.testing.assert_close(network(x), before(x), rtol=0, atol=0)
    state, trained = whole_state(network)
    assert state.keys() == trained == before.state_dict().keys()
    for name, tensor in before.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


def test_only_a_difference_of_the_rank_is_trained(network: Small) -> None:
    base = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    add_adapters(network, base, RANK)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        network(torch.randn(16, 8, 10)).square().sub(1.0).square().mean().backward()
        optimizer.step()
    trained = weights(network)
    for name, tensor in base.items():
        moved = (trained[name] - tensor).flatten(1) if tensor.dim() > 1 else trained[name] - tensor
        assert bool(moved.any()), name
        if name in ("convolution.weight", "wide.weight"):
            values = torch.linalg.svdvals(moved)
            assert values[RANK - 1] > 1e-3
            assert values[RANK] < 1e-5
    stored = factors(base, trained, RANK)
    restored = base["wide.weight"] + stored["wide.weight" + LEFT] @ stored["wide.weight" + RIGHT]
    torch.testing.assert_close(restored, trained["wide.weight"], atol=1e-5, rtol=0)


def test_they_start_as_near_to_the_weights_as_the_rank_allows(network: Small) -> None:
    base = copy.deepcopy(network).state_dict()
    with torch.no_grad():
        network.wide.weight += torch.randn(20, 16)
    before = weights(network)["wide.weight"]
    add_adapters(network, base, RANK)
    left = torch.linalg.svdvals(before - base["wide.weight"])[RANK:]
    error = weights(network)["wide.weight"] - before
    assert float(error.square().sum()) == pytest.approx(float(left.square().sum()), rel=1e-4)


def test_a_direction_that_the_difference_lacks_so_far_is_trained(network: Small) -> None:
    base = copy.deepcopy(network).state_dict()
    with torch.no_grad():
        network.wide.weight += torch.outer(torch.randn(20), torch.randn(16))  # of rank 1
    before = weights(network)["wide.weight"]
    add_adapters(network, base, RANK)
    torch.testing.assert_close(weights(network)["wide.weight"], before, atol=1e-5, rtol=0)
    optimizer = torch.optim.SGD(network.wide.parameters(), lr=0.1)
    target = before + torch.outer(torch.randn(20), torch.randn(16))
    for _ in range(20):
        optimizer.zero_grad()
        (network.wide.weight - target).square().sum().backward()
        torch.nn.utils.clip_grad_norm_(network.wide.parameters(), 1.0)
        optimizer.step()
    values = torch.linalg.svdvals(weights(network)["wide.weight"] - base["wide.weight"])
    assert values[RANK - 1] > 0.1
    assert values[RANK] < 1e-4


def test_a_rank_too_large_for_all_matrices_is_refused(network: Small) -> None:
    with pytest.raises(ValueError, match="rank 100"):
        add_adapters(network, network.state_dict(), 100)
    assert not any("parametrizations" in name for name in network.state_dict())


def test_whole_weights_are_written_also_of_their_running_mean(network: Small, tmp_path: Path) -> None:
    plain = {name: tensor.shape for name, tensor in network.state_dict().items()}
    add_adapters(network, network.state_dict(), RANK)
    average = averaged(network)
    for _ in range(3):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.01
        average.update_parameters(network)
    path = tmp_path / "model.safetensors"
    write_weights(average.module, path, "float16")
    written = read_weights(path)
    assert {name: tensor.shape for name, tensor in written.items()} == plain
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
    for name, tensor in weights(average.module).items():
        torch.testing.assert_close(written[name].float(), tensor, atol=2e-3, rtol=2e-3)
