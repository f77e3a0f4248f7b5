"""What this kernel offers, asked without the library: a layer that it offers and that cannot be had
is a failure, and only what it lacks may be skipped."""

import ctypes
import functools
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_NAMESPACES = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)
root = os.geteuid() == 0
if root:
    if libc.unshare(0x20000):
        sys.exit("no mount namespaces for root")
    os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)
    libc.prctl(4, 1, 0, 0, 0)
uid = os.getuid()
# Mounts, network, IPC, host name, processes, users, control groups.
if libc.unshare(0x7E020000):
    sys.exit("no namespaces for an ordinary user")
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"1000 {uid} 1")
if os.fork() == 0:
    libc.mount(b"none", b"/", b"", 0x44000, None)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"size=4k"):
        os._exit(1)
    # Read-only, bare of devices and set-user-id bits, and only what concerns processes.
    os._exit(2 if libc.mount(b"proc", b"/proc", b"proc", 15, b"subset=pid") else 0)
sys.exit({0: 0, 1: "no mounts in a namespace", 2: 2}[os.waitstatus_to_exitcode(os.wait()[1])])
"""


class Kernel(NamedTuple):
    """The layers that can be had here; `landlock` is its version, 0 for none."""

    namespaces: bool
    proc: bool
    landlock: int
    seccomp: bool
    cgroups: bool

    @property
    def level(self):
        """The strongest level that these layers make."""
        if not self.seccomp:
            return "D"
        if self.namespaces and self.landlock:
            return "A"
        if self.landlock >= 6:
            return "B"
        return "C" if self.namespaces or self.landlock else "D"


@functools.cache
def kernel():
    command = [sys.executable, "-I", "-S", "-c", _NAMESPACES]
    code = subprocess.run(command, capture_output=True).returncode
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    known = platform.machine() in ("x86_64", "aarch64")
    return Kernel(
        namespaces=code in (0, 2) and version >= (5, 12),
        proc=code == 0,
        landlock=max(0, ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)),
        seccomp=known and Path("/proc/sys/kernel/seccomp/actions_avail").exists(),
        cgroups=_cgroups(),
    )


def _cgroups():
    root = Path("/sys/fs/cgroup")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        handed_on = root / path.lstrip("/") / "cgroup.subtree_control"
        if number == "0" and handed_on.exists() and os.access(handed_on, os.W_OK):
            return {"memory", "pids"} <= set(handed_on.read_text().split())
    return all(os.access(root / name, os.W_OK) for name in ("memory", "pids"))


def lacking(plan):
    """The names of the layers of `plan` that the kernel itself lacks."""
    had = kernel()
    return [
        name
        for name, wanted, offered in (
            ("namespaces", plan.namespaces, had.namespaces),
            ("Landlock", plan.landlock, had.landlock),
            ("scopes of Landlock", plan.scoped, had.landlock >= 6),
            ("seccomp", plan.seccomp, had.seccomp),
        )
        if wanted and not offered
    ]


def require(plan):
    """Skip where the kernel itself lacks a layer of `plan`."""
    if names := lacking(plan):
        pytest.skip(f"this kernel has no {', no '.join(names)}")
