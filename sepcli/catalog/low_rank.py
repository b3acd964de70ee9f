"""Weights as a difference of low rank from those of a bundled prior, for a network trained from it.

A matrix (O, I), or a tensor (O, …) with the axes after the first flattened, is W + L R: W of the base, L
(O, r) and R (r, I) in the file, as ``NAME:left`` and ``NAME:right``. Other tensors of the file are whole,
those that it lacks are the base's. Its metadata are ``base``, PRIOR/PART, and ``base_sha256``, the hash of
the weights of that part, so that it never meets others. The base may be such a difference itself.

Source: Hu et al. 2021 (LoRA), here of a finished training, by the singular value decomposition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.catalog.bounded import Files
from sepcli.catalog.verified import Verified
from sepcli.errors import PriorError

LEFT, RIGHT = ":left", ":right"
BASE, HASH = "base", "base_sha256"
WEIGHTS = "model.safetensors"

ReadWeights = Callable[[Files], Mapping[str, Tensor]]


def has_factors(tensor: Tensor, rank: int) -> bool:
    """Return whether factors of a rank r have fewer numbers than a tensor (O, …): r (O + I) < O I."""
    return tensor.dim() > 1 and rank * (len(tensor) + tensor[0].numel()) < tensor.numel()


def factors(base: Mapping[str, Tensor], trained: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return what is stored of a trained network: factors of its differences, and whole what has none.

    A tensor without ``has_factors`` is whole; one that equals the base's is left out.

    Args:
        base: tensors of the base by name.
        trained: those of the network, with the same names and shapes.
        rank: r.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in trained.items():
        if torch.equal(tensor.float(), base[name].float()):
            continue
        if has_factors(tensor, rank):
            difference = (tensor.float() - base[name].float()).flatten(1)
            left, values, right = torch.linalg.svd(difference, full_matrices=False)
            root = values[:rank].sqrt()
            stored[name + LEFT], stored[name + RIGHT] = left[:, :rank] * root, root[:, None] * right[:rank]
        else:
            stored[name] = tensor
    return stored


@dataclass(frozen=True)
class Difference:
    """How a network is stored as a difference: the base, PRIOR/PART, and the rank."""

    base: str
    rank: int

    def file(self) -> Verified:
        """Return the file of weights of the base; raise ``PriorError`` if there is none."""
        return _base_weights(self.base)

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the file of the network."""
        file = self.file()
        return {BASE: self.base, HASH: file.card.files[file.path].sha256}


def complete(
    stored: Mapping[str, Tensor], metadata: Mapping[str, str], path: Files, read: ReadWeights
) -> dict[str, Tensor]:
    """Return the tensors of a network, of which a file has differences from a base.

    Args:
        stored: the tensors of the file, floats.
        metadata: of the file; without a base the tensors are returned as they are.
        path: of the file.
        read: reads the weights of the base.

    Raises:
        PriorError: there is no such base, it has other weights, or the factors do not fit it.
    """
    if BASE not in metadata:
        return dict(stored)
    source = _base_weights(metadata[BASE])
    if source.card.files[source.path].sha256 != metadata.get(HASH):
        raise PriorError(
            f"the weights {path} belong to other weights of {metadata[BASE]} than those of this version",
            "install the version that they were made with, or fetch the prior again",
        )
    tensors = dict(read(source))
    for name, tensor in stored.items():
        if name.endswith(RIGHT):
            continue
        try:
            tensors[name.removesuffix(LEFT)] = _tensor(name, tensor, stored, tensors)
        except (KeyError, RuntimeError) as error:
            raise PriorError(
                f"the weights {path} are damaged: {name} does not fit {metadata[BASE]}",
                "fetch or train the prior again",
            ) from error
    return tensors


def _tensor(name: str, tensor: Tensor, stored: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Tensor:
    if not name.endswith(LEFT):
        return tensor.view(base[name].shape)
    own = base[name.removesuffix(LEFT)]
    product = tensor.float() @ stored[name.removesuffix(LEFT) + RIGHT].float()
    return own.float() + product.view(own.shape)


def _base_weights(base: str) -> Verified:
    """Return the file of weights of PRIOR/PART; never one outside the package."""
    prior, _, part = base.partition("/")
    if prior in index.names():
        card = cards.read(index.BUNDLED / prior)
        path = Verified(card, index.BUNDLED / prior) / part / WEIGHTS
        if part in card.parts and path.is_file():
            return path
    raise PriorError(f"there is no bundled network {base}", "update sepcli, or fetch the prior again")
