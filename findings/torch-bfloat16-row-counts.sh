#!/usr/bin/env bash
# On a CPU with bfloat16 instructions, PyTorch keeps memory for every number of rows that a bfloat16 linear layer has seen.
#
# Seen, AVX-512 with bfloat16: 1,500 different numbers of rows through one layer of 512 x 512 leave 770 MB, half a megabyte each; the same in float32 leaves 7 MB, and in bfloat16 with rows padded to multiples of 64 18 MB. ONEDNN_PRIMITIVE_CACHE_CAPACITY=16 leaves 460 MB, so that the cache that it limits is not all of it.
# Memory would have guessed: bfloat16 needs half of the memory of float32, whatever the sizes.
# For separation: token priors whose number of hypotheses or keys changes at every step, and songs of many lengths, grow with every size that they meet; pad to a few sizes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$work"
cat > rows.py <<'END'
import resource
import sys

import torch
from torch.nn.functional import linear

torch.set_num_threads(1)
kind, multiple = getattr(torch, sys.argv[1]), int(sys.argv[2])
weights = torch.randn(512, 512).to(kind)
linear(torch.ones(1500, 512, dtype=kind), weights)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for rows in range(1, 1500):
    linear(torch.ones(-(-rows // multiple) * multiple, 512, dtype=kind), weights)
print(round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))
END
"$work/venv/bin/python" -c "import torch; print('torch', torch.__version__, torch.backends.cpu.get_cpu_capability(), 'bfloat16 instructions:', torch.cpu._is_avx512_bf16_supported())"
float=$("$work/venv/bin/python" rows.py float32 1)
each=$("$work/venv/bin/python" rows.py bfloat16 1)
limited=$(ONEDNN_PRIMITIVE_CACHE_CAPACITY=16 "$work/venv/bin/python" rows.py bfloat16 1)
padded=$("$work/venv/bin/python" rows.py bfloat16 64)
echo "MB more after 1,499 numbers of rows: float32 $float, bfloat16 $each, with a primitive cache of 16 $limited, padded to multiples of 64 $padded"
[ "$float" -lt 100 ] && [ "$padded" -lt 100 ] && [ "$each" -gt 400 ] && [ "$limited" -gt 200 ]
