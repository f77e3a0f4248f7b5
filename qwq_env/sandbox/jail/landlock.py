"""Landlock: which files may be read and written, and whom a signal may reach.

Source: the kernel's `userspace-api/landlock`. ABI 6 (Linux 6.12) adds what makes the sandbox safe
without namespaces: signals and abstract sockets stay inside the domain.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

from qwq_env.sandbox.jail.syscalls import syscall

TRUNCATE_ABI: Final = 3
"""The first ABI that judges who cuts a file short."""

SCOPED_ABI: Final = 6
"""The first ABI that confines signals."""

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_IOCTL_DEVICE: Final = 1 << 15
_ON_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_MAKE_DEVICES: Final = (1 << 6) | (1 << 11)
_FIRST_ABI: Final = (1 << 13) - 1
_ALL_TCP: Final = 3
_ALL_SCOPES: Final = 3
_PATH_BENEATH: Final = 1
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR


def abi() -> int:
    """Return the version of Landlock that the kernel offers, 0 for none."""
    try:
        return syscall("landlock", "landlock_create_ruleset", None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def _handled(version: int) -> int:
    handled = _FIRST_ABI
    for since, right in ((2, _REFER), (TRUNCATE_ABI, _TRUNCATE), (5, _IOCTL_DEVICE)):
        if version >= since:
            handled |= right
    return handled


def _create(version: int, files: int) -> int:
    network = _ALL_TCP if version >= 4 else 0
    scopes = _ALL_SCOPES if version >= SCOPED_ABI else 0
    size = 8 if version < 4 else 16 if version < SCOPED_ABI else 24
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", files, network, scopes), 24)
    return syscall(
        "landlock", "landlock_create_ruleset", attributes, ctypes.c_size_t(size), ctypes.c_uint(0)
    )


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what cannot be reached needs no permission
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _ON_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        syscall("landlock", "landlock_add_rule", ruleset, _PATH_BENEATH, rule, ctypes.c_uint(0))
    finally:
        os.close(place)


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Confine this process for good: read and execute, read and write, beneath those paths only.

    Device nodes cannot be made anywhere, TCP is shut (ABI 4), signals and abstract sockets reach
    only what descends from this process (ABI 6). Needs "no new privileges"; raises OSError.
    """
    version = abi()
    files = _handled(version)
    ruleset = _create(version, files)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & files)
        for path in writable:
            _allow(ruleset, path, files & ~_MAKE_DEVICES)
        _restrict_self(ruleset)
    finally:
        os.close(ruleset)


def restrict_signals() -> None:
    """Confine what this process may signal to itself, leaving its files as they are (ABI 6)."""
    ruleset = _create(SCOPED_ABI, 0)
    try:
        _restrict_self(ruleset)
    finally:
        os.close(ruleset)


def _restrict_self(ruleset: int) -> None:
    syscall("landlock", "landlock_restrict_self", ruleset, ctypes.c_uint(0))
