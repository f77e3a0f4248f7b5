"""A type hint as a JSON schema, and the way from JSON to a value of that type.

| hint | in JSON | what the function gets |
|---|---|---|
| `str`, `int`, `float`, `bool`, `None`, `Any`, `object` | itself | itself |
| `Literal`, an `Enum` (by value) | one of the values | the value; the member |
| `list`, `Sequence`, `Iterable`, `Collection` | array | a list |
| `tuple[int, str]`, `tuple[int, ...]`, `set`, `frozenset`, `deque` | array | one of these |
| `dict`, `Mapping`; keys are `str`, a `Literal` or an `Enum` of texts | object | a dict |
| `TypedDict`, a `NamedTuple`, a dataclass | object | one of these |
| pydantic's models, dataclasses and constraints | what pydantic says | what pydantic makes |

Unions, `Optional`, `Annotated` (its text is the description), `NewType`, `Final`, type aliases and
type variables are seen through, at any depth; a type that holds itself goes into `$defs`. What only
passes through JSON unchanged has no reader, and costs nothing in a call.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import inspect
import json
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from qwq_env.errors import UsageError, brief
from qwq_env.schema.arguments import whole_numbers
from qwq_env.schema.docstring import read_docstring
from qwq_env.schema.json_values import as_plain, is_plain_value, plain_default, same
from qwq_env.schema.pydantic_form import is_constraint, is_pydantic, pydantic_form
from qwq_env.schema.resolve import (
    local_names,
    marks_of,
    name_of,
    resolved_hints,
    seen_through,
    substituted,
    variables_of,
)
from qwq_env.schema.validator import validator, written

Reader = Callable[[Any], Any]
"""From valid JSON to a value of the declared type. May raise what a constructor raises."""


class Form(NamedTuple):
    """What a hint comes to: a JSON schema, and a reader unless JSON's own value will do."""

    schema: dict[str, Any]
    read: Reader | None = None


