"""YAML as a recipe needs it: names, values, lists, and nothing by which a page becomes gigabytes.

YAML is a language of its own: an alias stands for what was written elsewhere, so that ten lines
make ten billion items; `<<` merges, `!tags` construct, a key may be a date or a list, and of a
key that stands there twice the last one silently counts. All of that is refused with its line.
Numbers are read as they look: not 010 as 8 nor 1:30 as 90, and 5e-4 is one. Dates are texts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from qwq_env.errors import UsageError, brief

_MOST_BYTES: Final = 100_000
_DEEPEST: Final = 10
_TEXT: Final = "tag:yaml.org,2002:str"
_NUMBERS: Final = {
    "tag:yaml.org,2002:int": r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)",
    "tag:yaml.org,2002:float": r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    r"|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
}
_NO_VALUES: Final = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", *_NUMBERS})


def read_yaml_file(path: Path) -> Any:
    """Return the value of a file. Raises `UsageError` that names the file and the line."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"recipe: {path}: {error.strerror}; expected a YAML file") from None
    except ValueError as error:
        raise UsageError(f"recipe: {brief(str(path))}: {error}; expected a YAML file") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"recipe: {path}: more than {_MOST_BYTES} bytes; expected a page of YAML")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"recipe: {path}: not UTF-8 at byte {error.start}") from None
    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        parts = [getattr(error, part, None) for part in ("context", "problem")]
        reason = ", ".join(filter(None, parts)) or " ".join(str(error).split())
        raise UsageError(f"recipe: {path}{line}: {reason:.200}") from None


def read_yaml(text: str) -> Any:
    """Return the value of a text. Raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_Loader)


def write_yaml(value: Any) -> str:
    """Return `value` as `read_yaml` reads it."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Plain:
    """Which texts without quotes are something else: in reading and writing alike."""

    yaml_implicit_resolvers: Any = {  # noqa: RUF012 - PyYAML's own class attribute, which is read only
        first: [known for known in resolvers if known[0] not in _NO_VALUES]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _tag, _pattern in _NUMBERS.items():
    for _first in "-+.0123456789":
        _resolver = (_tag, re.compile(f"(?:{_pattern})\\Z"))
        _Plain.yaml_implicit_resolvers.setdefault(_first, []).append(_resolver)


class _Dumper(_Plain, yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(_Plain, yaml.SafeLoader):
    """The safe loader, without what a recipe has no use for."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types for it
        if isinstance(event, yaml.AliasEvent):
            _refuse(f"an alias (*{brief(event.anchor)[1:-1]}); write it out", event)
        if event.anchor is not None:
            _refuse(f"an anchor (&{brief(event.anchor)[1:-1]}); a recipe has none", event)
        if event.tag is not None:
            _refuse(f"a tag ({brief(event.tag)[1:-1]}); a recipe has none", event)
        self._level += 1
        if self._level > _DEEPEST:
            _refuse("nested too deeply; expected keys and values", event)
        node = super().compose_node(parent, index)
        self._level -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = set()
        for key, _ in node.value:
            if key.tag != _TEXT:
                written = key.value if isinstance(key, yaml.ScalarNode) else []
                _refuse(f"the key {brief(written)}; expected a name (quote it to be one)", key)
            if key.value in keys:
                _refuse(f"the key {brief(key.value)} twice; expected it once", key)
            keys.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError):
            # A number of thousands of digits.
            _refuse(f"{brief(node.value)} cannot be read; quote it if it is a text", node)
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                _refuse("half a surrogate pair (\\ud800 to \\udfff); expected text", node)
        return value


def _refuse(problem: str, place: Any) -> None:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
