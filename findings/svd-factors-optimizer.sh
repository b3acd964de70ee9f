#!/usr/bin/env bash
# The state of an optimizer of factors from torch's SVD cannot be saved as safetensors, although all of it is made anew: strides are inherited.
#
# Seen: U of torch.linalg.svd is stored by columns. U[:, :r] * s.sqrt() is a new tensor, and still stored by columns; so is the moment that AdamW makes for
#   such a parameter (zeros_like keeps strides). safetensors.torch.save raises "You are trying to save a non contiguous tensor" of the moment, long after
#   the parameter was made; torch.save takes it. With .contiguous() on the factors both are saved.
# Memory would have guessed: that arithmetic returns tensors stored by rows, and that an optimizer's zeros are contiguous whatever the parameter is.
# For separation: a denoiser adapted by factors of low rank, which start from the SVD of the difference of two networks, trains well and fails at its first checkpoint.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import io

import safetensors
import torch
from safetensors.torch import save

print("torch", torch.__version__, "safetensors", safetensors.__version__)
torch.manual_seed(0)
rank = 4
left, values, right = torch.linalg.svd(torch.randn(40, 30), full_matrices=False)
root = values[:rank].sqrt()
factors = {"left": left[:, :rank] * root, "right": root[:, None] * right[:rank]}


def state_of(factor):
    parameter = torch.nn.Parameter(factor)
    optimizer = torch.optim.AdamW([parameter])
    parameter.square().sum().backward()
    optimizer.step()
    return {name: value for name, value in optimizer.state[parameter].items() if name != "step"}


for name, factor in factors.items():
    state = state_of(factor)
    print(name, tuple(factor.shape), "strides", factor.stride(), "of the moment", state["exp_avg"].stride())
    torch.save(state, io.BytesIO())
    if state["exp_avg"].is_contiguous():
        print(name, "is saved")
        continue
    try:
        save(state)
    except ValueError as error:
        print(name, "- ValueError:", str(error).split(" which ")[0])
        assert "non contiguous" in str(error)
    else:
        raise SystemExit(f"{name}: strides that are not by rows are saved")
    save(state_of(factor.contiguous()))
assert not state_of(factors["left"])["exp_avg"].is_contiguous()
END
