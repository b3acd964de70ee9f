#!/usr/bin/env bash
# On a CPU, PyTorch's group_norm in bfloat16 is many times slower in channels_last than in contiguous memory, if a group has fewer than 16 channels.
#
# Seen, with AVX2 and with AVX-512: about 30, 20 and 10 times slower for 2, 4 and 8 channels a group, on maps of 16 x 16; as fast on maps of 32 x 32, or with 16 channels a group. With gradients it is about 20 times slower on maps of 32 x 32, too. In float32 the factors are 2 to 5.
# Memory would have guessed: channels_last is the faster layout on CPUs (for convolutions it is), and elementwise work costs the same in both.
# For separation: image priors with 32 groups, converted to both for speed, become slower; normalize in float32, or keep the layout contiguous.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import time

import torch
from torch.nn.functional import group_norm

torch.set_num_threads(1)


def seconds(x, gradient):
    """Least of ten times of group_norm in 32 groups, with its gradient if wanted."""
    times = []
    for _ in range(10):
        x.grad, start = None, time.perf_counter()
        y = group_norm(x.requires_grad_(gradient), 32)
        if gradient:
            y.backward(torch.ones_like(y))
        times.append(time.perf_counter() - start)
    return min(times)


def ratio(channels, size, dtype, gradient):
    """Time in channels_last by the time in contiguous memory."""
    x = torch.randn(8, channels, size, size).to(dtype)
    return seconds(x.to(memory_format=torch.channels_last), gradient) / seconds(x, gradient)


print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
for channels, size in ((64, 16), (128, 16), (256, 16), (128, 32), (512, 16)):
    found = {(dtype, gradient): ratio(channels, size, dtype, gradient) for dtype in (torch.bfloat16, torch.float32) for gradient in (False, True)}
    texts = [f"{dtype}{' with gradient' if gradient else ''} {value:.1f}" for (dtype, gradient), value in found.items()]
    print(channels // 32, "channels a group,", size, "x", size, "ratio:", ", ".join(texts))
    slow = channels < 512
    assert not slow or found[torch.bfloat16, True] > 3
    assert (found[torch.bfloat16, False] > 3) == (slow and size == 16)
END