_SCALARS: Final[Mapping[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
}
_ARRAYS: Final[Mapping[Any, Callable[[Any], Any] | None]] = {
    list: None,
    abc.Sequence: None,
    abc.MutableSequence: None,
    abc.Collection: None,
    abc.Iterable: None,
    collections.deque: collections.deque,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
}
"""What an array is read as; None is JSON's own list."""
_OBJECTS: Final = (dict, abc.Mapping, abc.MutableMapping)


class Hints:
    """Reads the hints of one function; `where` names the place in errors.

    `definitions` are the schemas of types that hold themselves, for the root's `$defs`.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.definitions: dict[str, Any] = {}
        self._open: dict[Any, str] = {}
        """The types that are being read, and the names under which they were met again."""
        self._readers: dict[str, Reader | None] = {}

    def form(self, hint: Any) -> Form:
        """Return what `hint` comes to. Raises `UsageError` for one that has no JSON form."""
        origin, arguments = get_origin(hint), get_args(hint)
        # Hints with arguments may hold what has no hash.
        if origin is None and _hashes(hint) and hint in _SCALARS:
            return Form(dict(_SCALARS[hint]))
        if origin is typing.Annotated:
            return self._annotated(hint, arguments)
        if origin is Literal:
            return self._one_of(hint, arguments)
        if origin in (Union, types.UnionType):
            return self._union([self.form(argument) for argument in arguments])
        try:
            inner = seen_through(hint, origin, arguments)
        except NameError as error:  # `type X = ...` is evaluated when it is asked for
            raise self._refused(hint, f"cannot be resolved: {error}") from None
        if inner is not None:
            return self._once(hint, lambda: self.form(inner))
        kind = hint if origin is None else origin
        if kind is tuple and hint not in (tuple, typing.Tuple):  # noqa: UP006 - as users write it
            return self._tuple(arguments)
        if kind in (tuple, *_ARRAYS):
            return self._array(hint, {**_ARRAYS, tuple: tuple}[kind], arguments)
        if kind in _OBJECTS:
            return self._object(hint, arguments)
        if isinstance(kind, type):
            return self._class(hint, kind, arguments)
        raise self._refused(hint)

    def _refused(
        self, hint: Any, why: str = "has no JSON form; use str, Literal, list, ..."
    ) -> UsageError:
        return UsageError(f"{self.where}: the type {brief(hint)} {why}")

    def _class(self, hint: Any, kind: type, arguments: tuple[Any, ...]) -> Form:
        if is_pydantic(kind):
            return self._pydantic(hint)
        if issubclass(kind, enum.Enum):
            return self._one_of(hint, tuple(kind))
        if typing.is_typeddict(kind) or _is_typed_dict(kind):
            return self._once(hint, lambda: self._typed_dict(kind, arguments))
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._once(hint, lambda: self._record(kind, arguments))
        if dataclasses.is_dataclass(kind):
            return self._once(hint, lambda: self._record(kind, arguments))
        raise self._refused(hint)

    def _once(self, hint: Any, read: Callable[[], Form]) -> Form:
        """Read a type that may hold itself: met again inside, it is a reference."""
        key = hint if _hashes(hint) else repr(hint)
        if key in self._open:
            name = self._open[key] or self._free_name(hint)
            self._open[key] = name
            return Form({"$ref": f"#/$defs/{name}"}, lambda value: self._read_by(name, value))
        self._open[key] = ""
        try:
            form = read()
        finally:
            name = self._open.pop(key)
        if not name:
            return form
        self.definitions[name], self._readers[name] = form
        return Form({"$ref": f"#/$defs/{name}"}, form.read)

    def _read_by(self, name: str, value: Any) -> Any:
        read = self._readers[name]
        return value if read is None else read(value)

    def _free_name(self, hint: Any) -> str:
        base = getattr(get_origin(hint) or hint, "__name__", "Type")
        names = (base if n == 1 else f"{base}{n}" for n in range(1, 1_000_000))
        taken = {*self.definitions, *self._open.values()}
        return next(name for name in names if name not in taken)

    def _annotated(self, hint: Any, arguments: tuple[Any, ...]) -> Form:
        constrained = any(map(is_constraint, arguments[1:]))
        form = self._pydantic(hint) if constrained else self.form(arguments[0])
        texts = (getattr(note, "documentation", note) for note in arguments[1:])
        text = next((text for text in texts if isinstance(text, str)), None)
        return form if text is None else Form({**form.schema, "description": text}, form.read)

    def _one_of(self, hint: Any, members: tuple[Any, ...]) -> Form:
        """Return the form of a closed set of values; a member of an Enum stands for its own."""
        plain = [value.value if isinstance(value, enum.Enum) else value for value in members]
        if not members or not all(is_plain_value(value) for value in plain):
            raise self._refused(hint, "holds a value that has no JSON form")
        schema = {"enum": [as_plain(value) for value in plain]}
        if all(value is member for value, member in zip(plain, members, strict=True)):
            return Form(schema)
        pairs = list(zip(plain, members, strict=True))
        return Form(schema, lambda value: next(m for v, m in pairs if same(v, value)))

    def _union(self, forms: list[Form]) -> Form:
        schema = {"anyOf": [form.schema for form in forms]}
        if all(form.read is None for form in forms):
            return Form(schema)

        null = {"type": "null"}
        others = [form for form in forms if form.schema != null]

        def read(value: Any) -> Any:
            if value is None and len(others) < len(forms):
                return None
            if len(others) == 1:
                return _read(others[0], value)
            for form in others:
                whole = {**form.schema, "$defs": self.definitions}
                if validator(written(whole)).error(value) is None:
                    return _read(form, whole_numbers(value, form.schema, whole))
            raise ValueError(f"{brief(value)} fits no type of the union")

        return Form(schema, read)

    def _tuple(self, arguments: tuple[Any, ...]) -> Form:
        if len(arguments) == 2 and arguments[1] is ...:
            return self._array(None, tuple, arguments[:1])
        forms = [self.form(argument) for argument in arguments]
        count = len(forms)
        schema: dict[str, Any] = {"type": "array", "minItems": count, "maxItems": count}
        if forms:
            schema["prefixItems"] = [form.schema for form in forms]
        return Form(schema, lambda items: tuple(map(_read, forms, items)))

    def _array(
        self, hint: Any, make: Callable[[Any], Any] | None, arguments: tuple[Any, ...]
    ) -> Form:
        item = self.form(arguments[0]) if arguments else Form({})
        schema: dict[str, Any] = {"type": "array"}
        if arguments:
            schema["items"] = item.schema
        if make in (set, frozenset):
            if arguments and not _has_hash(arguments[0]):
                raise self._refused(hint, "has items that a set cannot hold")
            schema["uniqueItems"] = True
        if item.read is None:
            return Form(schema, make)
        return Form(schema, lambda items: (make or list)(_read(item, each) for each in items))

    def _object(self, hint: Any, arguments: tuple[Any, ...]) -> Form:
        if not arguments:
            return Form({"type": "object"})
        key, value = self.form(arguments[0]), self.form(arguments[1])
        names = {word: part for word, part in key.schema.items() if word != "description"}
        closed = names.get("enum", [])
        texts = bool(closed) and all(isinstance(name, str) for name in closed)
        if not texts and names.get("type") != "string":
            why = "has no JSON form; expected dict[str, ...]: JSON's keys are text"
            raise self._refused(hint, why)
        schema: dict[str, Any] = {"type": "object", "additionalProperties": value.schema}
        if names != {"type": "string"}:
            schema["propertyNames"] = names
        if key.read is None and value.read is None:
            return Form(schema)

        def read(items: Mapping[str, Any]) -> dict[Any, Any]:
            return {_read(key, name): _read(value, item) for name, item in items.items()}

        return Form(schema, read)

    def _typed_dict(self, kind: Any, arguments: tuple[Any, ...]) -> Form:
        hints = self._hints_of(kind, arguments)
        required = []
        for name, hint in hints.items():
            # In postponed annotations, `__required_keys__` sees neither of the two.
            marks = {name_of(mark) for mark in marks_of(hint)}
            total = name in kind.__required_keys__
            if "Required" in marks or (total and "NotRequired" not in marks):
                required.append(name)
        forms = {name: self.form(hint) for name, hint in hints.items()}
        schema = self._schema_of_fields(kind, forms, required, {})
        if all(form.read is None for form in forms.values()):
            return Form(schema)
        return Form(schema, lambda items: {k: _read(forms[k], v) for k, v in items.items()})

    def _record(self, kind: Any, arguments: tuple[Any, ...]) -> Form:
        """Return the form of a class that is made of named values: a dataclass, a NamedTuple."""
        hints = self._hints_of(kind, arguments)
        forms: dict[str, Form] = {}
        required, defaults = [], {}
        for name, parameter in inspect.signature(kind).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise self._refused(kind, f"has no JSON form: {name} is not given by name")
            hint = hints.get(name, Any)
            forms[name] = self.form(hint.type if isinstance(hint, dataclasses.InitVar) else hint)
            if parameter.default is parameter.empty:
                required.append(name)
            elif parameter.default is not None and not _is_factory(parameter.default):
                defaults[name] = self.default(parameter.default)
        schema = self._schema_of_fields(kind, forms, required, defaults)
        return Form(schema, lambda items: kind(**{k: _read(forms[k], v) for k, v in items.items()}))

    def _schema_of_fields(
        self,
        kind: type,
        forms: Mapping[str, Form],
        required: list[str],
        defaults: Mapping[str, Any],
    ) -> dict[str, Any]:
        text = inspect.cleandoc(kind.__doc__ or "")
        # A dataclass or NamedTuple without a docstring has its signature there.
        told = read_docstring("" if text.startswith(f"{kind.__name__}(") else text)
        properties = {}
        for name, form in forms.items():
            words = {"description": told.parameters[name]} if name in told.parameters else {}
            default = {"default": defaults[name]} if name in defaults else {}
            properties[name] = {**form.schema, **words, **default}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        schema["additionalProperties"] = False
        return schema | ({"description": told.prose} if told.prose else {})

    def _hints_of(self, kind: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
        names = {**local_names(kind), **vars(kind), kind.__name__: kind}
        hints = resolved_hints(kind, self.where, names)
        variables = dict(variables_of(kind, arguments))
        try:
            return {name: substituted(hint, variables) for name, hint in hints.items()}
        except TypeError as error:  # Python's unions take only what has a hash
            raise self._refused(kind, f"cannot be resolved: {error}") from None

    def _pydantic(self, hint: Any) -> Form:
        open_names = {name: None for name in self._open.values() if name}
        try:
            form = pydantic_form(hint, {**self.definitions, **open_names})
        except TypeError as error:
            raise self._refused(hint, f"has no JSON form: {error}") from None
        self.definitions |= form.definitions
        return Form(form.schema, form.read)

    def default(self, value: Any) -> Any:
        """Return a default as JSON. Raises `UsageError` for one that has no JSON form."""
        try:
            plain = plain_default(value)
            json.dumps(plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise UsageError(f"{self.where}: the default {brief(value)} has no JSON form") from None
        return plain


def _is_typed_dict(kind: type) -> bool:
    """Say whether it is a TypedDict of typing_extensions, on old Pythons one of its own."""
    return type(kind).__name__ == "_TypedDictMeta"


def _has_hash(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is typing.Annotated:
        return _has_hash(get_args(hint)[0])
    if isinstance(kind, type):
        return kind.__hash__ is not None and kind not in _ARRAYS.keys() - {frozenset}
    return all(map(_has_hash, get_args(hint))) if kind in (Union, types.UnionType) else True


def _hashes(hint: Any) -> bool:
    try:
        hash(hint)
    except TypeError:  # an `Annotated` of something that has no hash
        return False
    return True


def _is_factory(default: Any) -> bool:
    return type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"


def _read(form: Form, value: Any) -> Any:
    return value if form.read is None else form.read(value)
