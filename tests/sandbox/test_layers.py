"""Each layer of the sandbox with the others left out: none covers for another that is broken."""

import ast
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from pathlib import Path
from textwrap import indent

import psutil
import pytest

from qwq_env.sandbox import Limits, LocalSandbox
from qwq_env.sandbox.forkserver import unprivileged_user
from qwq_env.sandbox.levels import Plan, plans

from .kernel import kernel, require

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING = Plan("D", namespaces=False, landlock=False, scoped=False, seccomp=False)
NAMESPACES = Plan("D", namespaces=True, landlock=False, scoped=False, seccomp=False)
LANDLOCK = Plan("D", namespaces=False, landlock=True, scoped=False, seccomp=False)
LANDLOCK_INSIDE = Plan("D", namespaces=True, landlock=True, scoped=False, seccomp=False)
SECCOMP = Plan("D", namespaces=False, landlock=False, scoped=False, seccomp=True)
SECCOMP_INSIDE = Plan("D", namespaces=True, landlock=False, scoped=False, seccomp=True)
SCOPES = Plan("D", namespaces=False, landlock=False, scoped=True, seccomp=True)

ATTEMPT = """
import ctypes, errno, fcntl, os, resource, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
PORT, BOX, FILE = {}
def call(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)
def attempt():
{}
try:
    attempt()
    print("done")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.fixture(scope="module")
def host():
    """What a program would like to reach: the port of a service, a Unix socket, a file."""
    with contextlib.ExitStack() as undo:
        # Not in pytest's folder, which only its owner may enter.
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        file = folder / "secret"
        file.write_text("secret")
        file.chmod(0o666)
        yield from _reached(str(file))


def _reached(file):
    with socket.create_server(("127.0.0.1", 0)) as service, socket.socket(socket.AF_UNIX) as box:
        box.bind(f"\0qwq-layers-{os.getpid()}")
        box.listen()
        yield service.getsockname()[1], box.getsockname(), file


async def outcome(sandbox, attempt, host=(None, None, None)):
    """What an attempt comes to: `done`, or the name of the error."""
    result = await sandbox.run(ATTEMPT.format(host, indent(attempt, "    ")))
    assert result.ok, result
    return result.stdout.strip()


DIAL = 'socket.create_connection(("127.0.0.1", PORT), 5).close()'
KNOCK = "socket.socket(socket.AF_UNIX).connect(BOX)"
READ = "open(FILE).read()"
WRITE = 'open(FILE, "a").close()'
CUT = "os.truncate(FILE, 0)"
LISTEN = 'socket.create_server(("", 0)).close()'
MOUNT = """
if libc.unshare(0x10020000):
    os._exit(9)
call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
"""


@pytest.mark.parametrize("attempt", [DIAL, KNOCK, READ, WRITE, CUT])
async def test_without_any_layer_the_host_is_reached(started, host, attempt):
    """The control: what the layers are seen to refuse is refused by nothing else."""
    assert await outcome(await started(NOTHING), attempt, host) == "done"


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [(DIAL, "ENETUNREACH"), (KNOCK, "ECONNREFUSED"), (READ, "ENOENT"), (WRITE, "ENOENT")],
)
async def test_namespaces_alone_hide_the_host(started, host, attempt, refusal):
    assert await outcome(await started(NAMESPACES), attempt, host) == refusal


KINDS = ("mnt", "ipc", "pid", "user", "net", "uts", "cgroup")
SPACES = f"import os\n[os.readlink(f'/proc/self/ns/{{kind}}') for kind in {KINDS}]"


async def test_a_slot_is_in_no_namespace_of_the_host_s_nor_of_another_slot_s(started):
    sandbox = await started(NAMESPACES)
    if not kernel().proc:
        pytest.skip("no /proc in the sandbox, to read it from")
    own = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in KINDS]
    one = ast.literal_eval((await sandbox.run(SPACES)).value)
    async with await sandbox.open_session() as session:
        other = ast.literal_eval((await session.run(SPACES)).value)

    assert not set(own) & {*one, *other}
    # Slots meet in an empty network, under one host name.
    assert set(one) & set(other) == set(one[4:])


async def test_namespaces_alone_leave_nothing_to_write_to_but_the_scratch_folder(started):
    code = f"""
