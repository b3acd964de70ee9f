#!/usr/bin/env bash
# torch's attention on CPUs has no second derivative, although its gradient can be asked for with create_graph=True: the error comes later.
#
# Seen: F.scaled_dot_product_attention picks the flash kernel for float32 on a CPU. The first gradient with create_graph=True succeeds; the gradient of that raises
#   RuntimeError: derivative for aten::_scaled_dot_product_flash_attention_for_cpu_backward is not implemented,
#   with a mask and without. Under sdpa_kernel(SDPBackend.MATH) it works, and agrees with attention that is written out.
# Memory would have guessed: that attention, like any composition of products and a softmax, is differentiable as often as wanted, or that create_graph=True warns.
# For separation: training a flow by the error of its score (denoising score matching), and Jacobians of its score, both differentiate twice.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

print("torch", torch.__version__)
torch.manual_seed(0)
x = torch.randn(2, 3, 5, 4, requires_grad=True)
visible = torch.ones(5, 5).tril().bool()


def written_out(q, k, v, mask):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1) @ v


def second(attention, mask):
    (first,) = torch.autograd.grad(attention(x, x, x, mask).square().sum(), x, create_graph=True)
    return torch.autograd.grad(first.square().sum(), x)[0]


def fused(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


for mask in (None, visible):
    name = "no mask" if mask is None else "causal mask"
    expected = second(written_out, mask)
    try:
        second(fused, mask)
    except RuntimeError as error:
        print(name, "- RuntimeError:", error)
        assert "not implemented" in str(error)
    else:
        raise SystemExit(f"{name}: there is a second derivative")
    with sdpa_kernel(SDPBackend.MATH):
        difference = float((second(fused, mask) - expected).abs().max() / expected.abs().max())
    print(name, "- relative difference of the math kernel from attention written out:", difference)
    assert difference < 1e-4
END
