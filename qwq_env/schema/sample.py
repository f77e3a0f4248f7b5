"""Values drawn at random from a JSON schema: arguments that a tool would take.

Why you would want this: a policy that calls tools without knowing what they are for, in audits of
rewards and in tests of tools.

```python
sample_arguments(tool.parameters, random.Random(0), words=task.prompt.split())
```
"""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

_DEEPEST: Final = 6
"""From here on what is optional is left out."""
_NO_DEEPER: Final = 40
_OPTIONAL_ITEMS: Final = 3
_WORDS: Final = ("a", "test", "0", "1", "x", "hello world", "2024-05-15", "user_1", "")
_TYPES: Final = ("string", "integer", "number", "boolean", "null")
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2024-05-15",
    "time": "10:30:00Z",
    "date-time": "2024-05-15T10:30:00Z",
    "email": "ann@example.com",
    "uri": "https://example.com/",
    "uuid": "5f0c2f0e-4c07-4b5e-9d0c-0a1b2c3d4e5f",
    "ipv4": "192.0.2.1",
}
_HINTS: Final[Mapping[str, str]] = {
    "properties": "object", "required": "object", "items": "array", "prefixItems": "array",
    "minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
    "minimum": "number", "maximum": "number", "multipleOf": "number",
}  # fmt: skip
"""Keywords that tell the type where a schema does not."""
_BOUNDS: Final = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}


def sample_arguments(
    parameters: Mapping[str, Any], chance: random.Random, words: Sequence[str] = ()
) -> dict[str, Any]:
    """Return arguments that fit `parameters`, the schema of a tool, drawn with `chance`.

    Texts are words of its own or of `words`, such as those of a task, which also give numbers.
    Keywords that tie values together (`not`, `if`, `dependentSchemas`) and patterns that no word
    meets are not followed: such arguments may be refused, as a policy's are.
    """
    drawn = _Sampler(parameters, chance, words).value(parameters, 0)
    return drawn if isinstance(drawn, dict) else {}


