#!/usr/bin/env bash
# A Ray task that calls sys.exit is run four times, and then reported as a crashed worker, whatever the exit code.
#
# Seen: sys.exit(0), sys.exit(1) and sys.exit("message") each run four times and end in WorkerCrashedError, without code or message; a ValueError reaches the caller after one run, and KeyboardInterrupt as TaskCancelledError, after one run, too.
# Memory would have guessed: SystemExit is an exception like the others: one run, and the code and the message reach the caller; retries (max_retries=3) are for workers that die of a signal or of a lost machine.
# For separation: a command-line function that exits on bad input, wrapped in a task, does its work and its side effects four times before it fails; raise exceptions below the command line.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q ray==2.60.0
cd "$work"
RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" - "$work" <<'END'
import logging
import os
import sys
import tempfile

import ray


@ray.remote
def end(folder, how):
    """Leave a file in the folder, then end."""
    tempfile.mkstemp(dir=folder)
    if isinstance(how, BaseException):
        raise how
    sys.exit(how)


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=sys.argv[1])
print("ray", ray.__version__)
found = {}
for how in (0, 1, "message", ValueError("x"), KeyboardInterrupt()):
    folder = tempfile.mkdtemp(dir=".")
    try:
        ray.get(end.remote(os.path.abspath(folder), how))
    except Exception as error:
        found[repr(how)] = len(os.listdir(folder)), type(error).__name__
        print(repr(how), "runs:", found[repr(how)][0], "error:", found[repr(how)][1])
        assert how != "message" or how not in str(error)
ray.shutdown()
assert all(found[repr(how)] == (4, "WorkerCrashedError") for how in (0, 1, "message"))
assert found["ValueError('x')"] == (1, "RayTaskError(ValueError)") and found["KeyboardInterrupt()"] == (1, "RayTaskError(TaskCancelledError)")
END
