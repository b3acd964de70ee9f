"""The connection to a Ray cluster: errors come soon, and nothing of Ray goes to stdout."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sepcli.errors import SepError, UsageError

ADDRESSES = "its address is HOST:PORT, ray://HOST:PORT, or auto"
TOKEN = "set RAY_AUTH_MODE=token, and keep the token of the cluster in ~/.ray/auth_token"
CONNECT_SECONDS = 5.0
ATTEMPTS = "RAY_NUM_REDIS_GET_RETRIES"
"""The variable of how often Ray tries to connect, which takes it up to a minute each time."""


def connect(address: str = "", workers: int | None = None) -> tuple[Any, bool]:
    """Connect this process to a cluster, unless it is connected.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or auto; "": that of the environment, else a cluster is started
            on this machine.
        workers: processors of a cluster that is started; None: all.

    Returns:
        The module of Ray, and whether it was connected now.

    Raises:
        SepError: Ray is missing, or there is no cluster at the address.
        UsageError: that is not an address.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    if address:
        os.environ.setdefault(ATTEMPTS, "3")  # read when Ray is imported
    ray = _imported()
    if address and (there := _current() if address == "auto" else address):
        _check_reachable(there)
    if ray.is_initialized():
        return ray, False
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _same_signals():
            warnings.simplefilter("ignore")
            ray.init(**options, log_to_driver=False, configure_logging=False)
    except Exception as error:
        refused = "AuthenticationError" in "".join(traceback.format_exception(error))
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        where = address or "this machine"
        message = f"the Ray cluster at {where} refuses" if refused else f"no Ray cluster at {where}: {reason}"
        raise SepError(message, TOKEN if refused else ADDRESSES) from error
    _silence(ray)
    return ray, True


def _imported() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise SepError("Ray is not installed", "run `pip install sepcli[ray]`") from error
    return ray


def _current() -> str:
    """Return the address of the cluster that was started last on this machine; "": unknown."""
    try:
        from ray._private.utils import read_ray_address

        return str(read_ray_address() or "")
    except (ImportError, OSError):
        return ""


def _check_reachable(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for minutes.

    Raises:
        SepError: nothing listens there.
        UsageError: it is not an address.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 1 << 16):
        raise UsageError(f"{address} is not the address of a Ray cluster", ADDRESSES, argument="executor")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise SepError(
            f"no Ray cluster at {address}: {error.strerror or error}",
            "start the cluster, or correct the address",
        ) from error


@contextmanager
def _same_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _silence(ray: Any) -> None:
    """Keep Ray from printing the deaths of workers to stdout, where data go; ``log_to_driver`` does not."""
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False
