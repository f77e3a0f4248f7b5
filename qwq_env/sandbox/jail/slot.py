"""A slot: confined once, for good, then one child per execution, of which nothing survives.

The next child is forked before it is wanted and waits for its job on the job socket, so that a
fork is not in the way of an answer. The slot itself runs small, boring code only, and never looks
at what a program wrote.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import random
import resource
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

from qwq_env.sandbox.jail import child, landlock, namespaces, program, seccomp, syscalls, wire
from qwq_env.sandbox.jail.guard import Guard
from qwq_env.sandbox.jail.scratch import Scratch


def start(config: dict[str, Any], order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Become a slot: the first thing that runs in the process that the zygote forked."""
    jobs, control_end = (os.dup2(descriptor, 100 + descriptor) for descriptor in descriptors)
    os.dup2(jobs, wire.JOBS, inheritable=False)
    os.dup2(control_end, wire.CONTROL, inheritable=False)
    # What a child's streams are made of; each child puts pipes of its own in these places.
    _, writer = os.pipe()
    for target in (wire.STDOUT, wire.STDERR, wire.REPORT):
        os.dup2(writer, target, inheritable=target != wire.REPORT)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.closerange(wire.CHANNEL, 4096)
    control = socket.socket(fileno=wire.CONTROL)
    image_bytes = _address_space()
    try:
        _confine(config, order)
        _prepare(config, order)
    except (OSError, NotImplementedError) as error:
        wire.send(control, wire.BROKEN + str(error).encode())
        os._exit(1)
    wire.send(control, wire.READY)
    if not wire.receive(control)[0]:
        os._exit(0)
    # The host has put this process where its children are to be born (its control group).
    Slot(control, config, order["disk_mb"], image_bytes).serve()


def _confine(config: dict[str, Any], order: dict[str, Any]) -> None:
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            # As an interpreter starts: what it ignores shows as an OSError instead.
            ignored = number in (signal.SIGPIPE, signal.SIGXFSZ)
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    # A signal to the process group passes the walls of a pid namespace.
    os.setsid()
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
    for limit, bound in child.limits_for_all(lone=_is_lone(config)):
        ceiling = resource.getrlimit(limit)[1]
        most = bound if ceiling == resource.RLIM_INFINITY else min(bound, ceiling)
        resource.setrlimit(limit, (most, most))


def _prepare(config: dict[str, Any], order: dict[str, Any]) -> None:
    """Set up all that each child would otherwise set up for itself, then shut the filter."""
    os.environ["HOME"] = os.environ["TMPDIR"] = config["scratch"]
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    sys.path.insert(0, config["scratch"])
    sys.argv = ["program.py"]
    program.open_stdin()
    program.open_stream("stdout")
    program.open_stream("stderr")
    # For the children; here it finds no frame of a program, and does nothing.
    signal.signal(signal.SIGINT, child.interrupted)
    gc.freeze()
    if order["huge_pages"]:
        with contextlib.suppress(OSError):
            syscalls.collapse_heap()
    if config["seccomp"]:
        syscalls.install_filter(seccomp.for_slot())


class Slot:
    """The loop of a slot. `control` leads to the host; the jobs go to the children directly."""

    def __init__(
        self, control: socket.socket, config: dict[str, Any], disk_mb: int, image_bytes: int
    ) -> None:
        self._control = control
        self._has_namespaces = config["namespaces"]
        folder = config["scratch"]
        self._scratch = Scratch(folder)
        self._guard = Guard(control, None if self._has_namespaces else folder, disk_mb << 20)
        self._cradle = child.Cradle(
            jobs=socket.socket(fileno=wire.JOBS),
            inbox=bytearray(wire.JOB_BYTES),
            names=sys.modules["__main__"].__dict__,
            image_bytes=image_bytes,
            ceilings=child.hard_limits(),
            scoped=config["scoped"],
            lone_filter=_lone_filter(config) if _is_lone(config) else b"",
        )

    def serve(self) -> NoReturn:
        """Run one child after another until one leaves the slot unfit, or the host hangs up.

        What is written here between two forks is copied each time, so this does little.
        """
        serial, before = 0, 0.0
        while True:
            _reseed()
            pid = syscalls.plain_fork()
            if pid == 0:
                child.run(self._cradle)
            self._guard.wait(serial, pid)
            _, status, usage = os.wait4(pid, 0)
            reusable = self._wipe()
            # All of its children are dead and waited for, if need be by this process.
            so_far = _cpu_of_children()
            cpu, before = so_far - before, so_far
            peak = usage.ru_maxrss * 1024
            self._control.send(wire.DONE.pack(serial, status, cpu, peak, reusable))
            serial += 1
            if not reusable:
                os._exit(0)

    def _wipe(self) -> bool:
        """End what the child left running and unlink what it wrote; whether all of it is gone."""
        while (pid := syscalls.reap(os.WNOHANG)) >= 0:
            # As pid 1 this reaches the whole namespace and nothing outside it. Without a
            # namespace the filter forbids forks, so there is nothing to reach.
            if pid == 0:
                if not self._has_namespaces:
                    return False
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
                syscalls.reap(0)
        return self._scratch.wipe()


def _is_lone(config: dict[str, Any]) -> bool:
    """Whether a child stands alone: nothing but a filter bounds whom it reaches."""
    return bool(config["seccomp"] and not config["namespaces"])


def _lone_filter(config: dict[str, Any]) -> bytes:
    may_truncate = not config["landlock"] or landlock.abi() >= landlock.TRUNCATE_ABI
    return seccomp.for_lone_child(may_signal=config["scoped"], may_truncate=may_truncate)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reseed() -> None:
    """A fork copies the state of every generator; no two programs may draw the same numbers."""
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 512 << 20
    return pages * os.sysconf("SC_PAGE_SIZE")
