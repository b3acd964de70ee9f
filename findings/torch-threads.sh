#!/usr/bin/env bash
# torch.set_num_threads(1), called in a worker thread, limits threads that call PyTorch later for the first time, but not the main thread.
#
# Seen: get_num_threads is 2 at the start. After the call it is still 2 in the main thread and in a worker that had called it before; it is 1 in a worker that was started before but had not used PyTorch, and in one started after.
# Memory would have guessed: the number belongs to the process (1 in all threads) or to the calling thread (2 in all others).
# For separation: a pool whose workers limit themselves leaves later threads, also those of other pools, with one core; set the number again when the pool has ended.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=2 "$work/venv/bin/python" - <<'END'
from concurrent.futures import ThreadPoolExecutor

import torch


def worker():
    """Pool of one thread, which has been started."""
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    return pool


used, unused, limited = worker(), worker(), worker()
before = torch.get_num_threads(), used.submit(torch.get_num_threads).result()
limited.submit(torch.set_num_threads, 1).result()
after = {"main": torch.get_num_threads()}
for name, pool in (("limited", limited), ("used PyTorch before", used), ("started before", unused), ("started after", worker())):
    after[name] = pool.submit(torch.get_num_threads).result()
print("torch", torch.__version__, "before: main, worker:", before, "after set_num_threads(1) in one worker:", after)
assert before == (2, 2)
assert list(after.values()) == [2, 1, 2, 1, 1]
END
