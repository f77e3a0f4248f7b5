"""The canary: a small attack on everything that a level must withhold, run before it is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import Final

from qwq_env.sandbox.forkserver import unprivileged_user
from qwq_env.sandbox.handle import SlotLost
from qwq_env.sandbox.jail import wire, zygote
from qwq_env.sandbox.pool import SlotPool
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.verdict import job_of, judge

_LIMITS: Final = Limits(cpu_seconds=5, wall_seconds=20)

_PROGRAM: Final = """
import fcntl, json, os, signal, socket, sys
path, port, name, host, environment = json.loads(sys.argv[1])
found = []
def attack(what, action):
    try:
        if action() is not False:
            found.append(what)
    except (OSError, ValueError, AttributeError):
        pass
def connect(family, address):
    with socket.socket(family) as client:
        client.settimeout(1)
        client.connect(address)
def kill_the_slot():
    os.kill(os.getppid(), 0)
    return os.getppid() != 1
def other_environment():
    own = ("HOME", "TMPDIR")
    return {name: os.environ[name] for name in os.environ if name not in own} != environment
def own_by_a_descriptor():
    reading, _ = os.pipe()
    fcntl.fcntl(reading, 10, signal.SIGKILL)
    fcntl.fcntl(reading, fcntl.F_SETOWN, host)
def open_to_cut():
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))
attack("reads a file of the host", lambda: open(path).read())
# It may seem to succeed, on a file system of the sandbox's own: the host looks at its files.
attack("", lambda: open(path, "a").write("x"))
attack("", lambda: open(path + ".new", "w").write("x"))
attack("", lambda: os.truncate(path, 0))
attack("", open_to_cut)
attack("", lambda: os.chmod(path, 0o4777))
attack("", lambda: os.utime(path, (0, 0)))
attack("reaches the loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", port)))
attack("reaches an abstract socket", lambda: connect(socket.AF_UNIX, "\\0" + name))
attack("may signal its slot", kill_the_slot)
attack("may signal the host", lambda: os.kill(host, 0))
attack("sees the host's environment", other_environment)
attack("runs as root", lambda: os.getuid() == 0)
attack("reads the slot's memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb"))
attack("makes an inet socket", lambda: socket.socket())
attack("has the kernel send signals to the host", own_by_a_descriptor)
with open("canary", "w") as scratch:
    scratch.write("x")
print(json.dumps(sorted(set(found) - {""})))
"""


async def leaks(pool: SlotPool) -> list[str]:
    """Return what the canary got hold of; an empty list means that the level holds."""
    secret = secrets.token_hex(16)
    with (
        tempfile.NamedTemporaryFile("w", prefix="qwq-canary-", delete=False) as file,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        Path(file.name).chmod(0o666)
        if (uid := unprivileged_user()) is not None:
            # As an ordinary user's sandbox has it: the file belongs to whom programs run as.
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), uid, uid)
        file.write(secret)
        file.flush()
        unix.bind("\0" + secret)
        unix.listen()
        path, new = Path(file.name), Path(file.name + ".new")
        try:
            before = path.stat()
            found = await _attack(pool, file.name, tcp.getsockname()[1], secret)
            after = path.stat()
            if path.read_text() != secret:
                found.append("writes a file of the host")
            if (after.st_mode, after.st_mtime_ns) != (before.st_mode, before.st_mtime_ns):
                found.append("changes mode or times of a file of the host")
            if new.exists():
                found.append("makes a file in a folder of the host")
            return found
        finally:
            path.unlink()
            new.unlink(missing_ok=True)


async def _attack(pool: SlotPool, path: str, port: int, name: str) -> list[str]:
    target = json.dumps([path, port, name, os.getpid(), zygote.ENVIRONMENT])
    slot = await pool.take()
    try:
        ended = await slot.start(
            job_of(wire.RUN, _LIMITS), _PROGRAM.encode(), b"", None, _LIMITS, argv=(target,)
        )
    except SlotLost:
        return ["the slot was lost under the canary"]
    except asyncio.CancelledError:
        slot.destroy()
        raise
    finally:
        pool.give(slot)
    result = await judge(ended, _LIMITS)
    with contextlib.suppress(ValueError):
        found = json.loads(result.stdout)
        if result.ok and isinstance(found, list):
            return [str(leak) for leak in found]
    last = result.stderr.strip().splitlines()[-1:] or [result.status]
    return [f"the canary did not run: {last[0]}"]
