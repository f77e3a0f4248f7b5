"""A slot: confined once, for good, then one child per execution, of which nothing survives.

The next child is forked before it is wanted and waits for its job on the job socket, so that a
fork is not in the way of an answer. The slot itself runs small, boring code only, and never looks
at what a program wrote.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import gc
import io
import os
import random
import resource
import select
import signal
import socket
import stat
import sys
import time
import types
from pathlib import Path
from typing import Any, NoReturn

from qwq_env.sandbox.jail import child, landlock, namespaces, seccomp, syscalls, wire

_GENTLE_SECONDS = 0.015
_EASY_FILES = 64


def start(config: dict[str, Any], order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Become a slot: the first thing that runs in the process that the zygote forked."""
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, 100 + place)
    for place, target in enumerate(
        (wire.JOBS, wire.CONTROL, wire.STDOUT, wire.STDERR, wire.REPORT)
    ):
        os.dup2(100 + place, target, inheritable=target in (wire.STDOUT, wire.STDERR))
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.closerange(wire.CHANNEL, 4096)
    control = socket.socket(fileno=wire.CONTROL)
    try:
        _confine(config, order)
        _prepare(config, order)
    except (OSError, NotImplementedError) as error:
        wire.send(control, wire.BROKEN + str(error).encode())
        os._exit(1)
    wire.send(control, wire.READY)
    Slot(control, config).serve()


def _confine(config: dict[str, Any], order: dict[str, Any]) -> None:
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")
    if config["namespaces"]:
        namespaces.enter_slot_jail(order["disk_mb"], config["scratch"])
    os.umask(0o077)
    os.chdir(config["scratch"])
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.drop_capabilities(namespaces.kept_capabilities(config))
    if config["landlock"]:
        readable = ["/"]
        if not config["namespaces"]:
            readable = [*namespaces.SYSTEM, *namespaces.SETTINGS, *config["readable"]]
        landlock.restrict(readable, [config["scratch"], *namespaces.DEVICES])
    for limit in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
        resource.RLIMIT_RTPRIO,
        resource.RLIMIT_NICE,
    ):
        resource.setrlimit(limit, (0, 0))


def _prepare(config: dict[str, Any], order: dict[str, Any]) -> None:
    """Set up all that each child would otherwise set up for itself, then shut the filter."""
    os.environ["HOME"] = os.environ["TMPDIR"] = config["scratch"]
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    for name in [name for name in sys.modules if name.split(".")[0] == "qwq_env"]:
        del sys.modules[name]
    sys.modules["__main__"] = main
    sys.path.insert(0, config["scratch"])
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedReader(io.FileIO(0, "r", closefd=False)), encoding="utf-8", errors="replace"
    )
    for name, descriptor in (("stdout", wire.STDOUT), ("stderr", wire.STDERR)):
        stream = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=name == "stderr",
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    gc.collect()
    gc.freeze()
    if order["huge_pages"]:
        with contextlib.suppress(OSError):
            syscalls.collapse_heap()
    if config["seccomp"]:
        syscalls.install_filter(seccomp.for_slot())


class Slot:
    """The loop of a slot. `control` leads to the host; the jobs go to the children directly."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self._control = control
        self._config = config
        self._scratch = config["scratch"]
        self._untouched = _changed(self._scratch)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._image_bytes = _address_space()
        self._serial = 0
        self._lone_filter = b""
        if config["seccomp"] and not config["namespaces"]:
            self._lone_filter = seccomp.for_lone_child(may_signal=config["scoped"])

    def serve(self) -> NoReturn:
        """Run one child after another until one leaves the slot unfit, or the host hangs up."""
        while True:
            _reseed()
            pid = syscalls.plain_fork()
            if pid == 0:
                self._control.close()
                child.run(self._config, self._image_bytes, self._lone_filter)
            watch = os.pidfd_open(pid)
            self._poll.register(watch, select.POLLIN)
            reason = self._attend(pid, watch)
            _, status, usage = os.wait4(pid, 0)
            self._poll.unregister(watch)
            os.close(watch)
            reusable = self._wipe()
            done = wire.DONE.pack(
                self._serial,
                status,
                usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss * 1024,
                reason,
                reusable,
            )
            wire.send(self._control, done)
            self._serial += 1
            if not reusable:
                os._exit(0)

    def _attend(self, pid: int, watch: int) -> int:
        """Wait for the child's end, doing what the host asks meanwhile; return why it ended."""
        reason = wire.REASON_ENDED
        deadline: float | None = None
        allowance: float | None = None
        while True:
            timeout = None
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())
            elif allowance is not None:
                timeout = max(0.0, allowance - _cpu_seconds(pid))
            if timeout == 0.0:
                if deadline is None:
                    reason = wire.REASON_CPU
                    deadline = _interrupt(watch)
                    continue
                _kill(watch)
                return reason
            events = dict(self._poll.poll(None if timeout is None else timeout * 1000 + 1))
            if watch in events:
                return reason
            if wire.CONTROL in events:
                message, _ = wire.receive(self._control)
                if not message:
                    os._exit(0)
                order, serial, seconds = wire.ORDER.unpack(message)
                if serial != self._serial:
                    continue  # meant for a child that has ended meanwhile
                if order == wire.KILL:
                    _kill(watch)
                    return wire.REASON_KILLED
                if order == wire.STOP_GENTLY:
                    reason, deadline = wire.REASON_KILLED, _interrupt(watch)
                elif order == wire.INTERRUPT:
                    _interrupt(watch)
                    wire.send(self._control, wire.INTERRUPTED)
                elif order == wire.WATCH_CPU:
                    allowance = seconds

    def _wipe(self) -> bool:
        """End what the child left running and unlink what it wrote; whether all of it is gone."""
        with contextlib.suppress(ChildProcessError):
            while True:
                # As pid 1 this reaches the whole namespace and nothing outside it. Without a
                # namespace the filter forbids forks, so there is nothing to reach.
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    if not self._config["namespaces"]:
                        return False
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(-1, signal.SIGKILL)
                    os.waitpid(-1, 0)
        for descriptor in (wire.STDOUT, wire.STDERR, wire.REPORT):
            # These outlive the child, and so would what it set on them.
            fcntl.fcntl(descriptor, fcntl.F_SETFL, 0)
        if _changed(self._scratch) != self._untouched:
            return self._empty_scratch()
        return True

    def _empty_scratch(self) -> bool:
        try:
            os.chmod(self._scratch, 0o700)  # noqa: PTH101 -- as quick as it gets
            entries = os.listdir(self._scratch)  # noqa: PTH208
            if len(entries) > _EASY_FILES:
                return False
            for entry in entries:
                path = f"{self._scratch}/{entry}"
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    return False
                os.unlink(path)  # noqa: PTH108
        except OSError:
            return False
        self._untouched = _changed(self._scratch)
        return True


def _reseed() -> None:
    """A fork copies the state of every generator; no two programs may draw the same numbers."""
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))


def _changed(folder: str) -> int:
    return os.stat(folder).st_ctime_ns  # noqa: PTH116 -- once per execution, as quick as it gets


def _interrupt(watch: int) -> float:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(watch, signal.SIGINT)
    return time.monotonic() + _GENTLE_SECONDS


def _kill(watch: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(watch, signal.SIGKILL)


def _cpu_seconds(pid: int) -> float:
    # The kernel's name for "the CPU clock of that process", see clock_getcpuclockid(3).
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 512 << 20
    return pages * os.sysconf("SC_PAGE_SIZE")
