"""The package names nothing that only some systems have, but through ``getattr``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sepcli

ROOT = Path(sepcli.__file__).parent
NAMES = {
    "import": "crypt fcntl grp msvcrt nis posix pty pwd resource syslog termios tty winreg",
    "os": (
        "chown chroot fork forkpty getegid geteuid getgid getloadavg getpgid getuid killpg lchown mkfifo"
        " mknod nice openpty pipe2 posix_spawn pread process_cpu_count sched_getaffinity sched_setaffinity"
        " setsid startfile statvfs uname wait3"
    ),
    "signal": "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2",
}
"""Modules, and attributes of modules, that Windows, macOS or older versions of Python lack."""


def unportable(source: str) -> list[str]:
    """Names of a module's text that not every system has."""
    limited = {module: set(names.split()) for module, names in NAMES.items()}
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in limited["import"]]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if node.module in limited["import"] else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [node.attr] if node.attr in limited.get(node.value.id, ()) else []
    return sorted(found)


@pytest.mark.parametrize("room", sorted({path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*.py")}))
def test_no_module_needs_one_system(room: str) -> None:
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] == room:
            assert unportable(path.read_text("utf-8")) == [], path


def test_such_names_are_seen() -> None:
    source = "import fcntl\nfrom pwd import x\nos.fork()\nsignal.SIGHUP\n"
    assert unportable(source) == ["SIGHUP", "fcntl", "fork", "pwd"]
    assert unportable("getattr(os, 'fork', None)\nsignal.SIGINT\nself.kill()\n") == []
