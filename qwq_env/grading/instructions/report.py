"""Which of a prompt's instructions a response follows, strictly and loosely.

The checks are IFEval's 25 (Zhou et al., 2023) and those of IFBench (Pyatkin et al., 2025), which
counts in the same two ways. *Strict* looks at the
response as it is. *Loose* looks at eight forms of it, without its first line, its last line, both,
and each without asterisks, and is content with any: a preamble or bold type does not count
against the model then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.grading.instructions import ifbench, keywords, layout, length, writing
from qwq_env.grading.instructions.english import BUILT_IN
from qwq_env.grading.instructions.sentences import Knowledge
from qwq_env.grading.instructions.settings import Settings
from qwq_env.grading.instructions.substance import SUBSTANCE, has_content, visible

__all__ = [
    "IFBENCH_INSTRUCTIONS",
    "INSTRUCTIONS",
    "InstructionReport",
    "InstructionVerdict",
    "Rules",
    "check_instructions",
]

Rules = Literal["ifeval", "reward"]
"""The rules as published, or those and what a reward asks besides (see `substance`)."""

Check = Callable[[Settings, str], bool | None]

_IFEVAL: dict[str, Check] = {
    **keywords.CHECKS,
    **length.CHECKS,
    **layout.CHECKS,
    **writing.CHECKS,
}
_CHECKS: dict[str, Check] = {**_IFEVAL, **ifbench.CHECKS}
_SUBSTANCE = {**SUBSTANCE, **ifbench.SUBSTANCE}

INSTRUCTIONS = tuple(sorted(_IFEVAL))
"""The ids of IFEval's 25 instructions."""

IFBENCH_INSTRUCTIONS = tuple(sorted(ifbench.CHECKS))
"""The ids of IFBench's instructions that can be checked here: 56 of 58."""


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
    rules: Rules = "ifeval",
) -> InstructionReport:
    """Check `response` against every instruction of a prompt.

        report = check_instructions(["punctuation:no_comma"], [{}], prompt, "No comma here.")
        report.prompt_strict  # True

    `kwargs` has one mapping for each id, as in the published rows; a parameter of None counts as
    absent. `knowledge` says what sentences are split with. A blank response follows nothing.

    `rules` "ifeval" gives the verdicts of the published evaluation. By those, invisible characters
    make words, titles and bullets, and digits are written in any language that is asked. "reward"
    looks at what is seen and asks that the parts which a rule wants hold something.

    The same arguments give the same report, in any thread or process. Raises UsageError for an
    unknown id or a missing or malformed parameter.
    """
    if rules not in ("ifeval", "reward"):
        raise UsageError(f"rules: {brief(rules)}; expected 'ifeval' or 'reward'")
    if len(kwargs) != len(instruction_ids):
        raise UsageError(
            f"kwargs: {len(kwargs)} entries; expected one for each of the "
            f"{len(instruction_ids)} instructions"
        )
    if rules == "reward":
        prompt, response = visible(prompt), visible(response)
        kwargs = [_visible_values(values) for values in kwargs]
    forms = _loose_forms(response)
    verdicts: list[InstructionVerdict] = []
    for instruction, values in zip(instruction_ids, kwargs, strict=True):
        published = _CHECKS.get(instruction)
        if published is None:
            raise _not_known(instruction)
        check = published if rules == "ifeval" else _with_substance(instruction, published)
        settings = Settings(instruction, values, prompt, knowledge, rules == "ifeval")
        strict = _follows(check, settings, response)
        loose = True if strict else _any(_follows(check, settings, form) for form in forms)
        verdicts.append(InstructionVerdict(instruction, strict, loose))
    return InstructionReport(tuple(verdicts))


def _not_known(instruction: str) -> UsageError:
    reason = ifbench.NOT_CHECKED.get(instruction)
    if reason is not None:
        return UsageError(f"instruction: {instruction!r} is not known here: {reason}")
    family = [name for name in _CHECKS if name.split(":")[0] == instruction.split(":")[0]]
    return unknown("instruction", instruction, family or INSTRUCTIONS)


def _follows(check: Check, settings: Settings, response: str) -> bool | None:
    # The check runs on a blank response too: a malformed row is an error whatever the model wrote.
    followed = check(settings, response)
    return followed if response.strip() else False


def _with_substance(instruction: str, published: Check) -> Check:
    more = _SUBSTANCE.get(instruction)

    def check(settings: Settings, response: str) -> bool | None:
        followed = published(settings, response)
        if not followed or (has_content(response) and (more is None or more(settings, response))):
            return followed
        return False

    return check


def _visible_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters as the response is looked at, else it could not repeat them."""
    return {name: _visible_value(value) for name, value in values.items()}


def _visible_value(value: object) -> object:
    if isinstance(value, str):
        return visible(value) or value
    return [_visible_value(item) for item in value] if isinstance(value, list) else value


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
