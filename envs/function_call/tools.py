"""Functions that a task brings along, as tools: recorded only, or run on services of the episode.

A task's documents are in BFCL's form: `{"name", "description", "parameters"}`, with its names of
types (`dict`, `float`, `tuple`, `any`). Tools have JSON Schema's, and names without dots
where no two then are one, for servers that take no dots; `match_calls` reads them back.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from qwq_env.checked_tools import CheckedTools, checked_tools
from qwq_env.errors import UsageError, brief
from qwq_env.grading.calls.backends import Backends, Service, service_documents
from qwq_env.grading.calls.call import Call
from qwq_env.grading.calls.multi_turn import has_long_context
from qwq_env.grading.calls.response import plain_name
from qwq_env.schema.validator import check_parameters
from qwq_env.task import Task
from qwq_env.tool import Tool, ToolResult
from qwq_env.tool_set import ToolSet

_JSON_TYPES: Final[Mapping[str, str | None]] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
    "array": "array",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "object": "object",
    "null": "null",
    "any": None,
}
_SUBSCHEMAS: Final = ("items", "additionalProperties")
_RECORDED: Final = "Recorded."


class RecordedTool(Tool):
    """A function that is only asked for: nothing runs, and the calls themselves are judged."""

    instant = True
    replay = "idempotent"

    def __init__(self, name: str, description: str, parameters: Mapping[str, Any]) -> None:
        self.name, self.description, self.parameters = name, description, parameters

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """Say that it was heard."""
        return _RECORDED


class Services(ToolSet):
    """Simulated services in the state that the task's `initial_config` gives them.

    `services_of` derives a class from it whose methods are the services' functions. What was run
    stands in the metadata of each result, `"call"`, for a reward that does the same once more.
    """

    blocking = False
    replay = "rerun"
    own: Mapping[str, type[Service]]

    def start(self, task: Task) -> None:
        """Make the services of this episode."""
        row = task.metadata
        self._backends = Backends(
            row["involved_classes"],
            row["initial_config"],
            row.get("excluded_function", ()),
            own=self.own,
            long_context=has_long_context({"id": task.id}),
        )

    def _run(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        said = self._backends.call(Call(name, arguments))
        return ToolResult(said, {"call": {"name": name, "arguments": arguments}})


def recorded(functions: Sequence[Mapping[str, Any]]) -> CheckedTools:
    """Return the tools of a task that brings its own functions.

    Raises `UsageError` for a document that cannot be a tool.
    """
    return _recorded(json.dumps(functions))


@lru_cache(maxsize=1024)
def _recorded(functions: str) -> CheckedTools:
    documents = json.loads(functions)
    names = offered_names(documents)
    return checked_tools(
        [RecordedTool(names[each["name"]], _told(each), _schema_of(each)) for each in documents]
    )


def offered_names(functions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of the tools by those of the documents: without dots, where that is one."""
    names = {document["name"]: plain_name(document["name"]) for document in functions}
    times = Counter(names.values())
    return {name: plain if times[plain] == 1 else name for name, plain in names.items()}


def services_of(row: Mapping[str, Any], own: Mapping[str, type[Service]]) -> CheckedTools:
    """Return the tools of the services that a row involves; each episode has services of its own.

    Of the arguments named in `loose_arguments`, each as function and argument, any type is taken.

    Raises `UsageError` for a service that is not known, `BfclMissing` for one of BFCL's where its
    package is not installed.
    """
    services = tuple(row["involved_classes"])
    chosen = tuple((name, own[name]) for name in services if name in own)
    loose = frozenset((function, name) for function, name in row.get("loose_arguments", ()))
    return _services_of(services, tuple(row.get("excluded_function", ())), chosen, loose)


@lru_cache(maxsize=256)
def _services_of(
    services: tuple[str, ...],
    excluded: tuple[str, ...],
    own: tuple[tuple[str, type[Service]], ...],
    loose: frozenset[tuple[str, str]],
) -> CheckedTools:
    known = dict(own)
    documents = {
        name: document
        for service in services
        for name, document in (
            known[service].documents if service in known else service_documents(service)
        ).items()
        if name not in excluded
    }
    methods = {name: _method(name, _told(each)) for name, each in documents.items()}
    tools = checked_tools([type(Services.__name__, (Services,), {**methods, "own": known})])
    for tool in tools:
        # The documents say more of the arguments than a signature does.
        tool.description = _told(documents[tool.name])
        tool.parameters = _schema_of(documents[tool.name])
        for name, entry in tool.parameters["properties"].items():
            if (tool.name, name) in loose:
                entry.pop("type", None)
        check_parameters(tool.parameters)
    return tools


def _method(name: str, description: str) -> Callable[..., ToolResult]:
    def method(self: Services, **arguments: Any) -> ToolResult:
        return self._run(name, arguments)

    method.__name__, method.__doc__ = name, description
    method.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    )
    return method


def _told(document: Mapping[str, Any]) -> str:
    return str(document.get("description") or "").strip() or f"Do {document['name']}."


def _schema_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's parameters as JSON Schema."""
    where = f"function {brief(document.get('name'))}"
    parameters = document.get("parameters")
    if not isinstance(parameters, Mapping):
        raise UsageError(f"{where}: parameters {brief(parameters)}; expected an object")
    properties = parameters.get("properties", {})
    if not isinstance(properties, Mapping):
        raise UsageError(f"{where}: properties {brief(properties)}; expected an object")
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: _as_schema(entry, f"{where}, {name}") for name, entry in properties.items()
        },
    }
    if required := parameters.get("required"):
        schema["required"] = list(required)
    return schema


def _as_schema(entry: Any, where: str) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    schema = dict(entry)
    kind = schema.pop("type", None)
    if isinstance(kind, str):
        if kind not in _JSON_TYPES:
            raise UsageError(f"{where}: type {brief(kind)}; expected {', '.join(_JSON_TYPES)}")
        schema |= {"type": name} if (name := _JSON_TYPES[kind]) else {}
    elif kind is not None:
        schema["type"] = kind
    # A mark of BFCL's beside `required`, which is what counts.
    if not isinstance(schema.get("required", []), list):
        del schema["required"]
    for keyword in _SUBSCHEMAS:
        if keyword in schema:
            schema[keyword] = _as_schema(schema[keyword], where)
    if isinstance(properties := schema.get("properties"), Mapping):
        schema["properties"] = {
            name: _as_schema(each, f"{where}, {name}") for name, each in properties.items()
        }
    return schema
