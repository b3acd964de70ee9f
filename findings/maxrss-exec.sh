#!/usr/bin/env bash
# The peak memory of a child process by resource.getrusage (ru_maxrss) on Linux is at least that of the process which started it.
#
# Seen: a program that only prints its ru_maxrss reports about 20 MB when a small process starts it, and over 500 MB when it is started by a process that holds 500 MB; VmHWM of /proc/self/status, is small both times.
# Memory would have guessed: ru_maxrss of a fresh program counts its own pages only, as exec replaces the memory. (The kernel hands the old peak on at exec.)
# For separation: a benchmark or a test that measures memory in a child of a large parent (pytest with PyTorch) sees the parent; read VmHWM.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q psutil==7.0.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import platform
import subprocess
import sys

import psutil

CHILD = """
import re, resource
status = open("/proc/self/status").read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024)
"""


def child():
    """Megabytes by ru_maxrss and by VmHWM of a fresh program."""
    out = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, out.split()))


small = child()
held = b"1" * 500_000_000
large = child()
print("Python", platform.python_version(), "psutil", psutil.__version__, platform.release())
print("started by a small process: ru_maxrss, VmHWM =", small, "MB; by one of", psutil.Process().memory_info().rss >> 20, "MB:", large)
assert small[0] < 100 and small[1] < 100 and large[1] < 100
assert large[0] > 450
END
