"""`python battery.py FOLDER --level A --cgroup off`: run hostile programs, print what they did.

A program of its own, so that a test can run it as another user. Each program is followed by an
honest one. One JSON object on stdout: `{"level": ..., "ran": N, "failures": {name: [what, ...]}}`.

A folder holds programs with a head of comments (`# mode: exec`, `# expect: timeout killed`,
`# then: ...`), or a `manifest.json` that says the same.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from qwq_env.errors import InfrastructureError
from qwq_env.sandbox import ExecutionResult, Limits, LocalSandbox
from qwq_env.sandbox.levels import Plan, plans

SECRET = "CANARY-SECRET"
LIMITS = Limits(cpu_seconds=1.0, wall_seconds=1.0, memory_mb=256, processes=32, file_mb=32)
PATIENT = Limits(cpu_seconds=6.0, wall_seconds=20.0, memory_mb=256, processes=32, file_mb=32)
ADD_TESTS = [([2, 3], 5), ([-1, 1], 0), ([10, 20], 30), ([7, 8], 15)]
HONEST = "print(sum(range(10)))\n'x' * 6000"
SLOTS = 2
SETTLING_SECONDS = 60
HANGING_SECONDS = 60


@dataclass
class Program:
    """One hostile program and what may become of it."""

    name: str
    code: bytes
    mode: str = "exec"
    expect: list[str] = field(default_factory=list)
    second: str = ""
    second_must_not_contain: str = ""


def load(folder: Path) -> list[Program]:
    manifest = folder / "manifest.json"
    if manifest.exists():
        return [
            Program(
                entry["name"],
                (folder / entry["file"]).read_bytes(),
                entry["mode"],
                entry["expect_status"],
                entry.get("second", ""),
                entry.get("second_must_not_contain", ""),
            )
            for entry in json.loads(manifest.read_text())["programs"]
        ]
    return [_from_head(path) for path in sorted(folder.glob("*.py"))]


def _from_head(path: Path) -> Program:
    program = Program(path.stem, path.read_bytes())
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.removeprefix("# ").partition(": ")
        if not line.startswith("# "):
            break
        if key == "mode":
            program.mode = value
        elif key == "expect":
            program.expect = value.split()
        elif key == "then":
            program.second, program.second_must_not_contain = value, "LEFT BEHIND"
    return program


class Canaries:
    """Secrets, services and files of a trainer, which no program may reach or change."""

    def __init__(self) -> None:
        self.connections = 0
        # The places that the programs know are fixed, so that only one battery can run at a time.
        self._lock = os.open("/tmp/qwq-battery.lock", os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(OSError):
            os.fchmod(self._lock, 0o666)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.home = Path(tempfile.mkdtemp(prefix="qwq-battery-"))
        self.home.chmod(0o755)
        os.environ["HOME"] = str(self.home)
        os.environ["SBX_SECRET"] = f"{SECRET}-ENV"
        self.files = {
            self.home / ".ssh" / "id_rsa": f"{SECRET}-SSH",
            Path("/tmp/other_episode/secret.txt"): f"{SECRET}-EPISODE",
            Path("/tmp/other_episode/key"): f"{SECRET}-KEY",
        }
        for path, text in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._looks = self._look()
        self.scratch = self.home / "scratch"
        self.scratch.mkdir()
        self.scratch.chmod(0o755)
        tempfile.tempdir = str(self.scratch)
        self.log = self.home / "canary_parent_log"
        self._descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.set_inheritable(self._descriptor, True)
        self._servers: list[asyncio.AbstractServer] = []
        self._letter_boxes: list[socket.socket] = []

    async def listen(self) -> None:
        def connected(_reader: object, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            writer.close()

        with contextlib.suppress(OSError):
            self._servers.append(await asyncio.start_server(connected, "127.0.0.1", 45999))
        for address in ("\0sbx_canary_letters", "/tmp/sbx_canary_letters.sock"):
            box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._letter_boxes.append(box)
            with contextlib.suppress(OSError):
                box.bind(address)
        for path in ("\0sbx_canary", "/tmp/sbx_canary.sock"):
            server = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):
                server.bind(path)
                self._servers.append(await asyncio.start_unix_server(connected, sock=server))

    def _look(self) -> dict[Path, tuple[int, int, int]]:
        """Mode, owner and time of each file and of its folder."""
        places = {place for path in self.files for place in (path, path.parent)}
        looks = {place: place.stat() for place in places}
        return {place: (s.st_mode, s.st_uid, s.st_mtime_ns) for place, s in looks.items()}

    def touched(self) -> list[str]:
        found = [f"{path} changed" for path, text in self.files.items() if path.read_text() != text]
        found += [
            f"{place} looks {look}, before {self._looks[place]}"
            for place, look in self._look().items()
            if look != self._looks[place]
        ]
        for box in self._letter_boxes:
            with contextlib.suppress(BlockingIOError):
                found.append(f"a letter came: {box.recv(100)!r}")
        if self.connections:
            found.append(f"{self.connections} connections")
        if self.log.read_text():
            found.append("the parent's log was written to")
        found += [f"{path} on the host" for path in Path("/tmp").glob("pwned*")]
        found += [
            f"{path} on the host"
            for path in (Path.home() / "left_behind", Path("/tmp/left_behind"))
            if path.exists()
        ]
        return found

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for box in self._letter_boxes:
            box.close()
        os.close(self._descriptor)
        for path in ("/tmp/sbx_canary.sock", "/tmp/sbx_canary_letters.sock"):
            Path(path).unlink(missing_ok=True)
        for path in self.files:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in self.files}:
            folder.rmdir()
        self.log.unlink()
        shutil.rmtree(self.home, ignore_errors=True)


def descendants(root: int) -> list[int]:
    """All processes below `root`, by /proc."""
    found, frontier = [], [root]
    while frontier:
        frontier = [child for pid in frontier for child in children(pid)]
        found += frontier
    return found


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


async def processes_settle() -> list[str]:
    """Wait until there are no more processes than launcher, zygote, slots and waiting children."""
    allowed = 2 + 2 * SLOTS
    end = time.monotonic() + SETTLING_SECONDS
    while time.monotonic() < end:
        count = len(descendants(os.getpid()))
        if count <= allowed:
            return []
        await asyncio.sleep(0.02)
    return [f"{count} processes live, {allowed} are ours"]


def same(value: object, expected: object) -> bool:
    return type(value) is type(expected) and value == expected


async def attempt(sandbox: LocalSandbox, program: Program) -> list[str]:
    """Play a program. One that only ran out of time on a busy machine gets more, once."""
    found = await play(sandbox, program, LIMITS)
    if any(f.startswith(("status timeout", "status fail", "took ")) for f in found):
        found = await play(sandbox, program, PATIENT)
    return found


async def play(sandbox: LocalSandbox, program: Program, limits: Limits) -> list[str]:
    found = []
    began = time.monotonic()
    if program.mode == "grade":
        results = await sandbox.call(
            program.code, "add", [given for given, _ in ADD_TESTS], limits=limits
        )
        passed = all(
            result.ok and same(result.value, expected)
            for result, (_, expected) in zip(results, ADD_TESTS, strict=True)
        )
        status, output = ("pass" if passed else "fail"), ""
        allowed = (limits.wall_seconds + 2) * (len(ADD_TESTS) + 1)
    else:
        result = await _execute(sandbox, program, limits)
        status, output = result.status, result.stdout + result.stderr
        allowed = limits.wall_seconds + 2
        if len(result.stdout) > limits.output_bytes:
            found.append("more output than the limit")
    # The given manifest has no word for "stopped because of its output".
    if status not in program.expect and not (status == "output" and "killed" in program.expect):
        found.append(f"status {status}, expected {program.expect}: {output[-200:]}")
    if time.monotonic() - began > allowed:
        found.append(f"took {time.monotonic() - began:.1f} s")
    found += [word for word in ("PWNED", SECRET) if word in output]
    if "PWNED" in output:
        found.append(output[:500])
    if program.second:
        for _ in range(SLOTS + 1):
            second = await sandbox.run(program.second)
            if program.second_must_not_contain in second.stdout:
                found.append("something was left behind")
            if not second.ok:
                found.append(f"the second program: {second}")
    for _ in range(2):
        honest = await asyncio.gather(*(sandbox.run(HONEST) for _ in range(SLOTS)))
        found += [f"the next honest program: {r}" for r in honest if not _is_right(r)]
    return found


def _is_right(r: ExecutionResult) -> bool:
    return r.ok and (r.stdout, r.stderr, r.value) == ("45\n", "", repr("x" * 6000))


async def _execute(sandbox: LocalSandbox, program: Program, limits: Limits) -> ExecutionResult:
    if program.mode != "session":
        return await sandbox.run(program.code, limits=limits)
    async with (
        asyncio.timeout(HANGING_SECONDS),
        await sandbox.open_session(limits=limits) as session,
    ):
        result = await session.run(program.code)
        await session.run("print('what it left may write here')")
        return result


def plan_of(name: str) -> Plan:
    """The plan that has just the layers of `name`, as in `landlock-seccomp-limits`."""
    for plan in plans():
        if "-".join(plan.layers) == name:
            return plan
    raise SystemExit(f"{name} cannot be had here")


async def main(arguments: argparse.Namespace) -> dict[str, object]:
    canaries = Canaries()
    await canaries.listen()
    failures = {}
    programs = [p for p in load(arguments.folder) if arguments.only in p.name]
    try:
        async with LocalSandbox(
            slots=SLOTS,
            preload=("numpy", "sympy") if arguments.preload else (),
            level=None if arguments.plan else arguments.level,
            plan=plan_of(arguments.plan) if arguments.plan else None,
            cgroup=arguments.cgroup,
            allow_unsafe=True,
        ) as sandbox:
            await sandbox.start()
            level = sandbox.level
            for program in programs:
                try:
                    found = await attempt(sandbox, program)
                except (InfrastructureError, TimeoutError) as error:
                    found = [f"undecided: {error!r}"]
                found += await processes_settle()
                found += canaries.touched()
                if found:
                    failures[program.name] = found
        left = [f"processes {found} live" for found in [descendants(os.getpid())] if found]
        left += [f"{path} is left" for path in canaries.scratch.iterdir()]
        if left:
            failures["after the end"] = left
    finally:
        canaries.close()
    return {"level": level, "ran": len(programs), "failures": failures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--level", default="A")
    parser.add_argument("--plan", default="", help="just these layers, instead of a level's best")
    parser.add_argument("--cgroup", default="off")
    parser.add_argument("--only", default="")
    parser.add_argument("--preload", action="store_true")
    json.dump(asyncio.run(main(parser.parse_args())), sys.stdout)
