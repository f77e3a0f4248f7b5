"""The few system calls that Python does not offer, through the C library."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Final

from qwq_env.sandbox.jail.numbers import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# Calls through this one keep the interpreter's lock.
_libc_locked = ctypes.PyDLL(None, use_errno=True)

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWCGROUP: Final = 0x0200_0000
CLONE_NEWUTS: Final = 0x0400_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_NOATIME: Final = 1024
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CAP_DAC_READ_SEARCH: Final = 2

_MADV_COLLAPSE: Final = 25
_AT_RECURSIVE: Final = 0x8000
_HUGE_PAGE: Final = 2 << 20


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityHalf(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def checked(result: int, what: str) -> int:
    """Return `result`, or raise the OSError that errno stands for, naming `what`."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(group: str, name: str, *arguments: object) -> int:
    """Make a system call by its number; raises OSError."""
    return checked(_libc.syscall(ctypes.c_long(NUMBERS[group][name]), *arguments), name)


def plain_fork() -> int:
    """Fork without the interpreter's own preparations and repairs.

    Those re-create locks and seed generators for programs with threads. In a process that never
    had a thread they only copy a hundred pages per fork, which is half of what a fork costs.
    """
    return checked(_libc_locked.fork(), "fork")


def reap(flags: int) -> int:
    """Wait for any child: its pid, 0 where `flags` say not to wait, -1 where there is none.

    The same as `os.waitpid`, which would raise an exception each time that there is none.
    """
    return int(_libc_locked.waitpid(-1, None, flags))


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name for new ones."""
    checked(_libc.unshare(flags), "unshare")


def name_host(name: str) -> None:
    """Set what `uname` tells of this machine in its namespace: its name, and no domain."""
    socket.sethostname(name)
    checked(_libc.setdomainname(b"", ctypes.c_size_t(0)), "setdomainname")


def setns(descriptor: int, kind: int) -> None:
    """Enter (for pid namespaces: have children enter) the namespace behind `descriptor`."""
    checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount; raises OSError naming the target."""
    checked(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode(),
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        f"mount {target}",
    )


def unmount(target: str) -> None:
    """Detach a mount and all below it."""
    checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root, the old one appearing at `put_old`."""
    syscall("setup", "pivot_root", new_root.encode(), put_old.encode())


def make_read_only(target: str) -> None:
    """Make a mount and all below it read-only and blind to set-user-id bits (Linux 5.12)."""
    attributes = _MountAttributes(set=MS_RDONLY | MS_NOSUID)
    syscall(
        "setup",
        "mount_setattr",
        ctypes.c_int(-100),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def prctl(option: int, argument: int = 0, third: int = 0) -> None:
    """Call prctl with up to three numbers; raises OSError."""
    words = [ctypes.c_ulong(word) for word in (argument, third, 0, 0)]
    checked(_libc.prctl(option, *words), f"prctl {option}")


def drop_capabilities(keep: frozenset[int] = frozenset()) -> None:
    """Give up every capability but `keep`, for this process and all it may ever exec."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # past the last capability, or not entitled to shrink the bounding set
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass  # kernels before 4.3 have no ambient set
    mask = sum(1 << capability for capability in keep)
    header = _CapabilityHeader(0x2008_0522, 0)
    halves = (_CapabilityHalf * 2)(_CapabilityHalf(mask, mask, 0), _CapabilityHalf(0, 0, 0))
    checked(_libc.capset(ctypes.byref(header), halves), "capset")


def collapse_heap() -> None:
    """Gather the private memory of this process into huge pages, where the kernel offers it.

    A fork copies one entry per page, so a heap of huge pages is copied in a fraction of the time.
    The memory is the process's own afterwards: worth it in the image that is forked from, never
    in a process of which there are many.
    """
    madvise = _libc.madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:  # noqa: PTH123
        lines = maps.read().splitlines()
    for line in lines:
        fields = line.split()
        if fields[1][:3] != "rw-" or (len(fields) > 5 and fields[5] != "[heap]"):
            continue
        start, end = (int(bound, 16) for bound in fields[0].split("-"))
        first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        for address in range(first, end - _HUGE_PAGE + 1, _HUGE_PAGE):
            madvise(address, _HUGE_PAGE, _MADV_COLLAPSE)


def install_filter(program: bytes) -> None:
    """Attach a seccomp filter (8-byte BPF instructions) to this process, for good."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    instructions = ctypes.create_string_buffer(program, len(program))
    wrapped = Program(len(program) // 8, ctypes.addressof(instructions))
    checked(_libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(wrapped), 0, 0), "seccomp")
