#!/usr/bin/env bash
# safetensors writes the metadata of a file in another order in every process, so that equal tensors give files of different hashes.
#
# Seen: ten processes that save the same tensors and three metadata entries write more than one file; with one entry they write one.
# Memory would have guessed: keys are written in the order given, or sorted, so that saving is reproducible, as it is for the tensors.
# For separation: hashes of weights in cards and records cannot be repeated by saving again; keep one metadata key, with a document of your own in it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import hashlib
import subprocess
import sys

import safetensors

SAVE = """
import sys
import numpy as np
from safetensors.numpy import save
tensors = {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 3), np.float32)}
keys = ("codec", "sources", "tokens")[: int(sys.argv[1])]
sys.stdout.buffer.write(save(tensors, metadata={key: key for key in keys}))
"""
print("safetensors", safetensors.__version__)
counts = {}
for keys in (1, 3):
    files = [subprocess.run([sys.executable, "-c", SAVE, str(keys)], capture_output=True, check=True).stdout for _ in range(10)]
    counts[keys] = len({hashlib.sha256(data).hexdigest() for data in files})
    print(keys, "metadata entries: ten processes wrote", counts[keys], "different files")
assert counts[1] == 1 and counts[3] > 1
END
