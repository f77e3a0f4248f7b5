"""What a function's document says of its parameters, read from BFCL's or JSON Schema's names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qwq_env.errors import UsageError
from qwq_env.grading.calls import java, javascript

__all__ = ["FunctionDoc", "Language", "Parameter", "read_documents"]

Language = Literal["python", "java", "javascript"]

_PYTHON_TYPES: Mapping[str, type] = {
    "string": str,
    "any": str,
    "integer": int,
    "float": float,
    "number": float,
    "double": float,
    "boolean": bool,
    "array": list,
    "list": list,
    "tuple": list,
    "dict": dict,
    "object": dict,
}
_TYPES: Mapping[str, Mapping[str, type]] = {
    "python": _PYTHON_TYPES,
    "java": {**java.TYPES, **dict.fromkeys(java.UNSUPPORTED, set)},
    "javascript": javascript.TYPES,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: the type's name in the document, as a Python type, and that of elements."""

    kind: str
    python: type
    nested_kind: str | None
    nested_python: type | None


@dataclass(frozen=True, slots=True)
class FunctionDoc:
    """One function: its name, its parameters in order, and which of them a call must give."""

    name: str
    parameters: Mapping[str, Parameter]
    required: tuple[str, ...]


def read_documents(documents: Sequence[Any], language: Language) -> dict[str, FunctionDoc]:
    """The functions by name. Raises UsageError for a document that cannot be read."""
    if language not in _TYPES:
        raise UsageError(f"language: {language!r}; expected one of {', '.join(_TYPES)}")
    read = [_read(document, language) for document in documents]
    return {function.name: function for function in read}


def _read(document: Any, language: Language) -> FunctionDoc:
    try:
        name = document["name"]
        properties = document["parameters"].get("properties", {})
        required = tuple(document["parameters"].get("required", ()))
        parameters = {
            parameter: _parameter(name, parameter, details, language)
            for parameter, details in properties.items()
        }
        if not isinstance(name, str) or not all(isinstance(each, str) for each in required):
            raise TypeError("a name is no text")
    except (KeyError, TypeError, AttributeError) as problem:
        raise UsageError(
            f"function document: {document!r:.80}; expected name and parameters ({problem!r})"
        ) from None
    return FunctionDoc(name, parameters, required)


def _parameter(
    function: str, name: str, details: Mapping[str, Any], language: Language
) -> Parameter:
    types = _TYPES[language]
    kind = details["type"]
    if kind not in types:
        raise UsageError(f"{function}: {name} has type {kind!r}; expected {', '.join(types)}")
    nested = details["items"].get("type") if "items" in details else None
    if nested is None or types[kind] is not list:
        return Parameter(kind, types[kind], None, None)
    if nested not in types:
        raise UsageError(f"{function}: {name} has elements {nested!r}; expected {', '.join(types)}")
    return Parameter(kind, types[kind], nested, types[nested])
