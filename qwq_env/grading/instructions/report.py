"""Which of a prompt's instructions a response follows, strictly and loosely.

The 25 checks and the two ways of counting are IFEval's (Zhou et al., 2023). *Strict* looks at the
response as it is. *Loose* looks at eight forms of it, without its first line, its last line, both,
and each without asterisks, and is content with any: a preamble or bold type does not count
against the model then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qwq_env.errors import UsageError, unknown
from qwq_env.grading.instructions import keywords, layout, length, writing
from qwq_env.grading.instructions.english import BUILT_IN
from qwq_env.grading.instructions.sentences import Knowledge
from qwq_env.grading.instructions.settings import Settings

__all__ = ["INSTRUCTIONS", "InstructionReport", "InstructionVerdict", "check_instructions"]

Check = Callable[[Settings, str], bool | None]

_CHECKS: dict[str, Check] = {
    **keywords.CHECKS,
    **length.CHECKS,
    **layout.CHECKS,
    **writing.CHECKS,
}

INSTRUCTIONS = tuple(sorted(_CHECKS))
"""The ids of the 25 instructions."""


@dataclass(frozen=True, slots=True)
class InstructionVerdict:
    """Whether one instruction is followed; None where it could not be decided."""

    instruction: str
    strict: bool | None
    loose: bool | None


@dataclass(frozen=True, slots=True)
class InstructionReport:
    """The verdicts on all instructions of one prompt, in the prompt's order."""

    verdicts: tuple[InstructionVerdict, ...]

    @property
    def prompt_strict(self) -> bool | None:
        """Whether all are followed strictly; False as soon as one is not, else None for unknown."""
        return _all(verdict.strict for verdict in self.verdicts)

    @property
    def prompt_loose(self) -> bool | None:
        """Whether all are followed loosely; False as soon as one is not, else None for unknown."""
        return _all(verdict.loose for verdict in self.verdicts)

    @property
    def fraction_strict(self) -> float | None:
        """The share of the instructions followed strictly; None if any is undecided."""
        return _share([verdict.strict for verdict in self.verdicts])

    @property
    def fraction_loose(self) -> float | None:
        """The share of the instructions followed loosely; None if any is undecided."""
        return _share([verdict.loose for verdict in self.verdicts])


def check_instructions(
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, object]],
    prompt: str,
    response: str,
    *,
    knowledge: Knowledge = BUILT_IN,
    undetectable_follows: bool = True,
) -> InstructionReport:
    """Check `response` against every instruction of a prompt.

        report = check_instructions(["punctuation:no_comma"], [{}], prompt, "No comma here.")
        report.prompt_strict  # True

    `kwargs` has one mapping for each id, as in the published rows; a parameter of None counts as
    absent. `knowledge` says what sentences are split with. IFEval lets a text in which no
    language can be found, digits for instance, count as written in any language that is asked;
    a reward should not, and passes `undetectable_follows=False`. A blank response follows nothing.

    The same arguments give the same report, in any thread or process. Raises UsageError for an
    unknown id or a missing or malformed parameter.
    """
    if len(kwargs) != len(instruction_ids):
        raise UsageError(
            f"kwargs: {len(kwargs)} entries; expected one for each of the "
            f"{len(instruction_ids)} instructions"
        )
    forms = _loose_forms(response)
    verdicts: list[InstructionVerdict] = []
    for instruction, values in zip(instruction_ids, kwargs, strict=True):
        check = _CHECKS.get(instruction)
        if check is None:
            raise unknown("instruction", instruction, INSTRUCTIONS)
        settings = Settings(instruction, values, prompt, knowledge, undetectable_follows)
        strict = _follows(check, settings, response)
        loose = True if strict else _any(_follows(check, settings, form) for form in forms)
        verdicts.append(InstructionVerdict(instruction, strict, loose))
    return InstructionReport(tuple(verdicts))


def _follows(check: Check, settings: Settings, response: str) -> bool | None:
    # The check runs on a blank response too: a malformed row is an error whatever the model wrote.
    followed = check(settings, response)
    return followed if response.strip() else False


def _loose_forms(response: str) -> list[str]:
    lines = response.split("\n")
    cuts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys(form for cut in cuts for form in (cut, cut.replace("*", ""))))


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    undecided = False
    for verdict in verdicts:
        if verdict:
            return True
        undecided = undecided or verdict is None
    return None if undecided else False


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    undecided = False
    for verdict in verdicts:
        if verdict is False:
            return False
        undecided = undecided or verdict is None
    return None if undecided else True


def _share(verdicts: list[bool | None]) -> float | None:
    if not verdicts or None in verdicts:
        return None
    return sum(map(bool, verdicts)) / len(verdicts)
