"""The released noise-conditional score network, written down a second time from its tensors' names.

Shapes by a rule and the network as plain functions of a state dict, so that the importer's table of names and
the network in the package are checked against something that shares nothing with them.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
DILATIONS = {1: 1, 2: 1, 3: 2, 4: 4}


def released_shapes(channels: int = 1, width: int = 4, levels: int = 10) -> dict[str, tuple[int, ...]]:
    n, shapes = width, {}

    def conv(name: str, inner: int, outer: int, kernel: int = 3, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outer, inner, kernel, kernel)
        if bias:
            shapes[f"{name}.bias"] = (outer,)

    def norm(name: str, features: int) -> None:
        shapes[f"{name}.embed.weight"] = (levels, 3 * features)

    def units(name: str, features: int, blocks: int) -> None:
        for block in range(1, blocks + 1):
            for stage in (1, 2):
                norm(f"{name}.{block}_{stage}_norm", features)
                conv(f"{name}.{block}_{stage}_conv", features, features, bias=False)

    conv("begin_conv", channels, n)
    norm("normalizer", n)
    conv("end_conv", n, channels)
    for stage, inner, outer in ((1, n, n), (2, n, 2 * n), (3, 2 * n, 2 * n), (4, 2 * n, 2 * n)):
        for block, before in ((0, inner), (1, outer)):
            name, pooled = f"res{stage}.{block}", ".conv" if (stage, block) == (2, 0) else ""
            norm(f"{name}.normalize1", before)
            conv(f"{name}.conv1", before, before)
            norm(f"{name}.normalize2", before)
            conv(f"{name}.conv2{pooled}", before, outer)
            if stage > 1 and block == 0:
                conv(f"{name}.shortcut{pooled}", before, outer, 1 if stage == 2 else 3)
    for step, inner, outer in ((1, 2 * n, 2 * n), (2, 2 * n, 2 * n), (3, 2 * n, n), (4, n, n)):
        name = f"refine{step}"
        for i in range(1 if step == 1 else 2):
            units(f"{name}.adapt_convs.{i}", inner, 2)
            if step > 1:
                conv(f"{name}.msf.convs.{i}", inner, outer)
                norm(f"{name}.msf.norms.{i}", inner)
        units(f"{name}.output_convs", outer, 3 if step == 4 else 1)
        for i in range(2):
            conv(f"{name}.crp.convs.{i}", outer, outer, bias=False)
            norm(f"{name}.crp.norms.{i}", outer)
    return shapes


def released_state(seed: int = 0, channels: int = 1, width: int = 4, levels: int = 10) -> State:
    rng = torch.Generator().manual_seed(seed)
    shapes = released_shapes(channels, width, levels)
    return {name: 0.3 * torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def save_released(path: Path, state: State, legacy: bool = False) -> Path:
    """As the authors' runner does: [network inside DataParallel, Adam]."""
    wrapped = torch.nn.Module()
    wrapped.load_state_dict(state, strict=False)
    network = type(wrapped.state_dict())((f"module.{name}", tensor) for name, tensor in state.items())
    adam = {
        "state": {0: {"step": 3, "exp_avg": torch.zeros(2)}},
        "param_groups": [{"lr": 1e-3, "params": [0]}],
    }
    torch.save([network, adam], path, _use_new_zipfile_serialization=not legacy)
    return path


def released_score(s: State, x: Tensor, rows: Tensor) -> Tensor:
    h = _conv(s, "begin_conv", 2 * x - 1)
    layers = []
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            h = _residual(s, f"res{stage}.{block}", h, rows, DILATIONS[stage])
        layers.append(h)
    h = _refine(s, "refine1", [layers[3]], rows, 1)
    h = _refine(s, "refine2", [layers[2], h], rows, 1)
    h = _refine(s, "refine3", [layers[1], h], rows, 1)
    h = _refine(s, "refine4", [layers[0], h], rows, 3)
    return _conv(s, "end_conv", F.elu(_norm(s, "normalizer", h, rows)))


def _norm(s: State, name: str, x: Tensor, rows: Tensor) -> Tensor:
    means = x.mean((2, 3))
    means = (means - means.mean(1, keepdim=True)) / (means.var(1, keepdim=True) + 1e-5).sqrt()
    gamma, alpha, beta = (part[:, :, None, None] for part in s[f"{name}.embed.weight"][rows].chunk(3, 1))
    return gamma * (F.instance_norm(x) + means[:, :, None, None] * alpha) + beta


def _conv(s: State, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    weight = s[f"{name}.weight"]
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, s.get(f"{name}.bias"), padding=padding, dilation=dilation)


def _quarter(x: Tensor) -> Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def _residual(s: State, name: str, x: Tensor, rows: Tensor, dilation: int) -> Tensor:
    h = _conv(s, f"{name}.conv1", F.elu(_norm(s, f"{name}.normalize1", x, rows)), dilation)
    h = F.elu(_norm(s, f"{name}.normalize2", h, rows))
    if f"{name}.conv2.conv.weight" in s:
        return _quarter(_conv(s, f"{name}.shortcut.conv", x)) + _quarter(_conv(s, f"{name}.conv2.conv", h))
    short = _conv(s, f"{name}.shortcut", x, dilation) if f"{name}.shortcut.weight" in s else x
    return short + _conv(s, f"{name}.conv2", h, dilation)


def _units(s: State, name: str, x: Tensor, rows: Tensor, blocks: int) -> Tensor:
    for block in range(1, blocks + 1):
        h = x
        for stage in (1, 2):
            h = F.elu(_norm(s, f"{name}.{block}_{stage}_norm", h, rows))
            h = _conv(s, f"{name}.{block}_{stage}_conv", h)
        x = x + h
    return x


def _refine(s: State, name: str, xs: list[Tensor], rows: Tensor, blocks: int) -> Tensor:
    hs = [_units(s, f"{name}.adapt_convs.{i}", x, rows, 2) for i, x in enumerate(xs)]
    h = hs[0]
    if len(hs) > 1:
        size = hs[0].shape[2:]
        hs = [
            _conv(s, f"{name}.msf.convs.{i}", _norm(s, f"{name}.msf.norms.{i}", x, rows))
            for i, x in enumerate(hs)
        ]
        h = sum(F.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in hs)
    h = path = F.elu(h)
    for i in range(2):
        path = F.avg_pool2d(_norm(s, f"{name}.crp.norms.{i}", path, rows), 5, 1, 2)
        path = _conv(s, f"{name}.crp.convs.{i}", path)
        h = h + path
    return _units(s, f"{name}.output_convs", h, rows, blocks)
