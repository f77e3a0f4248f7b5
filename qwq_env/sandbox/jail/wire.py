"""The messages between the host, the zygote, a slot and a child.

Everything that a child sends was, for all the host knows, written by a hostile program: the host
reads it by fixed sizes, under a cap, as numbers, text or JSON.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from typing import Final, NamedTuple

# The descriptors of a slot, after the zygote has put them in place.
STDOUT: Final = 1
STDERR: Final = 2
JOBS: Final = 3
CONTROL: Final = 4
REPORT: Final = 5
CHANNEL: Final = 6

# Slot to host, on the control socket.
READY: Final = b"R"
BROKEN: Final = b"B"
INTERRUPTED: Final = b"I"
DONE: Final = struct.Struct("=qidqB")
"""which child, wait status, CPU seconds, peak resident bytes, whether the slot is reusable."""

OVER: Final = struct.Struct("=q")
"""that the CPU time of a watch is used up: its number."""

# Host to slot, on the control socket.
GO: Final = b"G"
ORDER: Final = struct.Struct("=Bqdq")
"""what to do, to which child (the slot counts them from 0), CPU seconds, number of the watch."""

KILL: Final = 1
INTERRUPT: Final = 2
STOP_GENTLY: Final = 3
WATCH_CPU: Final = 4
REST: Final = 5
GO_ON: Final = 6

STARTED: Final = b"S"
"""A child's word on the job socket that it has its job: from here on the program is to blame."""

RUN: Final = 0
SESSION: Final = 1
CALLS: Final = 2

INLINE_CODE: Final = 48 << 10
"""Code up to this many bytes travels in the job's message, longer code in a sealed file."""

JOB_BYTES: Final = 128 << 10
MOST_ANSWER_BYTES: Final = 16 << 20
"""Of a call: a million numbers of seven digits are half of it."""

_CHUNK: Final = 1 << 13
_RIGHTS_BYTES: Final = socket.CMSG_SPACE(8 * 4)
_CLOSE_ON_EXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
FRAME: Final = struct.Struct("=I")
STEP: Final = struct.Struct("=16sI?")
"""The head of a session's step: its nonce, how much of its value is wanted, whether to linger
for the next step when this one is answered; the code follows."""

ANSWER: Final = struct.Struct("=16siq")
"""The head of a step's answer: its nonce, exit code, peak resident bytes; the account follows."""

_ACCOUNT: Final = struct.Struct("=ii")
MOST_VALUE_CHARACTERS: Final = 8192
MOST_NAME_CHARACTERS: Final = 256
MOST_ACCOUNT_BYTES: Final = _ACCOUNT.size + 4 * (MOST_VALUE_CHARACTERS + MOST_NAME_CHARACTERS)
"""Of what `pack_account` writes: UTF-8 takes up to four bytes a character."""


class Job(NamedTuple):
    """One execution as the child receives it; its arguments and its code follow.

    `kind` is one of the three above; `arguments` is how many bytes of JSON (`sys.argv`) follow.
    """

    kind: int
    code_file: bool
    stdin_file: bool
    channel: bool
    cpu_seconds: float
    memory_mb: int
    file_mb: int
    disk_mb: int
    processes: int
    value_bytes: int
    arguments: int = 0


_JOB: Final = struct.Struct("=B???dIIIIII")


def send(channel: socket.socket, message: bytes, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message, with descriptors."""
    if not descriptors:
        channel.send(message)
        return
    rights = array.array("i", descriptors)
    channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive(channel: socket.socket, size: int = 65_536) -> tuple[bytes, list[int]]:
    """Receive one message and the descriptors that came with it."""
    message, ancillary, _, _ = channel.recvmsg(size, _RIGHTS_BYTES, _CLOSE_ON_EXEC)
    return message, _descriptors(ancillary) if ancillary else []


def receive_into(channel: socket.socket, buffer: bytearray) -> tuple[int, list[int]]:
    """Receive one message into `buffer`; return its length and the descriptors that came."""
    length, ancillary, _, _ = channel.recvmsg_into([buffer], _RIGHTS_BYTES, _CLOSE_ON_EXEC)
    return length, _descriptors(ancillary) if ancillary else []


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % 4])
    return list(descriptors)


def pack_job(job: Job, argv: tuple[str, ...], code: bytes) -> bytes:
    """Return the message of a job; `code` is left out where it lies in a file."""
    arguments = json.dumps(argv).encode() if argv else b""
    head = _JOB.pack(*job[:-1], len(arguments))
    return head + arguments + (b"" if job.code_file else code)


def unpack_job(message: memoryview) -> tuple[Job, list[str], bytes]:
    """Read what `pack_job` wrote: the job, its arguments, its code."""
    job = Job(*_JOB.unpack_from(message))
    start = _JOB.size + job.arguments
    argv = json.loads(bytes(message[_JOB.size : start])) if job.arguments else []
    return job, argv, bytes(message[start:])


def pack_account(value: object, error: object) -> bytes:
    """Return what the host is told of a piece of code: its last value, the name of its error."""
    value, error = _encoded(value), _encoded(error)
    lengths = [-1 if text is None else len(text) for text in (value, error)]
    return _ACCOUNT.pack(*lengths) + (value or b"") + (error or b"")


def _encoded(text: object) -> bytes | None:
    # A `repr`, or the name of an error, is what the program says it is.
    return str.encode(text, "utf-8", "surrogatepass") if isinstance(text, str) else None


def unpack_account(data: bytes) -> tuple[str | None, str | None]:
    """Read what `pack_account` wrote; raises ValueError for anything else."""
    if len(data) < _ACCOUNT.size:
        raise ValueError(f"an account of {len(data)} bytes")
    texts = []
    start = _ACCOUNT.size
    for length in _ACCOUNT.unpack_from(data):
        end = start + max(0, length)
        texts.append(None if length < 0 else data[start:end].decode("utf-8", "surrogatepass"))
        start = end
    return texts[0], texts[1]


def write_frame(descriptor: int, payload: bytes) -> None:
    """Write one length-prefixed message to a stream."""
    data = memoryview(FRAME.pack(len(payload)) + payload)
    while data:
        data = data[os.write(descriptor, data) :]


def read_frame(descriptor: int) -> bytes | None:
    """Read one length-prefixed message from a stream; None at its end.

    Frames come one at a time, each in answer to one: nothing can follow that is not this frame's.
    """
    chunk = os.read(descriptor, _CHUNK)
    wanted = FRAME.size
    if len(chunk) >= wanted:
        wanted += FRAME.unpack_from(chunk)[0]
        if len(chunk) == wanted:
            return chunk[FRAME.size :]
    return _read_on(descriptor, chunk)


def _read_on(descriptor: int, chunk: bytes) -> bytes | None:
    """Read the rest of a frame that came in pieces."""
    parts = bytearray(chunk)
    wanted = FRAME.size
    while True:
        if len(parts) >= FRAME.size:
            wanted = FRAME.size + FRAME.unpack_from(parts)[0]
            if len(parts) >= wanted:
                return bytes(parts[FRAME.size : wanted])
        chunk = os.read(descriptor, max(wanted - len(parts), 1))
        if not chunk:
            return None
        parts += chunk
