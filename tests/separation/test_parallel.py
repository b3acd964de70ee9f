"""Work side by side: results in order, threads divided among the items, and an end when one fails."""

from __future__ import annotations

from threading import Barrier, current_thread

import pytest
import torch

import sepcli
from sepcli.protocols import ProgressCallback
from sepcli.separation.parallel import side_by_side, threads_of


def test_results_are_in_order_and_threads_are_divided(four_threads: int) -> None:
    barrier = Barrier(2, timeout=30)

    def work(item: int, progress: ProgressCallback) -> tuple[int, int]:
        barrier.wait()  # passed only if two items are worked on at once
        return item, torch.get_num_threads()

    assert side_by_side(work, [3, 1, 4, 1], 2) == [(3, 2), (1, 2), (4, 2), (1, 2)]
    assert torch.get_num_threads() == four_threads


def test_one_thread_or_one_item_starts_nothing(four_threads: int) -> None:
    def work(item: int, progress: ProgressCallback) -> tuple[int, str, int]:
        return item, current_thread().name, torch.get_num_threads()

    here = current_thread().name
    assert side_by_side(work, [1, 2], 1) == [(1, here, four_threads), (2, here, four_threads)]
    assert side_by_side(work, [1], four_threads) == [(1, here, four_threads)]


def test_small_operations_have_a_thread_each(four_threads: int) -> None:
    def work(item: int, progress: ProgressCallback) -> tuple[int, int]:
        return item, torch.get_num_threads()

    assert side_by_side(work, [1], four_threads, each=1) == [(1, 1)]
    assert side_by_side(work, [1, 2], four_threads, each=1) == [(1, 1), (2, 1)]
    assert torch.get_num_threads() == four_threads


def test_progress_is_of_all_items(four_threads: int) -> None:
    seen: list[tuple[int, int]] = []

    def work(item: int, progress: ProgressCallback) -> None:
        for step in range(item):
            progress(step + 1, item)

    side_by_side(work, [5, 5, 5], four_threads, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 15) for done in range(1, 16)]


def test_the_first_failure_ends_the_others(four_threads: int) -> None:
    barrier = Barrier(2, timeout=30)

    def work(item: int, progress: ProgressCallback) -> None:
        barrier.wait()
        if item == 0:
            raise ValueError("damaged")
        while True:
            progress(1, 2)

    with pytest.raises(ValueError, match="damaged"):
        side_by_side(work, [0, 1], 2)
    assert torch.get_num_threads() == four_threads


def test_one_thread_computes_for_a_gpu(four_threads: int) -> None:
    assert threads_of(torch.device("cpu")) == four_threads
    assert threads_of(torch.device("cuda")) == 1


def test_a_function_of_the_user_is_called_by_one_thread(four_threads: int) -> None:
    callers = set()

    def denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        callers.add(current_thread().name)
        return x / (1 + sigma**2)

    prior = sepcli.from_denoiser(denoiser, 0.01, 10.0)
    sepcli.Separator([prior, prior]).separate(torch.rand(8, 8), samples=4, seed=0)
    assert callers == {current_thread().name}
