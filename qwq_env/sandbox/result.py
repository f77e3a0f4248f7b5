"""What goes into an execution and what comes out of it: limits and results, frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from qwq_env.checks import is_number
from qwq_env.errors import UsageError

Status = Literal["ok", "error", "timeout", "memory", "output", "killed", "infra"]
"""How an execution ended.

`ok`: exit code 0; `error`: an exception or another exit code; `timeout`: CPU or wall time was
used up; `memory`: the memory limit was met; `output`: far more was written than is kept, and the
program was stopped; `killed`: it died of a signal; `infra`: the sandbox failed (seen only where a
result travels, as in an HTTP answer: locally `SandboxUnavailable` is raised instead).
"""

CallStatus = Literal["ok", "error", "timeout", "memory", "killed", "unsupported"]
"""How one call ended; `unsupported` is a returned value that is not plain data, or that is larger
than anybody's answer (a million numbers are not)."""

STATUSES: tuple[str, ...] = get_args(Status)
CALL_STATUSES: tuple[str, ...] = get_args(CallStatus)

_BOUNDS: dict[str, tuple[float, float]] = {
    "cpu_seconds": (0.01, 86_400),
    "wall_seconds": (0.01, 86_400),
    "memory_mb": (16, 1_048_576),
    "processes": (1, 4096),
    "file_mb": (0, 65_536),
    "output_bytes": (0, 1 << 30),
    "disk_mb": (1, 65_536),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution, or one session, may use; a bad value raises `UsageError`.

    `cpu_seconds` decides "too slow" and `wall_seconds` is the safety net (both count per step in
    a session, and per call in `Sandbox.call`); `memory_mb` comes on top of what the warm
    interpreter holds already; `processes` counts processes and threads; `file_mb` bounds one
    file, `disk_mb` all of them; `output_bytes` is kept of stdout and of stderr each.
    """

    cpu_seconds: float = 5.0
    wall_seconds: float = 10.0
    memory_mb: int = 256
    processes: int = 32
    file_mb: int = 32
    output_bytes: int = 65_536
    disk_mb: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = _BOUNDS[field.name]
            numeric = (int, float) if field.type == "float" else (int,)
            kind = "number" if field.type == "float" else "whole number"
            if isinstance(value, bool) or not isinstance(value, numeric):
                raise UsageError(f"limits.{field.name}: {value!r:.80} is not a {kind}")
            # Not a number is not within either.
            if not low <= value <= high:
                raise UsageError(
                    f"limits.{field.name}: {_shown(value)} is out of bounds, "
                    f"expected {low} to {high}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the limits as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read limits from a JSON object; absent fields keep their defaults."""
        return cls(**_known_fields(cls, data, "limits"))


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """How one program, or one step of a session, ended.

    `value` is the `repr` of the last expression, None where the program ended with a statement
    or with the value None. `exit_code` is None after a signal, `signal` None after an exit.
    `peak_memory_bytes` is the resident maximum, 0 where it is unknown. `truncated` names the
    streams of which only the first `Limits.output_bytes` were kept. `state_lost` (sessions) is
    true of the run during which the interpreter was lost, and of the run after it, which began in
    a fresh one.

    Output and value were written by the program, and may lie. Of a one-shot all else is the
    sandbox's own word; of a session's step `exit_code` and `peak_memory_bytes`, and whether it
    was `ok` or an `error`, are the interpreter's, which the program may have tampered with.
    """

    status: Status
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    truncated: tuple[str, ...] = ()
    state_lost: bool = False

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with exit code 0."""
        return self.status == "ok"

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        data = asdict(self)
        data["truncated"] = list(self.truncated)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read a result from a JSON object, as `to_json` wrote it."""
        known = _known_fields(cls, data, "result")
        if known.get("status") not in STATUSES:
            raise UsageError(f"result.status: {known.get('status')!r} is not one of {STATUSES}")
        truncated = known.get("truncated", [])
        if not isinstance(truncated, list):
            raise UsageError("result.truncated: expected a list of names")
        known["truncated"] = tuple(truncated)
        result = cls(**known)
        for field in fields(cls):
            if not _is_kind(getattr(result, field.name), str(field.type)):
                raise UsageError(f"result.{field.name}: expected {field.type}")
        return result


@dataclass(frozen=True, slots=True)
class CallResult:
    """What one call of a solution's function came to.

    `value` is meaningful only when `status` is `ok`. It is built anew from plain data, so its
    type is exactly one of None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset
    (all the way down): its `==` is Python's own and may be trusted. `error` names the exception
    for the eye of a person. `skipped` (then `unsupported`) says that the values of the calls
    before this one fill what one request may hold: ask for it, and for those after it, in another.
    """

    status: CallStatus
    value: Any = None
    error: str | None = None
    wall_seconds: float = 0.0
    skipped: bool = False

    @property
    def ok(self) -> bool:
        """Whether the call returned plain data."""
        return self.status == "ok"


def _is_kind(value: object, annotation: str) -> bool:
    if annotation.startswith("tuple"):
        return all(isinstance(name, str) for name in value)  # type: ignore[attr-defined]
    if annotation == "bool":
        return isinstance(value, bool)
    if value is None:
        return "None" in annotation
    if annotation.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool)
    return is_number(value) if annotation == "float" else isinstance(value, str)


def _shown(number: float) -> str:
    # Python refuses to write integers of more than 4,300 digits.
    if isinstance(number, int) and number.bit_length() > 256:
        return f"an integer of {number.bit_length()} bits"
    return repr(number)


def _known_fields(cls: type[Any], data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UsageError(f"{what}: {type(data).__name__} is not a JSON object")
    names = {field.name for field in fields(cls)}
    for key in data:
        if key not in names:
            raise UsageError(f"{what}.{key}: is not known, expected one of {sorted(names)}")
    return dict(data)
