"""The simulated services of BFCL's multi-turn rows, one fresh set for each episode.

Eight classes (a file system, a travel agency, a trading desk, ...) from an installed `bfcl-eval`,
whose class modules are imported alone, without the package's model clients. A call names a method
that the service's published function documents list, with literal arguments; nothing is evaluated,
and nothing is shared between two episodes. They touch no file, no process and no network; what
could hold the interpreter for minutes is bounded here: large numbers, and a tree of directories
that copies of copies make exponentially large, or a circle.
"""

import copy
import decimal
import functools
import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from qwq_env.errors import QwqError, UsageError, unknown
from qwq_env.grading.calls.call import Call

__all__ = ["SERVICES", "Backends", "BfclMissing", "Service", "service_documents"]

SERVICES: Mapping[str, tuple[str, str]] = {
    "GorillaFileSystem": ("gorilla_file_system", "gorilla_file_system"),
    "MathAPI": ("math_api", "math_api"),
    "MessageAPI": ("message_api", "message_api"),
    "TwitterAPI": ("posting_api", "posting_api"),
    "TicketAPI": ("ticket_api", "ticket_api"),
    "TradingBot": ("trading_bot", "trading_bot"),
    "TravelAPI": ("travel_booking", "travel_booking"),
    "VehicleControlAPI": ("vehicle_control", "vehicle_control"),
}
"""Class name -> its module and the file of its function documents."""

_MODULES = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
_DOCUMENTS = Path("data") / "multi_turn_func_doc"

_LARGEST_EXPONENT = 10_000
_LARGEST_PRECISION = 1_000
# One call of these with a large number would hold a grader for minutes.
_BOUNDS = {
    ("power", "exponent"): _LARGEST_EXPONENT,
    ("power", "base"): 10**15,
    ("logarithm", "precision"): _LARGEST_PRECISION,
    ("square_root", "precision"): _LARGEST_PRECISION,
    ("round_number", "decimal_places"): _LARGEST_PRECISION,
}
_FILES = "GorillaFileSystem"
# A copied directory shares what it holds with the original, so these can double a tree, or put a
# directory into itself; reading and comparing it would have no end.
_GROWING = frozenset(["cp", "mv", "mkdir", "touch"])
_MOST_PLACES = 20_000
_MOST_PATH_CHARACTERS = 2_000_000
_OVERGROWN = "Error during execution: the directories hold too much"


class Service(Protocol):
    """A service of one's own: its public methods are called by name with what `documents` lists."""

    documents: ClassVar[Mapping[str, Any]]

    def _load_scenario(self, scenario: Any) -> None:
        """Take the service's part of a row's `initial_config`, a copy of its own."""