class _Sampler:
    def __init__(
        self, root: Mapping[str, Any], chance: random.Random, words: Sequence[str]
    ) -> None:
        self._root, self._chance = root, chance
        self._given = list(dict.fromkeys(word.strip(string.punctuation) for word in words))
        self._numbers = [int(word) for word in self._given if re.fullmatch("[0-9]{1,9}", word)]

    def value(self, schema: Any, depth: int) -> Any:
        """Return a value of a schema that stands `depth` levels deep."""
        if not isinstance(schema, Mapping) or depth > _NO_DEEPER:
            return self._text({}) if schema is True or schema == {} else None
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        for column in ("enum", "examples"):
            values = schema.get(column)
            if isinstance(values, list) and values and (column == "enum" or self._coin()):
                return self._chance.choice(values)
        if "default" in schema and self._chance.random() < 0.25:
            return schema["default"]
        kind = self._kind(schema, depth)
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._text(schema)
            case "integer" | "number":
                return self._number(schema, kind == "integer")
        return self._coin() if kind == "boolean" else None

    def _plain(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Return a schema with its references followed and its alternatives chosen."""
        plain = dict(schema)
        for _ in range(_NO_DEEPER):
            if isinstance(reference := plain.pop("$ref", None), str):
                plain = _both(self._referred(reference), plain)
            elif parts := plain.pop("allOf", None):
                for part in parts:
                    plain = _both(plain, part)
            elif parts := plain.pop("anyOf", None) or plain.pop("oneOf", None):
                plain = _both(plain, self._alternative(parts, depth))
            else:
                return plain
        return {}

    def _alternative(self, parts: Sequence[Any], depth: int) -> Any:
        if depth < _DEEPEST:
            return self._chance.choice(parts)
        flat = [part for part in parts if isinstance(part, Mapping) and part.get("type") in _TYPES]
        return self._chance.choice(flat or list(parts))

    def _referred(self, reference: str) -> Any:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (KeyError, IndexError, ValueError, TypeError):
                return {}
        return found

    def _kind(self, schema: Mapping[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            flat = [each for each in kind if each in _TYPES] if depth >= _DEEPEST else []
            return str(self._chance.choice(flat or kind))
        if isinstance(kind, str):
            return kind
        hinted = [_HINTS[keyword] for keyword in schema if keyword in _HINTS]
        return hinted[0] if hinted else self._chance.choice(_TYPES)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        entries: Mapping[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or []
        drawn = {
            name: self.value(entries.get(name, {}), depth + 1)
            for name in [*entries, *(name for name in required if name not in entries)]
            if name in required or (depth < _DEEPEST and self._coin())
        }
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            least = _whole(schema.get("minProperties"), 0)
            wished = 0 if depth >= _DEEPEST else self._chance.randint(0, 2)
            for number in range(max(least - len(drawn), wished)):
                drawn[self._word() or f"key{number}"] = self.value(more, depth + 1)
        return drawn

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems")
        items = schema.get("items", {})
        if isinstance(items, list):  # an older draft's tuple
            first, items = items, schema.get("additionalItems", {})
        first = first if isinstance(first, list) else []
        least = _whole(schema.get("minItems"), 0)
        wished = 0 if depth >= _DEEPEST else self._chance.randint(0, _OPTIONAL_ITEMS)
        size = min(max(least, len(first), wished), _whole(schema.get("maxItems"), least + 100))
        if items is False:
            size = min(size, len(first))
        drawn: list[Any] = []
        for _ in range(4 * size):
            if len(drawn) == size:
                break
            schema_of_it = first[len(drawn)] if len(drawn) < len(first) else items
            item = self.value(schema_of_it, depth + 1)
            if not (schema.get("uniqueItems") and item in drawn):
                drawn.append(item)
        return drawn

    def _text(self, schema: Mapping[str, Any]) -> str:
        least = _whole(schema.get("minLength"), 0)
        most = _whole(schema.get("maxLength"), max(least, 10_000))
        text = _FORMATS.get(str(schema.get("format"))) or self._word()
        if isinstance(pattern := schema.get("pattern"), str):
            text = self._matching(pattern, text)
        if len(text) < least:
            text = (text + "abcdefgh" * (least // 8 + 1))[:least]
        return text[:most]

    def _matching(self, pattern: str, text: str) -> str:
        try:
            known = [*self._given, *_WORDS, *_FORMATS.values()]
            fits = [word for word in known if re.search(pattern, word)]
        except re.error:
            fits = []
        return self._chance.choice(fits) if fits else text

    def _number(self, schema: Mapping[str, Any], whole: bool) -> int | float:
        low, high = _bounds(schema, whole)
        free = not schema.keys() & _BOUNDS
        fits = [number for number in self._numbers if free or low <= number <= high]
        step = schema.get("multipleOf")
        if isinstance(step, int | float) and step > 0:
            first, last = math.ceil(low / step), math.floor(high / step)
            number = self._chance.randint(first, max(first, last)) * step
            return int(number) if whole else number
        if fits and self._chance.random() < 0.25:
            return self._chance.choice(fits)
        if whole:
            return self._chance.randint(math.ceil(low), max(math.ceil(low), math.floor(high)))
        return round(self._chance.uniform(low, high), 2) if high - low > 1 else (low + high) / 2

    def _word(self) -> str:
        return self._chance.choice(self._given if self._given and self._coin() else _WORDS)

    def _coin(self) -> bool:
        return self._chance.random() < 0.5


def _both(left: Any, right: Any) -> dict[str, Any]:
    """Return a schema of what both ask for; where they contradict each other, `right` counts."""
    left, right = (dict(each) if isinstance(each, Mapping) else {} for each in (left, right))
    joined = {**left, **right}
    if "properties" in left and "properties" in right:
        joined["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left and "required" in right:
        joined["required"] = [*left["required"], *right["required"]]
    return joined


def _bounds(schema: Mapping[str, Any], whole: bool) -> tuple[float, float]:
    """Return the least and the greatest number to draw, both allowed."""
    step = 1.0 if whole else 0.01
    low, high = _number_or(schema.get("minimum")), _number_or(schema.get("maximum"))
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    # An older draft says by True that the bound itself is not allowed.
    above = low if above is True else _number_or(above)
    below = high if below is True else _number_or(below)
    lows = [low, None if above is None else above + step]
    highs = [high, None if below is None else below - step]
    least = max((each for each in lows if each is not None), default=None)
    most = min((each for each in highs if each is not None), default=None)
    if least is None:
        least = -1.0 if most is None else min(-1.0, most - 100)
    return least, max(least, max(100.0, least + 100) if most is None else most)


def _number_or(value: Any) -> float | None:
    """Return a number, None for what is none; True and False are none."""
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


def _whole(value: Any, default: int) -> int:
    return int(value) if isinstance(value, int | float) and value >= 0 else default