import os
places = ["/", "/usr", "/etc", "/proc", "/dev", "/dev/null", "/dev/zero", {sys.prefix!r}, "."]
[place for place in places if not os.statvfs(place).f_flag & os.ST_RDONLY]
"""

    assert (await (await started(NAMESPACES)).run(code)).value == "['.']"


@pytest.mark.parametrize(
    ("attempt", "refusal", "since"),
    [
        (READ, "EACCES", 1),
        (WRITE, "EACCES", 1),
        ('os.listdir("/")', "EACCES", 1),
        ('os.mkfifo(FILE + ".new")', "EACCES", 1),
        (CUT, "EACCES", 3),
        (LISTEN, "EACCES", 4),
        (DIAL, "EACCES", 4),
        (KNOCK, "EPERM", 6),
    ],
)
async def test_landlock_alone_shuts_files_and_ports(started, host, attempt, refusal, since):
    if kernel().landlock < since:
        pytest.skip(f"this kernel's Landlock is older than version {since}")

    assert await outcome(await started(LANDLOCK), attempt, host) == refusal


async def test_a_program_of_its_own_namespaces_mounts_where_landlock_is_missing(started):
    """The control for the next test."""
    assert await outcome(await started(NAMESPACES), MOUNT) == "done"
    assert await outcome(await started(NAMESPACES), LISTEN) == "done"


async def test_landlock_holds_inside_namespaces(started):
    sandbox = await started(LANDLOCK_INSIDE)

    assert await outcome(sandbox, MOUNT) == "EPERM"
    if kernel().landlock >= 4:
        assert await outcome(sandbox, LISTEN) == "EACCES"


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        ("socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)", "done"),
        ("socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)", "EPROTONOSUPPORT"),
        ("socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)", "EPROTONOSUPPORT"),
        (DIAL, "EAFNOSUPPORT"),
        (KNOCK, "EAFNOSUPPORT"),
        ("os.memfd_create('hidden')", "ENOSYS"),
        ("call('shmget', 0, 4096, 0o1600)", "EPERM"),
        ("call('unshare', 0x10000000)", "EPERM"),
        ("call('ptrace', 0, 0, 0, 0)", "EPERM"),
        ("call('mount', b'none', b'/tmp', b'tmpfs', 0, None)", "EPERM"),
        ("call('prctl', 1, 0, 0, 0, 0)", "EINVAL"),
        ("call('prctl', 4, 1, 0, 0, 0)", "EINVAL"),
        ("resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (9, 9))", "EPERM"),
        ("fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)", "EPERM"),
        ("fcntl.fcntl(1, fcntl.F_SETOWN, os.getpid())", "EPERM"),
        ("fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY | os.O_ASYNC)", "EPERM"),
    ],
)
@pytest.mark.parametrize("plan", [SECCOMP, SECCOMP_INSIDE], ids=["alone", "inside"])
async def test_seccomp_alone_refuses_calls(started, host, plan, attempt, refusal):
    assert await outcome(await started(plan), attempt, host) == refusal


@pytest.mark.parametrize("attempt", ["os.fork()", "os.kill(os.getppid(), 0)"])
async def test_where_no_namespace_surrounds_a_program_it_stands_alone(started, attempt):
    assert await outcome(await started(SECCOMP), attempt) == "EPERM"


async def test_scopes_alone_keep_signals_inside(started):
    sandbox = await started(SCOPES)

    assert await outcome(sandbox, "os.kill(os.getppid(), 0)") == "EPERM"
    assert await outcome(sandbox, "os.kill(os.getpid(), 0)") == "done"


PRIVILEGES = """
import ctypes
libc = ctypes.CDLL(None)
header, halves = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
libc.capget(header, halves)
[list(halves), os.getuid(), libc.prctl(39, 0, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0)]
"""


@pytest.mark.parametrize("plan", [NAMESPACES, *plans()], ids=str)
async def test_no_privilege_is_left(started, plan):
    """Capabilities (effective, permitted, inheritable; twice), identity, "no new privileges"."""
    uid = 1000 if plan.namespaces else unprivileged_user() or os.getuid()
    # One reads what root's closed home hides, where only Landlock bounds what else it would.
    one = 4 if os.geteuid() == 0 and plan.landlock and not plan.namespaces else 0

    result = await (await started(plan)).run("import os" + PRIVILEGES)

    assert result.value == repr([[one, one, 0, 0, 0, 0], uid, 1, 0])


async def test_limits_that_are_the_same_for_all_hold_without_any_layer(started):
    code = """
from resource import *
[getrlimit(kind) for kind in (RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_NOFILE)]
"""

    result = await (await started(NOTHING)).run(code)

    assert result.value == repr([(0, 0), (0, 0), (0, 0), (256, 256)])


@pytest.mark.parametrize("killed", ["launcher", "zygote", "slot"])
async def test_whoever_loses_its_parent_dies_by_itself(killed):
    """No pid namespace sees to it here, and the host still holds the other ends of all lines."""
    require(SECCOMP)
    async with LocalSandbox(
        slots=1, preload=(), plan=SECCOMP, allow_unsafe=True, cgroup="off"
    ) as sandbox:
        await sandbox.start()
        [slot] = map(psutil.Process, sandbox.slot_pids)
        running = asyncio.create_task(sandbox.run("while True: pass", limits=Limits()))
        while not (children := slot.children()) or children[0].cpu_times().user == 0:
            await asyncio.sleep(0.01)
        launcher = psutil.Process(sandbox.server_pid)
        line = {"launcher": launcher, "zygote": slot.parent(), "slot": slot, "child": children[0]}
        heirs = list(line.values())[list(line).index(killed) + 1 :]
        line[killed].kill()
        alive = (await asyncio.to_thread(psutil.wait_procs, heirs, 10))[1]
        running.cancel()
        await asyncio.wait([running])

    assert alive == []
