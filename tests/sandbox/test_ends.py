"""What a program does to the ends of the lines that lead to the host: none of it lasts."""

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import time

import pytest

from qwq_env.sandbox import Limits, LocalSandbox, SandboxUnavailable
from qwq_env.sandbox.stream import Stream

pytestmark = pytest.mark.asyncio(loop_scope="session")

PACKETS = """
import fcntl, os
for descriptor in (1, 5):
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_WRONLY | os.O_DIRECT)
    for word in (b"one ", b"two ", b"three "):
        os.write(descriptor, word)
os._exit(0)
"""

EAT = """
import os
for descriptor in range(1, 7):
    try:
        eaten = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK)
        os.read(eaten, 100)
    except OSError:
        pass
os._exit(3)
"""

FLOOD_AND_ANSWER = """
import os, struct, sys, time
time.sleep(0.05)  # so that the host listens, and then is held
os.write(1, b"x" * 60_000)
frame = sys._getframe()
while "nonce" not in frame.f_locals:
    frame = frame.f_back
body = struct.pack("=16siq", frame.f_locals["nonce"], 0, 0) + struct.pack("=ii", -1, -1)
os.write(6, struct.pack("=I", len(body)) + body)
os._exit(0)
"""

TALK = """
import os
if os.fork() == 0:
    while True:
        os.write(6, {!r})
"""


async def test_packets_in_a_pipe_are_not_left_to_the_next():
    async with LocalSandbox(slots=1, preload=(), level="D", allow_unsafe=True) as sandbox:
        await sandbox.run(PACKETS)
        following = [await sandbox.run(f"print({number})\n{number}") for number in range(3)]

    assert [result.stdout for result in following] == ["0\n", "1\n", "2\n"]
    assert [result.value for result in following] == ["0", "1", "2"]


async def test_no_two_programs_share_a_stream():
    code = "import os\n[os.fstat(stream).st_ino for stream in (0, 1, 2, 5)]"
    async with LocalSandbox(slots=1, preload=(), allow_unsafe=True) as sandbox:
        results = [await sandbox.run(code) for _ in range(3)]

    assert len({stream for result in results for stream in json.loads(result.value)}) == 12


async def test_pipes_that_the_kernel_makes_narrow_hold_nothing_up(bare, monkeypatch):
    """As those of a user whose programs have used up the memory for pipes."""

    def narrow(self, name, limit):
        wide(self, name, limit)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)

    wide = Stream.__init__
    monkeypatch.setattr(Stream, "__init__", narrow)
    code = "print('o' * 60_000)\nimport sys\nprint('e' * 60_000, file=sys.stderr)\n'é€' * 8000"
    result = await bare.run(code)

    assert (result.status, len(result.stdout), len(result.stderr)) == ("ok", 60_001, 60_001)
    assert result.value == repr("é€" * 8000)[:8192]


async def test_streams_that_are_shut_early_keep_nobody_busy(bare):
    spent = time.process_time()
    result = await bare.run("import os, time\nfor d in (1, 2, 5): os.close(d)\ntime.sleep(1)")

    assert result.status == "ok"
    assert time.process_time() - spent < 0.5


async def test_no_program_can_make_its_end_look_like_the_sandbox_s(bare):
    once = await bare.run(EAT)
    [called] = await bare.call(EAT + "\ndef f():\n    pass", "f", [[]])
    session = await bare.open_session()
    stepped = await session.run(EAT)
    await session.aclose()

    assert (once.status, once.exit_code) == ("error", 3)
    assert called.status == "error"
    assert (stepped.status, stepped.state_lost) == ("error", True)


async def test_a_flood_that_is_seen_after_the_end_is_waited_for_in_vain(bare):
    loop = asyncio.get_running_loop()
    session = await bare.open_session(limits=Limits(output_bytes=1000))
    busy = True

    def hold_the_loop():
        time.sleep(0.03)
        if busy:
            loop.call_later(0.0005, hold_the_loop)

    loop.call_soon(hold_the_loop)
    async with asyncio.timeout(60):
        for _ in range(5):
            result = await session.run(FLOOD_AND_ANSWER)
            assert len(result.stdout) <= 1000
    busy = False
    await session.aclose()


@pytest.mark.parametrize("talk", [b"\0\0\0\0", b"\x04\0\0\0junk", b"\xff" * 100])
async def test_a_session_that_talks_unasked_is_ended(bare, talk):
    session = await bare.open_session()
    other = await bare.open_session()
    await session.run(TALK.format(talk * 500))
    async with asyncio.timeout(60):
        while not (await session.run("1")).state_lost:
            await asyncio.sleep(0.01)
    answer = await other.run("1 + 1")
    await session.aclose()
    await other.aclose()

    assert answer.value == "2"


@contextlib.contextmanager
def no_descriptors_left():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


async def test_a_process_without_descriptors_says_so_and_recovers():
    async with LocalSandbox(slots=1, preload=(), allow_unsafe=True) as sandbox:
        await sandbox.run("1")
        with no_descriptors_left():
            for code, stdin in (("1", b"x"), ("import os\nos.mkdir('d')", b""), ("1", b"")):
                with contextlib.suppress(SandboxUnavailable):
                    await asyncio.wait_for(sandbox.run(code, stdin=stdin), 30)
            with pytest.raises(SandboxUnavailable):
                await sandbox.open_session()
        async with asyncio.timeout(30):
            after = await sandbox.run("print(1)")

    assert after.stdout == "1\n"
