"""The host's end of the warm fork server: starting it clean, asking it for slots, ending it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from qwq_env.sandbox import warm
from qwq_env.sandbox.errors import SandboxUnavailable
from qwq_env.sandbox.jail import launcher, wire, zygote
from qwq_env.sandbox.jail.removal import remove_tree
from qwq_env.sandbox.levels import Plan

_START_SECONDS: Final = 120.0
_UNPRIVILEGED: Final = (64_321, 65_534)


class ForkServer:
    """One running fork server; `start` it, `request` slots, `close` it.

    The server is a new interpreter, executed (never forked from this process) with an empty
    environment and one descriptor. It ends when this process does, however this process ends.
    """

    def __init__(self, plan: Plan, preload: Sequence[str]) -> None:
        self.plan = plan
        self._preload = list(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers = itertools.count()
        self._folder: str | None = None
        self.uid: int | None = None
        """The user that programs run as, where this process is root."""

    async def start(self) -> None:
        """Start and wait until it is warm; raises `SandboxUnavailable` with what it said."""
        loop = asyncio.get_running_loop()
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)
        self._control = control
        try:
            self._process = await asyncio.to_thread(self._execute, theirs)
        except OSError as error:
            raise SandboxUnavailable(f"the fork server could not be executed: {error}") from error
        finally:
            theirs.close()
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer = await loop.sock_recv(control, 16)
        except (TimeoutError, OSError):
            answer = b""
        if answer != wire.READY:
            reason = await asyncio.to_thread(self._last_words)
            raise SandboxUnavailable(f"the fork server did not start: {reason}")

    def _execute(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        self.uid = uid = unprivileged_user()
        if not self.plan.namespaces:
            self._folder = tempfile.mkdtemp(prefix="qwq-sandbox-")
            if uid is not None:
                os.chown(self._folder, uid, uid)
        readable = interpreter_folders()
        config = {
            "host_pid": os.getpid(),
            "uid": uid,
            "preload": self._preload,
            "warm_up": warm.programs(self._preload),
            "readable": readable,
            "scratch": self._folder or scratch_folder(readable),
            "namespaces": self.plan.namespaces,
            "landlock": self.plan.landlock,
            "scoped": self.plan.scoped,
            "seccomp": self.plan.seccomp,
        }
        self._send(json.dumps(config).encode())
        command = [sys.executable, "-s", "-P", "-B", launcher.__file__, str(theirs.fileno())]
        return subprocess.Popen(
            command,
            env=zygote.ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            cwd="/",
        )

    def _last_words(self) -> str:
        process = self._process
        if process is None or process.stderr is None:
            return "it was not executed"
        process.kill()
        said = process.stderr.read(65_536).decode(errors="replace").strip()
        return said.splitlines()[-1] if said else f"exit code {process.wait()}"

    @property
    def pid(self) -> int | None:
        """The process id of the launcher; None before the start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it can still be asked for slots."""
        return self._process is not None and self._process.poll() is None

    def request(self, disk_mb: int, huge_pages: bool, descriptors: tuple[int, ...]) -> None:
        """Ask for a slot that uses these descriptors; raises OSError where the server is gone.

        They are the sockets for jobs and for control.
        """
        order = {"slot": next(self._numbers), "disk_mb": disk_mb, "huge_pages": huge_pages}
        self._send(json.dumps(order).encode(), descriptors)

    def _send(self, message: bytes, descriptors: tuple[int, ...] = ()) -> None:
        if self._control is None:
            raise BrokenPipeError("the fork server is not running")
        wire.send(self._control, message, descriptors)

    def close(self) -> None:
        """End the server and every slot; returns when all of it is gone. Blocks briefly."""
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        if self._folder is not None:
            remove_tree(self._folder)
            self._folder = None


def unprivileged_user() -> int | None:
    """The user that root becomes; None where this process is an ordinary user already."""
    if os.geteuid() != 0:
        return None
    mapped = [
        (int(first), int(count))
        for first, _, count in map(str.split, Path("/proc/self/uid_map").read_text().splitlines())
    ]
    for uid in _UNPRIVILEGED:
        if any(first <= uid < first + count for first, count in mapped):
            return uid
    return None


def interpreter_folders() -> list[str]:
    """The folders that hold this interpreter and its installed packages."""
    paths = sysconfig.get_paths()
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    folders |= {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]}
    return sorted(folders | {str(Path(folder).resolve()) for folder in folders})


def scratch_folder(readable: Sequence[str]) -> str:
    """Where a slot's own files go: `/tmp`, unless the interpreter lives there."""
    hidden = any(Path(path).is_relative_to("/tmp") for path in readable)
    return "/scratch" if hidden else "/tmp"
