"""The JSON schema of pydantic's types, and the way from JSON to their values.

Pydantic is no dependency, and is not imported here: whoever has such a type has imported it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_PACKAGES: Final = frozenset({"pydantic", "annotated_types"})
_REFERENCE: Final = "#/$defs/pydantic/{model}"
"""So that it cannot be taken for one of our own, before it becomes one."""


class PydanticForm(NamedTuple):
    """A schema, the `definitions` that it refers to in `$defs`, and the reader of valid JSON."""

    schema: dict[str, Any]
    definitions: dict[str, Any]
    read: Callable[[Any], Any]


def is_pydantic(kind: type) -> bool:
    """Say whether pydantic knows a class: its model, its dataclass, or a type made for it."""
    hooks = ("__pydantic_core_schema__", "__get_pydantic_core_schema__")
    return _is_here() and any(hasattr(kind, hook) for hook in hooks)


def is_constraint(note: object) -> bool:
    """Say whether what stands in an `Annotated` is for pydantic, such as `Field(gt=0)`."""
    return _is_here() and type(note).__module__.partition(".")[0] in _PACKAGES


def _is_here() -> bool:
    return hasattr(sys.modules.get("pydantic"), "TypeAdapter")  # pydantic 1 has none


def pydantic_form(hint: Any, taken: Mapping[str, Any]) -> PydanticForm:
    """Return what pydantic makes of a hint; names that are `taken` by other definitions are left.

    Raises `TypeError` for a type that has no JSON form.
    """
    pydantic = sys.modules["pydantic"]
    errors = (pydantic.errors.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation)
    try:
        adapter = pydantic.TypeAdapter(hint)
        schema = adapter.json_schema(ref_template=_REFERENCE)
    except errors as error:
        raise TypeError(str(error).partition("\n")[0]) from None
    definitions = schema.pop("$defs", {})
    text = json.dumps([schema, definitions])
    names = {name: _free(name, inner, taken) for name, inner in definitions.items()}
    for name, free in names.items():
        text = text.replace(f'"{_REFERENCE.format(model=name)}"', f'"#/$defs/{free}"')
    schema, definitions = json.loads(text)

    def read(value: Any) -> Any:
        try:
            return adapter.validate_json(json.dumps(value))
        except pydantic.ValidationError as error:
            told = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
            lines = [f"{place}: {words}" if place else words for place, words in told]
            raise ValueError("; ".join(lines)) from None

    return PydanticForm(schema, {names[name]: inner for name, inner in definitions.items()}, read)


def _free(name: str, definition: Any, taken: Mapping[str, Any]) -> str:
    names = [name, *(f"{name}{n}" for n in range(2, len(taken) + 3))]
    return next(each for each in names if taken.get(each, definition) == definition)
