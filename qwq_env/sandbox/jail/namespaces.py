"""Namespaces and mounts: the outer jail of the zygote, and the jail of each slot inside it.

The outer jail has no network, no processes but its own, and a root file system that holds the
interpreter, the system's libraries and four device nodes, read-only. Each slot has its own
processes, its own System V IPC, its own `/proc` and an empty memory file system to write to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from qwq_env.sandbox.jail import syscalls
from qwq_env.sandbox.jail.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NOATIME,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
)

INNER_ID: Final = 1000
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
SETTINGS: Final = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
)
_NONE: Final[frozenset[int]] = frozenset()
_PASSWD: Final = f"user:x:{INNER_ID}:{INNER_ID}::/tmp:/bin/sh\n"
_INODES: Final = 4096
_HOST_NAME: Final = "sandbox"


def become(uid: int, keep: frozenset[int] = _NONE) -> None:
    """Turn from root into an ordinary user, keeping the capabilities named (none by default)."""
    if keep:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # A change of identity makes the process undumpable, and its own /proc files root's.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def kept_capabilities(config: dict[str, Any]) -> frozenset[int]:
    """What a slot of root's keeps where no namespace can show it the interpreter.

    An interpreter in a closed home stays readable; Landlock bounds what else would be, so that
    without Landlock nothing is kept.
    """
    alone = config["uid"] is not None and not config["namespaces"]
    return frozenset((syscalls.CAP_DAC_READ_SEARCH,)) if alone and config["landlock"] else _NONE


def enter_outer_jail(uid: int | None, readable: Iterable[str], scratch: str) -> None:
    """Leave the host's namespaces; children of this process are born into the new pid namespace.

    `uid` is the ordinary user to become first where this process is root: user id 0 of the host
    is exempt from limits even inside a user namespace. Raises OSError where the kernel, or a
    policy on top of it, does not allow it.
    """
    everything = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID
    everything |= CLONE_NEWUSER | CLONE_NEWCGROUP
    if uid is not None:
        # Root builds the tree, so that an interpreter in a closed home can still be shown.
        syscalls.unshare(CLONE_NEWNS)
        _build_root(readable, scratch)
        become(uid)
    outer_uid, outer_gid = os.getuid(), os.getgid()
    own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.unshare(everything)
    _map_identity(own, outer_uid, outer_gid)
    os.close(own)
    syscalls.name_host(_HOST_NAME)
    if uid is None:
        _build_root(readable, scratch)


def _map_identity(own: int, outer_uid: int, outer_gid: int) -> None:
    lines = (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {outer_uid} 1"),
        ("gid_map", f"{INNER_ID} {outer_gid} 1"),
    )
    for name, line in lines:
        descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=own)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def _outermost(paths: Iterable[str]) -> list[str]:
    """Drop what lies beneath another path of the list."""
    kept: list[str] = []
    for path in sorted(set(paths), key=len):
        if not any(Path(path).is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def _build_root(readable: Iterable[str], scratch: str) -> None:
    syscalls.mount("none", "/", "", MS_REC | MS_PRIVATE)
    links = {path: str(Path(path).readlink()) for path in SYSTEM if Path(path).is_symlink()}
    wanted = [path for path in (*SYSTEM, *SETTINGS, *DEVICES, *readable) if path not in links]
    # Opened first: the new root is mounted over /tmp, where an interpreter may live.
    sources = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC)
        for path in _outermost(wanted)
        if Path(path).exists()
    }
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    root = "/tmp" if Path("/tmp").is_dir() else "/mnt"
    syscalls.mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path, source in sources.items():
        _bind(source, root + path)
    for path, target in links.items():
        Path(root + path).symlink_to(target)
    for directory in ("/proc", "/tmp", "/dev", "/etc", scratch):
        Path(root + directory).mkdir(parents=True, exist_ok=True)
    Path(root + "/etc/passwd").write_text(_PASSWD)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path(f"{root}/dev/{name}").symlink_to(f"/proc/self/{target}")
    Path(f"{root}/dev/shm").symlink_to(scratch)
    os.chdir(root)
    syscalls.make_read_only(root)
    # The host's /proc stays beneath that of the slots: the kernel wants to see it unmasked
    # before it mounts another, and the zygote writes its children's identity maps there.
    syscalls.mount(f"/proc/self/fd/{proc}", f"{root}/proc", "", MS_BIND | MS_REC)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")
    for descriptor in (*sources.values(), proc):
        os.close(descriptor)


def _bind(source: int, target: str) -> None:
    place = Path(target)
    reached = Path(f"/proc/self/fd/{source}")
    if reached.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    syscalls.mount(str(reached), target, "", MS_BIND | MS_REC)


def enter_slot_jail(disk_mb: int, scratch: str) -> None:
    """Give this process, pid 1 of its namespace, its own mounts, IPC and user namespace.

    The user namespace comes last and is the slot's own, so that the limit on processes counts
    those of this slot only, and so that no capability in it reaches the mounts.
    """
    outside = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(CLONE_NEWNS | CLONE_NEWIPC)
    flags = MS_NOSUID | MS_NODEV
    try:
        syscalls.mount("proc", "/proc", "proc", flags | MS_NOEXEC | MS_RDONLY, "subset=pid")
    except OSError:
        # Containers mask parts of /proc, and then the kernel refuses a new one: show none.
        syscalls.mount("none", "/proc", "tmpfs", flags | MS_NOEXEC | MS_RDONLY, "size=4k")
    options = f"size={disk_mb}m,nr_inodes={_INODES},mode=700"
    syscalls.mount("tmpfs", scratch, "tmpfs", flags | MS_NOATIME, options)
    syscalls.unshare(CLONE_NEWUSER)
    _map_identity(outside, uid, gid)
    os.close(outside)
