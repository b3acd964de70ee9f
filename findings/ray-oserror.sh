#!/usr/bin/env bash
# An OSError from a Ray task is caught as such at the caller, but its errno, strerror and filename are None.
#
# Seen: ray.get raises an instance of FileNotFoundError whose errno is None; the right one is in its attribute cause. Attributes that a class of one's own sets in Python are kept.
# Memory would have guessed: an error that is an instance of FileNotFoundError has the attributes that the task's error had.
# For separation: code that tells a full disk (errno ENOSPC) from other failures takes the wrong branch under Ray; look at error.cause first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q ray==2.60.0
cd "$work"
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" - "$work" <<'END'
import errno
import logging
import sys

import ray


class OptionError(ValueError):
    """Error with an attribute."""

    def __init__(self, message, argument=None):
        super().__init__(message)
        self.argument = argument


@ray.remote
def open_missing():
    open("missing.wav")


@ray.remote
def refuse():
    raise OptionError("not a rate", argument="rate")


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=sys.argv[1])
print("ray", ray.__version__)
try:
    ray.get(open_missing.remote())
except FileNotFoundError as error:
    print("FileNotFoundError: errno", error.errno, "strerror", error.strerror, "filename", error.filename, "| cause: errno", error.cause.errno, "filename", error.cause.filename)
    assert error.errno is error.strerror is error.filename is None
    assert error.cause.errno == errno.ENOENT and error.cause.filename == "missing.wav"
else:
    raise SystemExit("no FileNotFoundError was raised")
try:
    ray.get(refuse.remote())
except OptionError as error:
    print("OptionError: argument", error.argument)
    assert error.argument == "rate"
else:
    raise SystemExit("no OptionError was raised")
ray.shutdown()
END
