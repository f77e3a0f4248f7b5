"""The system-call filter: a list of what is allowed, as a BPF program.

What Python programs use is allowed; what libraries probe for and can do without answers ENOSYS,
so that they fall back; all else answers EPERM. Refused on purpose: every way to memory that
RLIMIT_AS does not count (memfd, System V shared memory), every socket but a pair, io_uring, bpf,
keyrings, ptrace and its kin, new namespaces, mounts, and `prlimit` on another process. Of `fcntl`
and `ioctl` too only what is listed is allowed: nobody may make a pipe hold more than anyone counts,
and nobody may have the kernel send a signal for them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import struct
from typing import Final

from qwq_env.sandbox.jail.numbers import AUDIT_ARCH, NUMBERS

_LOAD: Final = 0x20
_JUMP: Final = 0x05
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_BITS: Final = 0x45
_RETURN: Final = 0x06
_AND: Final = 0x54

_NUMBER_OFFSET: Final = 0
_ARCH_OFFSET: Final = 4
_FIRST_ARGUMENT: Final = 16
_X32_BIT: Final = 0x4000_0000
_HIGHEST: Final = 600

_NAMESPACE_FLAGS: Final = 0x7E02_0080
_PR_SET_PDEATHSIG: Final = 1
_CLONE_THREAD: Final = 0x0001_0000
_AF_UNIX: Final = 1
_SOCKET_TYPE: Final = 0xF
# A datagram may be addressed to any socket of the host, even from a socket of a pair.
_CONNECTED_TYPES: Final = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
_TERMINAL_AND_PIPE_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_FCNTLS: Final = (
    *(fcntl.F_GETFL, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_DUPFD),
    *(fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_OFD_GETLK, fcntl.F_OFD_SETLK),
    *(fcntl.F_OFD_SETLKW, fcntl.F_GETOWN, fcntl.F_GETSIG, fcntl.F_GETLEASE),
    *(1027, 1028, 1032, 1034),  # whether two are the same, who created it, pipe size, seals
)
# Names of threads, more filters, timer slack, huge pages, "no new privileges", what is set.
_HARMLESS_PRCTLS: Final = (2, 3, 15, 16, 21, 22, 23, 29, 30, 38, 39, 41, 42, 0x5356_4D41)

Instruction = bytes
Block = tuple[Instruction, ...]


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> Instruction:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _fail(number: int) -> Instruction:
    return _step(_RETURN, 0x0005_0000 | number)


_ALLOW: Final = _step(_RETURN, 0x7FFF_0000)
_KILL: Final = _step(_RETURN, 0x8000_0000)
_DENY: Final = _fail(errno.EPERM)
_NO_SUCH_CALL: Final = _fail(errno.ENOSYS)
_PRETEND: Final = _fail(0)


def _argument(index: int) -> Instruction:
    # The low half of the argument: little-endian on both machines that we know.
    return _step(_LOAD, _FIRST_ARGUMENT + 8 * index)


def _allow_if_argument_in(index: int, values: tuple[int, ...], otherwise: int) -> Block:
    block = [_argument(index)]
    for value in values:
        block += [_step(_IF_EQUAL, value, 0, 1), _ALLOW]
    return (*block, _fail(otherwise))


def _only_if_zero(index: int) -> Block:
    """Allow where both halves of an argument, as a pointer has them, are zero."""
    high = _step(_LOAD, _FIRST_ARGUMENT + 8 * index + 4)
    return (
        *(_argument(index), _step(_IF_EQUAL, 0, 1, 0), _DENY),
        *(high, _step(_IF_EQUAL, 0, 1, 0), _DENY, _ALLOW),
    )


def _allow_unless_bits(index: int, bits: int) -> Block:
    return (_argument(index), _step(_IF_BITS, bits, 0, 1), _DENY, _ALLOW)


def _pair() -> Block:
    """Socket pairs of this machine, of a type that is connected for good."""
    block = [
        _argument(0),
        _step(_IF_EQUAL, _AF_UNIX, 1, 0),
        _fail(errno.EAFNOSUPPORT),
        _argument(1),
        _step(_AND, _SOCKET_TYPE),
    ]
    for kind in _CONNECTED_TYPES:
        block += [_step(_IF_EQUAL, kind, 0, 1), _ALLOW]
    return (*block, _fail(errno.EPROTONOSUPPORT))


def _rules() -> dict[int, Block]:
    allowed = ["files", "memory", "processes", "signals", "time", "locks", "pairs", "random"]
    allowed += ["attributes", "fork", "kill", "landlock"]
    rules: dict[int, Block] = {
        number: (_ALLOW,) for group in allowed for number in NUMBERS[group].values()
    }
    judged = NUMBERS["judged"]
    rules[judged["clone"]] = _allow_unless_bits(0, _NAMESPACE_FLAGS)
    rules[judged["fcntl"]] = (
        *_allow_if_argument_in(1, _FCNTLS, errno.EPERM)[:-1],
        _step(_IF_EQUAL, fcntl.F_SETFL, 1, 0),
        _DENY,
        *_allow_unless_bits(2, os.O_ASYNC),
    )
    rules[judged["socket"]] = (_fail(errno.EAFNOSUPPORT),)
    rules[judged["socketpair"]] = _pair()
    rules[judged["ioctl"]] = _allow_if_argument_in(1, _TERMINAL_AND_PIPE_IOCTLS, errno.ENOTTY)
    rules[judged["prctl"]] = (
        *_allow_if_argument_in(0, _HARMLESS_PRCTLS, errno.EINVAL)[:-1],
        # A child asks to die with its slot; nobody may take that back.
        _step(_IF_EQUAL, _PR_SET_PDEATHSIG, 0, 3),
        _argument(1),
        _step(_IF_EQUAL, signal.SIGKILL, 0, 1),
        _ALLOW,
        _fail(errno.EINVAL),
    )
    rules[judged["prlimit64"]] = (
        *_allow_if_argument_in(0, (0,), errno.EPERM)[:-1],
        *_only_if_zero(2),  # to read those of others, as the guard over a child does
    )
    for name, number in judged.items():
        if name in ("clone3", "memfd_create") or name.startswith("io_uring"):
            rules[number] = (_NO_SUCH_CALL,)
    return rules


def _search(blocks: dict[int, Block], otherwise: Block) -> list[Instruction]:
    """Return a search tree over ranges of numbers: about as many steps as the log of their count.

    The number of the call is loaded already.
    """
    ranges: list[tuple[int, Block]] = []
    for number in range(_HIGHEST):
        block = blocks.get(number, otherwise)
        if not ranges or ranges[-1][1] != block:
            ranges.append((number, block))

    def tree(low: int, high: int) -> list[Instruction]:
        if high - low == 1:
            return list(ranges[low][1])
        middle = (low + high) // 2
        left, right = tree(low, middle), tree(middle, high)
        pivot = ranges[middle][0]
        if len(left) < 256:
            return [_step(_IF_AT_LEAST, pivot, len(left), 0), *left, *right]
        return [_step(_IF_AT_LEAST, pivot, 0, 1), _step(_JUMP, len(left)), *left, *right]

    return tree(0, len(ranges))


def for_slot() -> bytes:
    """Return the filter of a slot and its children, about ten steps for any call.

    Raises NotImplementedError on a machine whose system-call numbers we do not know.
    """
    if not AUDIT_ARCH:
        raise NotImplementedError("seccomp: the system-call numbers of this machine are not known")
    program = [
        _step(_LOAD, _ARCH_OFFSET),
        _step(_IF_EQUAL, AUDIT_ARCH, 1, 0),
        _KILL,
        _step(_LOAD, _NUMBER_OFFSET),
        _step(_IF_AT_LEAST, _X32_BIT, 0, 1),
        _KILL,
        *_search(_rules(), (_DENY,)),
    ]
    return b"".join(program)


def for_lone_child(may_signal: bool, may_truncate: bool = True) -> bytes:
    """Return what a child has on top where no namespace surrounds it: threads, but no processes.

    What cannot fork leaves nothing behind. Modes, owners and times are no business of Landlock's,
    so whoever may change those of its own files may change those of all its user's: these calls
    do nothing, and say that they succeeded, as copying and unpacking files needs them.
    Without `may_signal` it can signal nobody, not even itself, and without `may_truncate` it can
    cut files only that it opened for writing: for kernels that cannot confine these otherwise.
    """
    refused = [*NUMBERS["fork"].values(), *(() if may_signal else NUMBERS["kill"].values())]
    rules: dict[int, Block] = dict.fromkeys(refused, (_DENY,))
    rules |= dict.fromkeys(NUMBERS["attributes"].values(), (_PRETEND,))
    rules[NUMBERS["judged"]["clone"]] = (
        _argument(0),
        _step(_IF_BITS, _CLONE_THREAD, 0, 1),
        _ALLOW,
        _DENY,
    )
    rules[NUMBERS["judged"]["prlimit64"]] = _allow_if_argument_in(0, (0,), errno.EPERM)
    # Space that is taken beyond the end of a file is in no limit, and in no count.
    rules[NUMBERS["files"]["fallocate"]] = _allow_if_argument_in(1, (0,), errno.EOPNOTSUPP)
    if not may_truncate:
        rules |= _truncation()
    return b"".join([_step(_LOAD, _NUMBER_OFFSET), *_search(rules, (_ALLOW,))])


def _truncation() -> dict[int, Block]:
    """Refuse to cut a file that is not opened for writing, which Landlock judges at any version."""
    files = NUMBERS["files"]
    # What `openat2` is asked for lies in memory, where a filter cannot look.
    rules: dict[int, Block] = {files["truncate"]: (_DENY,), files["openat2"]: (_NO_SUCH_CALL,)}
    for name, flags in (("open", 1), ("openat", 2)):
        if name in files:
            rules[files[name]] = (
                _argument(flags),
                _step(_IF_BITS, os.O_TRUNC, 1, 0),
                _ALLOW,
                _step(_AND, os.O_ACCMODE),
                _step(_IF_EQUAL, os.O_WRONLY, 1, 0),
                _step(_IF_EQUAL, os.O_RDWR, 0, 1),
                _ALLOW,
                _DENY,
            )
    return rules
