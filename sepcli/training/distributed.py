"""Several processes that train one network: who they are, and what they exchange.

``torchrun`` starts W processes, each with its rank in the environment. Every one holds the whole network, the
optimizer and the progress of the run, samples the same batch and computes the loss of its share of the rows;
the gradients are averaged, so that all take the step that one process would take with the whole batch. The
first process (rank 0) alone writes files, validates, and keeps the time; what it decides, all do.

CPU tensors and Python objects go by gloo, tensors on CUDA devices by NCCL. Loading this module does not load
torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sepcli.errors import SepError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables of a process that others train with."""
PATIENCE = timedelta(days=1)
"""Longest wait for a process, which may be decoding recordings; one that has ended is noticed at once."""
PARTING = 2.0
"""Seconds in which an error is reported."""


class ReportedError(SepError):
    """An error that another process reports."""


Report = tuple[str, str, str | None, int]
"""Message, hint, argument and exit code of an error."""


@dataclass(frozen=True)
class World:
    """The processes of a training; by default one.

    Attributes:
        size: W, their number.
        rank: the number of this process, from 0.
        local_rank: its number among those of its machine.
    """

    size: int = 1
    rank: int = 0
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return this process's rows of the arrays and tensors (B, ...) of a batch, and all else as it is.

        Raises:
            UsageError: B is not a multiple of W.
        """
        return batch if self.size == 1 else tuple(self._rows(x) for x in batch)

    def _rows(self, x: Any) -> Any:
        if not getattr(x, "ndim", 0):
            return x
        self.check_shared(len(x))
        count = len(x) // self.size
        return x[self.rank * count : (self.rank + 1) * count]

    def check_shared(self, items: int) -> None:
        """Check that every process gets as many items of a step as the others.

        Raises:
            UsageError: it does not, which the first process reports.
        """
        if items % self.size:
            kind = UsageError if self.first else ReportedError
            message = f"a step of {items} items cannot be shared by {self.size} processes"
            raise kind(message, f"choose a batch whose items are a multiple of {self.size}", argument="batch")

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum over the processes of a tensor of one shape, without gradient."""
        if self.size == 1:
            return x
        total = x.detach().clone()
        with self._connected():
            _distributed().all_reduce(total)
        return total

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the processes of a tensor of one shape, without gradient."""
        return x if self.size == 1 else self.sum(x) / self.size

    def take(self, x: Tensor, index: Tensor) -> Tensor:
        """Return rows ``index`` (M,) of all processes' x (N, D), one below the other; on the device of x."""
        if self.size == 1:
            return x[index]
        local = index - self.rank * len(x)
        present = ((local >= 0) & (local < len(x)))[:, None]
        return self.sum(x[local.clamp(0, len(x) - 1)] * present)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over the processes; the same parameters have one in each."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        import torch

        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def copy_from_first(self, modules: Iterable[nn.Module]) -> None:
        """Give modules the parameters and buffers that they have in the first process."""
        if self.size > 1:
            with self._connected():
                for module in modules:
                    for tensor in module.state_dict().values():
                        _distributed().broadcast(tensor, 0)

    def agree(self, elapsed: float, stopping: bool) -> tuple[float, bool]:
        """Return the elapsed time of the first process, and whether any process is stopping."""
        if self.size == 1:
            return elapsed, stopping
        import torch

        total = self.sum(torch.tensor([elapsed * self.first, float(stopping)], dtype=torch.float64))
        return float(total[0]), bool(total[1])

    def gather(self, value: T) -> list[T]:
        """Return the objects of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._connected():
            _distributed().all_gather_object(values, value)
        return values

    def together(self, make: Callable[[], T]) -> T:
        """Return what ``make`` returns in this process if it succeeds in all; else raise an error in all.

        Raises:
            ReportedError: it failed, which the first process reports.
            Exception: in the first process: its error, or that of the lowest rank with one.
        """
        if self.size == 1:
            return make()
        results, error = _attempt(make)
        reports = [report for report in self.gather(_report(error, self.rank)) if report]
        if reports:
            raise self._failure(reports[0], error)
        return results[0]

    def in_turn(self, make: Callable[[], T]) -> T:
        """As ``together``, but in order, since one that is earlier may leave files that the others need.

        The first process is followed by the first one of every other machine, and these by all others.
        """
        turn = 0 if self.first else 1 if self.local_rank == 0 else 2
        results: list[T] = []
        for number in range(3 if self.size > 1 else 1):
            work = make if number == turn else None
            self.together(lambda work=work: results.append(work()) if work else None)  # type: ignore[misc]
        return results[0]

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what ``make`` returns in the first process, the only one that calls it.

        Raises:
            ReportedError: it failed there, which the first process reports.
            Exception: in the first process: its error.
        """
        if self.size == 1:
            return make()
        results, error = _attempt(make) if self.first else ([], None)
        outcome: list[Any] = [(results, _report(error, self.rank))]
        with self._connected():
            _distributed().broadcast_object_list(outcome, 0)
        results, report = outcome[0]
        if report:
            raise self._failure(report, error)
        result: T = results[0]
        return result

    def _failure(self, report: Report, error: Exception | None) -> Exception:
        """Return the error of a report: in the first process as it is reported, in others without report."""
        if self.first and error is not None:
            return error
        message, hint, argument, code = report
        problem = (SepError if self.first else ReportedError)(message, hint, argument)
        problem.exit_code = code
        problem.__cause__ = error
        return problem

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Report a process that has ended: by the first one, or by the second, if that is it."""
        try:
            yield
        except RuntimeError as error:
            kind = SepError if self.rank <= 1 else ReportedError
            raise kind(
                "another process of this training has ended",
                "its message says why, if it has any; a resumed run goes on from the checkpoint",
            ) from error


ALONE = World()
"""The world of a process that trains by itself."""


def started() -> World:
    """Return the processes that ``torchrun`` started, as the environment has them; ``ALONE`` without."""
    numbers = [os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK")]
    numbers.append(os.environ.get("LOCAL_RANK", numbers[1]))
    if not all(os.environ.get(name) for name in VARIABLES) or not all(map(str.isdecimal, numbers)):
        return ALONE
    return World(*map(int, numbers))


@contextmanager
def joined() -> Iterator[World]:
    """Connect the processes that ``torchrun`` started, and yield them.

    Raises:
        SepError: they cannot be connected.
    """
    world = started()
    if world.size == 1:
        yield ALONE
        return
    import torch
    import torch.distributed.nn  # imported later, its default arguments would keep the group for ever

    distributed = _distributed()
    nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise SepError(
            f"cannot reach the other {world.size - 1} processes at {address}: {error}",
            "start all of them with torchrun",
        ) from error
    try:
        yield world
    finally:
        distributed.destroy_process_group()  # its threads must not outlive the interpreter


def part() -> None:
    """Wait while the first process reports an error: ``torchrun`` ends all when the first of them ends."""
    with suppress(KeyboardInterrupt):
        time.sleep(PARTING)


def _distributed() -> Any:
    import torch.distributed

    return torch.distributed


def _attempt(make: Callable[[], T]) -> tuple[list[T], Exception | None]:
    """Return what ``make`` returns, as a list, and no error; or an empty list and its error."""
    try:
        return [make()], None
    except Exception as error:
        return [], error


def _report(error: Exception | None, rank: int) -> Report | None:
    if error is None:
        return None
    if isinstance(error, SepError):
        return error.message, error.hint, error.argument, error.exit_code
    message = f"process {rank} has failed: {type(error).__name__}: {error}"
    return message, "train in one process for its traceback", None, 1
