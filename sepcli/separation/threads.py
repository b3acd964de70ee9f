"""Threads of the libraries that compute, set explicitly: results depend on their number."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def set_threads(threads: int) -> None:
    """Let the libraries that this process has imported compute with so many threads."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Compute with so many threads, and then with as many as before; None: no change."""
    if threads is None:
        yield
        return
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
