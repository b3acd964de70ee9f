"""Low-rank adapters: of every matrix only a difference of low rank from a base is trained.

    W = W_base + L R        L (O, r), R (r, I)

A tensor (O, …) counts as a matrix with the axes after the first flattened; one that factors would not make
smaller is trained as a whole. A network that was trained so can be stored as its factors, without loss but
for rounding (see ``sepcli.catalog.low_rank``).

Source: Hu et al. 2021 (LoRA); the factors start from the singular value decomposition of the difference.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sepcli.catalog.low_rank import has_factors


class LowRank(nn.Module):
    """The parametrization W = W_base + L R of one weight, of given rank r."""

    base: Tensor

    def __init__(self, base: Tensor, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.register_buffer("base", base.detach().clone(), persistent=False)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return W, like the base, of factors (O, r) and (r, I)."""
        with torch.autocast(left.device.type, enabled=False):
            return self.base + (left @ right).view_as(self.base)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors (O, r) and (r, I) nearest to a weight like the base.

        Of the base itself L is 0, and R random and orthonormal.

        L and R share the singular values, but a row of R is no shorter than one of the mean value would be:
        a direction that the difference lacks so far would have no gradient with zeros on both sides.
        """
        difference = (weight - self.base).flatten(1)
        if not difference.any():
            columns = torch.linalg.qr(torch.randn(difference.shape[1], self.rank))[0]
            return difference.new_zeros(len(difference), self.rank), columns.mT.to(difference).contiguous()
        left, values, right = torch.linalg.svd(difference, full_matrices=False)
        kept = values[: self.rank]
        lengths = kept.clamp(min=kept.mean()).sqrt()
        factors = left[:, : self.rank] * (kept / lengths), lengths[:, None] * right[: self.rank]
        return factors[0].contiguous(), factors[1].contiguous()


def add_adapters(network: nn.Module, base: Mapping[str, Tensor], rank: int) -> None:
    """Train differences of a rank from a base, which start as near to a network's weights as they can.

    Args:
        network: its trained matrices are replaced by factors.
        base: tensors of the base by name, of the shapes of the network's.
        rank: r ≥ 1.

    Raises:
        ValueError: no matrix is large enough for factors of this rank.
    """
    adapted = 0
    for path, module in list(network.named_modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            if has_factors(weight, rank):
                below = base[f"{path}.{name}".removeprefix(".")].to(weight)
                parametrize.register_parametrization(module, name, LowRank(below, rank))
                adapted += 1
    if not adapted:
        raise ValueError(f"no matrix is large enough for factors of rank {rank}")


def whole_state(network: nn.Module) -> tuple[dict[str, Tensor], set[str]]:
    """Return the tensors of a network by name, with weights instead of factors, and the names of parameters.

    Parameters of modules with a true attribute ``exact`` are not among the names.
    """
    state = {name: t for name, t in network.state_dict().items() if "parametrizations" not in name.split(".")}
    trained: set[str] = set()
    for path, module in network.named_modules():
        if "parametrizations" in path.split("."):
            continue
        weights = dict(module.named_parameters(recurse=False))
        if parametrize.is_parametrized(module):
            weights |= {name: getattr(module, name) for name in module.parametrizations}
        named = {f"{path}.{name}".removeprefix("."): weight for name, weight in weights.items()}
        state |= named
        trained |= set() if getattr(module, "exact", False) else {*named}
    return state, trained
