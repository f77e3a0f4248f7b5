"""The parameters of an instruction, read from a task row that nobody has checked.

A row that lacks a parameter, or has it as the wrong type, is the operator's mistake: UsageError,
one line, naming the instruction and the parameter. None counts as absent, because the published
data set fills every row with the parameters of all instructions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qwq_env.errors import UsageError, brief
from qwq_env.grading.instructions.english import BUILT_IN
from qwq_env.grading.instructions.sentences import Knowledge

__all__ = ["RELATIONS", "Settings"]

RELATIONS = ("less than", "at least")


@dataclass(frozen=True, slots=True)
class Settings:
    """One instruction's id and parameters, and what its check may know.

    `prompt` is the task's prompt; `undetectable` is the verdict on the language of a text in which
    no language can be found.
    """

    instruction: str
    values: Mapping[str, object]
    prompt: str = ""
    knowledge: Knowledge = field(default=BUILT_IN, repr=False)
    undetectable: bool = True

    def number(self, name: str, least: int = 0) -> int:
        """An integer of at least `least` (a float counts if it is whole)."""
        value = self._value(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._wrong(name, value, f"an integer of at least {least}")
        return value

    def text(self, name: str) -> str:
        """A text that is not blank."""
        value = self._value(name)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(name, value, "a text that is not blank")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of at least one text, none of them empty."""
        value = self._value(name)
        if not isinstance(value, (list, tuple)) or not value:
            raise self._wrong(name, value, "a list of texts")
        for item in value:
            if not isinstance(item, str) or not item:
                raise self._wrong(name, value, "a list of texts")
        return list(value)

    def holds(self, count: int, threshold: str, relation: str) -> bool:
        """Whether `count` stands in the relation that the row asks to its threshold."""
        limit = self.number(threshold)
        asked = self._value(relation)
        if asked not in RELATIONS:
            raise self._wrong(relation, asked, " or ".join(map(repr, RELATIONS)))
        return count < limit if asked == "less than" else count >= limit

    def _value(self, name: str) -> object:
        value = self.values.get(name)
        if value is None:
            raise self._wrong(name, None, "a value")
        return value

    def _wrong(self, name: str, value: object, expected: str) -> UsageError:
        shown = "is missing" if value is None else f"is {brief(value)}"
        return UsageError(f"{self.instruction}: {name} {shown}; expected {expected}")
