"""The warm image: loads what programs will want, walls itself in, and forks slots on request."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from qwq_env.sandbox.jail import namespaces, rehearsal, slot, syscalls, wire
from qwq_env.sandbox.jail.removal import remove_tree
from qwq_env.sandbox.jail.syscalls import CLONE_NEWPID

# What most programs import; each is slow to find, and quick once it is there.
_USUAL: Final = (
    *("ast", "bisect", "collections", "copy", "csv", "dataclasses", "datetime", "decimal"),
    *("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8", "enum"),
    *("fractions", "functools", "hashlib", "heapq", "io", "itertools", "json", "linecache"),
    *("math", "operator", "os", "pprint", "random", "re", "statistics", "string", "sys"),
    *("textwrap", "threading", "time", "traceback", "types", "typing", "unicodedata", "warnings"),
)

ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""All that a program sees of an environment, with HOME and TMPDIR added."""


def warm_up(preload: Sequence[str], warm_up: Sequence[str]) -> None:
    """Import what can be imported, run what warms it, and freeze the result."""
    for name in (*_USUAL, *preload):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for program in warm_up:
        exec(program, {"__name__": "warm_up"})
    rehearsal.rehearse()
    gc.collect()
    gc.freeze()


def confine(config: dict[str, Any]) -> None:
    """Enter the outer jail, or what can be had of it at this level."""
    if config["namespaces"]:
        namespaces.enter_outer_jail(config["uid"], config["readable"], config["scratch"])
    elif config["uid"] is not None:
        namespaces.become(config["uid"], namespaces.kept_capabilities(config))


def serve(config: dict[str, Any], launcher: int) -> NoReturn:
    """Fork slots until the host closes the control socket."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if not config["namespaces"] and os.getppid() != launcher:
        os._exit(0)
    os.setsid()
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    # Here and not in each slot: to look at every name is to copy every page that holds one.
    for name in [name for name in sys.modules if name.split(".")[0] == "qwq_env"]:
        del sys.modules[name]
    control = socket.socket(fileno=config["control"])
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY) if config["namespaces"] else -1
    poll = select.poll()
    poll.register(control, select.POLLIN)
    wire.send(control, wire.READY)
    scratches: dict[int, str] = {}
    while True:
        ready = poll.poll(1000)
        _reap(scratches)
        if not ready:
            continue
        message, descriptors = wire.receive(control)
        if not message:
            _end(scratches)
        order = json.loads(message)
        scratch, pid = "", -1
        try:
            scratch = _scratch(config, order)
            pid = _fork(own_pids)
        except OSError:
            pass  # the host learns it by the end of the slot's sockets
        if pid == 0:
            control.close()
            slot.start(config | {"scratch": scratch}, order, descriptors)
        if pid > 0:
            scratches[pid] = "" if config["namespaces"] else scratch
        for descriptor in descriptors:
            os.close(descriptor)


def _fork(own_pids: int) -> int:
    if own_pids < 0:
        return syscalls.plain_fork()
    syscalls.unshare(CLONE_NEWPID)
    pid = -1
    try:
        pid = syscalls.plain_fork()
    finally:
        if pid:
            # The kernel makes no second namespace before the first choice is taken back.
            syscalls.setns(own_pids, CLONE_NEWPID)
    return pid


def _scratch(config: dict[str, Any], order: dict[str, Any]) -> str:
    if config["namespaces"]:
        return str(config["scratch"])
    place = Path(config["scratch"]) / str(order["slot"])
    place.mkdir(mode=0o700)
    return str(place)


def _reap(scratches: dict[int, str]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            if scratch := scratches.pop(pid, ""):
                remove_tree(scratch)


def _end(scratches: dict[int, str]) -> NoReturn:
    for pid in scratches:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while scratches:
        pid, _ = os.waitpid(-1, 0)
        if scratch := scratches.pop(pid, ""):
            remove_tree(scratch)
    os._exit(0)
