"""Allowed values written as Java or JavaScript source, by the type that the document names."""

import json
from typing import Any

_JAVA_SUFFIX = {"long": "L", "float": "f"}


def source(value: Any, kind: str, nested: str | None, language: str) -> str:
    """`value` as a model writes it for an argument of type `kind`; top-level strings bare."""
    if isinstance(value, str):
        return value
    return _java(value, kind, nested) if language == "java" else _javascript(value, kind)


def _javascript(value: Any, kind: str) -> str:
    return f"{value}n" if kind == "Bigint" else json.dumps(value)


def _java(value: Any, kind: str, nested: str | None) -> str:
    if isinstance(value, list):
        element = nested or "Object"
        inside = ", ".join(_java_literal(item, element) for item in value)
        if kind == "ArrayList":
            return f"new ArrayList<{element}>(Arrays.asList({inside}))"
        return f"new {element}[]{{{inside}}}"
    if isinstance(value, dict):
        puts = " ".join(
            f"put({json.dumps(key)}, {_java_literal(item, '')});" for key, item in value.items()
        )
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    return _java_literal(value, kind)


def _java_literal(value: Any, kind: str) -> str:
    return json.dumps(value) + _JAVA_SUFFIX.get(kind, "")