class BfclMissing(QwqError, ImportError):
    """The package that holds the simulated services is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "multi-turn function calls need the package bfcl-eval: pip install 'qwq-env[bfcl]', "
            "or alone with pip install --no-deps bfcl-eval mpmath"
        )


@functools.cache
def service_documents(service: str) -> Mapping[str, Any]:
    """The published function documents of a service, by method name; do not change them.

    Raises UsageError for an unknown service, BfclMissing without the package.
    """
    if service not in SERVICES:
        raise unknown("service", service, SERVICES)
    specification = importlib.util.find_spec("bfcl_eval")
    if specification is None or not specification.submodule_search_locations:
        raise BfclMissing
    root = Path(next(iter(specification.submodule_search_locations)))
    lines = (root / _DOCUMENTS / f"{SERVICES[service][1]}.json").read_text(encoding="utf-8")
    return {doc["name"]: doc for doc in map(json.loads, filter(None, lines.splitlines()))}


def _service_class(service: str) -> Any:
    try:
        module = importlib.import_module(f"{_MODULES}.{SERVICES[service][0]}")
    except ImportError as problem:
        raise BfclMissing from problem
    return getattr(module, service)


_NO_SERVICES: Mapping[str, type[Service]] = {}


class Backends:
    """The services of one episode, in the state that the row's configuration gives them.

        backends = Backends(["MathAPI"], {})
        backends.call(Call("add", {"a": 1, "b": 2}))  # '{"result": 3}'

    `documents` lists the functions that may be called, without those named in `excluded`. `own`
    are services of one's own by name. `long_context` pads what BFCL's services hold with hundreds
    of entries, as in its rows of that name.
    """

    def __init__(
        self,
        services: Sequence[str],
        configuration: Mapping[str, Any],
        excluded: Sequence[str] = (),
        *,
        own: Mapping[str, type[Service]] = _NO_SERVICES,
        long_context: bool = False,
    ) -> None:
        """Raises UsageError for an unknown service or a configuration it refuses."""
        self._instances: dict[str, Any] = {}
        self._owners: dict[str, str] = {}
        self._overgrown = False
        documents: dict[str, Any] = {}
        for service in services:
            known = own[service].documents if service in own else service_documents(service)
            for name, document in known.items():
                if name not in excluded:
                    self._owners[name] = service
                    documents[name] = document
            kind = own[service] if service in own else _service_class(service)
            given = configuration.get(service, {})
            options = {"long_context": True} if long_context and service not in own else {}
            self._instances[service] = _load(service, kind, given, options)
        self.documents: Mapping[str, Any] = documents

    def call(self, call: Call) -> str:
        """Do one call and return what the service says, as text; an error is text as well.

        The boundary to the services' own code: what a method raises is its answer, in BFCL's
        words. A lack of memory is ours and is raised.
        """
        service = self._owners.get(call.name)
        if service is None:
            return f"Error during execution: name '{call.name}' is not defined"
        if self._overgrown and service == _FILES:
            return _OVERGROWN
        method = getattr(self._instances[service], call.name)
        problem = _too_large(call, self.documents[call.name])
        if problem:
            return f"Error during execution: {problem}"
        try:
            # Services keep lists that they are given, and write into them.
            positional, arguments = copy.deepcopy((call.positional, dict(call.arguments)))
            answer = _alone(functools.partial(method, *positional, **arguments))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary to the services' code
            return f"Error during execution: {error}"
        if service == _FILES and call.name in _GROWING:
            self._overgrown = _is_overgrown(self._instances[service].root)
        return answer

    def differences(self, gold: "Backends") -> list[str]:
        """The public attributes in which these services are not in the state of `gold`'s."""
        if self._overgrown:
            return [f"{_FILES}.root"]
        return [
            f"{service}.{name}"
            for service, instance in gold._instances.items()
            for name, value in vars(instance).items()
            if not name.startswith("_")
            and not _equal(vars(self._instances[service]).get(name), value)
        ]


def _load(service: str, kind: Any, configuration: Any, options: Mapping[str, Any]) -> Any:
    instance = kind()
    if not hasattr(instance, "_load_scenario"):
        return instance
    try:
        instance._load_scenario(copy.deepcopy(configuration), **options)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise UsageError(f"initial_config: {service} refuses it: {problem!r}") from None
    # What pads a long context is one object for all instances.
    return copy.deepcopy(instance) if options else instance


def _is_overgrown(root: Any) -> bool:
    """Say whether listing a tree of directories with all paths would be too much; a circle is."""
    waiting, places, characters = [(root, 0)], 0, 0
    while waiting:
        directory, length = waiting.pop()
        for name, entry in getattr(directory, "contents", {}).items():
            places, path = places + 1, length + len(name) + 1
            characters += path
            if places > _MOST_PLACES or characters > _MOST_PATH_CHARACTERS:
                return True
            waiting.append((entry, path))
    return False


def _too_large(call: Call, document: Mapping[str, Any]) -> str:
    names = list(document["parameters"]["properties"])
    given = {**dict(zip(names, call.positional, strict=False)), **call.arguments}
    for name, value in given.items():
        bound = _BOUNDS.get((call.name, name))
        if bound is not None and isinstance(value, (int, float)) and not abs(value) <= bound:
            return f"{name} is too large"
    return ""


def _alone(action: functools.partial[Any]) -> str:
    """What `action` returns, as text; the numeric precision it sets is not left behind it."""
    mpmath = sys.modules.get("mpmath")
    digits = mpmath.mp.dps if mpmath else None
    try:
        with decimal.localcontext():
            return _as_text(action())
    finally:
        if mpmath:
            mpmath.mp.dps = digits


def _as_text(result: object) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError, RecursionError):
            return str(result)
    return str(result)


def _equal(value: object, gold: object) -> bool:
    """Equality of states; True and 1 are told apart where the text shows it."""
    try:
        same = bool(value == gold)
    except RecursionError:  # deeper than any gold call makes it
        return False
    return same and (
        not isinstance(gold, (bool, int, float))
        or isinstance(value, bool) == isinstance(gold, bool)
    )
