"""Procedural prompts that ask for a short text and say what it must look like.

Why you would want this: instruction following that needs no download, endless and the same on
every machine, where rules alone can tell whether an answer follows.

| difficulty | asked beside two keywords, a length and a layout |
|---|---|
| 1 | one thing more: a title, an ending, a postscript, placeholders, no commas |
| 2 | two of them |
| 3 | three of them, and two words that must not be used |
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.grading.instructions import check_instructions
from qwq_env.task import Task

_TOPICS = (
    "autumn", "bicycles", "bread", "bridges", "cats", "chess", "clouds", "coffee", "deserts",
    "forests", "gardens", "glass", "honey", "islands", "lighthouses", "maps", "markets", "music",
    "night trains", "old letters", "paper", "rivers", "salt", "snow", "stairs", "tea", "towers",
    "umbrellas", "violins", "wind",
)  # fmt: skip
_KEYWORDS = (
    "amber", "anchor", "basket", "beacon", "candle", "canvas", "carpet", "copper", "cotton",
    "crystal", "ember", "fable", "feather", "ferry", "fossil", "gallery", "harbor", "hammer",
    "harvest", "hollow", "ivory", "jungle", "kettle", "ladder", "lantern", "linen", "marble",
    "meadow", "mirror", "needle", "orchard", "oyster", "pebble", "pepper", "pigeon", "puzzle",
    "quarry", "ribbon", "saddle", "shadow", "silver", "spiral", "thunder", "timber", "velvet",
    "village", "walnut", "whistle", "willow", "window",
)  # fmt: skip
_ENDINGS = (
    "That is all for today.", "Nothing more needs to be said.", "So it goes on.",
    "Now it is your turn.", "The rest is silence.", "I will leave it there.",
    "Thank you for reading this.", "We shall see tomorrow.",
)  # fmt: skip
_FILLERS = (
    "There is more to say about {topic} than one expects.",
    "People have written about {topic} for a very long time.",
    "A quiet hour is enough to see why {topic} matter to so many.",
    "Even those who know {topic} well are surprised now and then.",
    "Whoever starts with {topic} rarely stops there.",
)
_ASKED: Mapping[str, str] = {
    "keywords:existence": "Use the words {keywords[0]} and {keywords[1]}.",
    "keywords:forbidden_words": (
        "Do not use the words {forbidden_words[0]} and {forbidden_words[1]}."
    ),
    "length_constraints:number_words": "Keep it under {num_words} words.",
    "length_constraints:number_paragraphs": (
        "Write exactly {num_paragraphs} paragraphs with the divider *** between them."
    ),
    "detectable_format:number_bullet_lists": (
        "Give exactly {num_bullets} bullet points, each on a line that begins with an asterisk."
    ),
    "detectable_format:multiple_sections": (
        "Divide it into {num_sections} parts headed {section_spliter} 1 to "
        "{section_spliter} {num_sections}."
    ),
    "detectable_format:title": "Put a title in double angular brackets on top.",
    "combination:two_responses": (
        "Give two different versions and put six asterisks ****** between them."
    ),
    "startend:end_checker": ('Finish with the exact words "{end_phrase}" and let nothing follow.'),
    "detectable_content:postscript": "Add a postscript that begins with {postscript_marker}",
    "detectable_content:number_placeholders": (
        "Leave at least {num_placeholders} placeholders in square brackets."
    ),
    "punctuation:no_comma": "Use no commas at all.",
}
"""How each instruction is put into words, with its parameters."""
_ASKED_OF_HELD_OUT: Mapping[str, str] = {
    "keywords:existence": "Both {keywords[0]} and {keywords[1]} have to appear in it.",
    "keywords:forbidden_words": (
        "Neither {forbidden_words[0]} nor {forbidden_words[1]} may appear in it."
    ),
    "length_constraints:number_words": "It has to be shorter than {num_words} words.",
    "length_constraints:number_paragraphs": (
        "I want {num_paragraphs} paragraphs, no more and no less, parted by three asterisks ***"
    ),
    "detectable_format:number_bullet_lists": (
        "As a list, please: {num_bullets} points, each of them behind an asterisk on its line."
    ),
    "detectable_format:multiple_sections": (
        "It has {num_sections} sections, and above them stands {section_spliter} 1, "
        "{section_spliter} 2 and so on."
    ),
    "detectable_format:title": "It has a title in angular brackets, two on each side.",
    "combination:two_responses": "I want to choose from two texts, parted by six asterisks ******",
    "startend:end_checker": 'The last words have to be "{end_phrase}"',
    "detectable_content:postscript": (
        "At the end, after {postscript_marker} as in a letter, add a remark."
    ),
    "detectable_content:number_placeholders": (
        "What I shall fill in later stands in square brackets, such as [name]: {num_placeholders} "
        "times or more."
    ),
    "punctuation:no_comma": "Write it without a single comma.",
}
"""The same in the words of the held-out tasks."""


@dataclass
class _Draft:
    """An answer that grows with the rules asked for, and the rules."""

    topic: str
    blocks: list[str]
    join: str = "\n\n"
    heads: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    ending: str = ""
    rules: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def ask(self, instruction: str, **values: Any) -> None:
        self.rules.append((instruction, values))

    def text(self) -> str:
        body = self.join.join(self.blocks)
        tails = [*self.tails, self.ending] if self.ending else self.tails
        return "\n".join([*self.heads, body, *tails])


class InstructionTaskSet(ProceduralTaskSet):
    """Short texts to be written under instructions, by index; see the module for the difficulties.

    `Task.answer` is an answer that follows them; the prompt itself does not. The instructions are
    IFEval's, in `Task.metadata` under `instruction_id_list` and `kwargs`. None of them needs more
    than the library itself to be checked. The topics of the two splits differ, and so do the words
    in which the instructions are put.
    """

    family = "instructions"
    levels = 3

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        attempt = 0
        while True:
            key = f"{self.seed}/{self.difficulty}/{self.split}/{index}/{attempt}"
            task = self._write(f"{self._prefix}{index}", random.Random(key))
            # A prompt that follows its own instructions would pay whoever repeats it.
            if _follows(task, str(task.answer)) and not _follows(task, task.prompt, loose=True):
                return task
            attempt += 1

    def _write(self, task_id: str, draws: random.Random) -> Task:
        topic = draws.choice([each for each in _TOPICS if split_of(each) == self.split])
        draft = _drafted(topic, self.difficulty, draws)
        rules = draws.sample(draft.rules, len(draft.rules))
        metadata = {
            "difficulty": self.difficulty,
            "instruction_id_list": [instruction for instruction, _ in rules],
            "kwargs": [values for _, values in rules],
        }
        words = _ASKED if self.split == "train" else _ASKED_OF_HELD_OUT
        asked = " ".join(words[instruction].format(**values) for instruction, values in rules)
        opening = "Write a short note on" if self.split == "train" else "I need a few lines about"
        return Task(task_id, f"{opening} {topic}. {asked}", draft.text(), (), metadata)


def _drafted(topic: str, difficulty: int, draws: random.Random) -> _Draft:
    first, second, *unwanted = draws.sample(_KEYWORDS, 4)
    opening = f"This note on {topic} begins with a {first} and ends with a {second}."
    fillers = draws.sample([filler.format(topic=topic) for filler in _FILLERS], 4)
    draft = _Draft(topic, [opening, *fillers])
    draft.ask("keywords:existence", keywords=[first, second])
    words = draws.randrange(90, 160, 10)
    draft.ask("length_constraints:number_words", num_words=words, relation="less than")
    draws.choice(_LAYOUTS)(draft, draws)
    for extra in draws.sample(_EXTRAS, difficulty):
        extra(draft, draws)
    if difficulty == 3:
        draft.ask("keywords:forbidden_words", forbidden_words=unwanted)
    return draft


def _bullets(draft: _Draft, draws: random.Random) -> None:
    count = draws.randint(2, 5)
    draft.blocks = [f"* {block}" for block in draft.blocks[:count]]
    draft.join = "\n"
    draft.ask("detectable_format:number_bullet_lists", num_bullets=count)


def _paragraphs(draft: _Draft, draws: random.Random) -> None:
    count = draws.randint(2, 4)
    draft.blocks = draft.blocks[:count]
    draft.join = "\n\n***\n\n"
    draft.ask("length_constraints:number_paragraphs", num_paragraphs=count)


def _sections(draft: _Draft, draws: random.Random) -> None:
    count = draws.randint(3, 5)
    name = draws.choice(("Section", "Part", "Chapter"))
    draft.blocks = [f"{name} {i}\n{block}" for i, block in enumerate(draft.blocks[:count], 1)]
    draft.ask("detectable_format:multiple_sections", section_spliter=name, num_sections=count)


def _two_answers(draft: _Draft, draws: random.Random) -> None:
    draft.blocks = draft.blocks[:2]
    draft.join = "\n******\n"
    draft.ask("combination:two_responses")


def _title(draft: _Draft, draws: random.Random) -> None:
    draft.heads.append(f"<<On {draft.topic}>>")
    draft.ask("detectable_format:title")


def _ending(draft: _Draft, draws: random.Random) -> None:
    draft.ending = draws.choice(_ENDINGS)
    draft.ask("startend:end_checker", end_phrase=draft.ending)


def _postscript(draft: _Draft, draws: random.Random) -> None:
    draft.tails.append(f"P.S. Ask me about {draft.topic} again.")
    draft.ask("detectable_content:postscript", postscript_marker="P.S.")


def _no_comma(draft: _Draft, draws: random.Random) -> None:
    draft.ask("punctuation:no_comma")


def _placeholders(draft: _Draft, draws: random.Random) -> None:
    count = draws.randint(1, 3)
    draft.tails.append("To be sent to " + " and ".join(["[name]", "[street]", "[town]"][:count]))
    draft.ask("detectable_content:number_placeholders", num_placeholders=count)


_LAYOUTS = (_bullets, _paragraphs, _sections, _two_answers)
_EXTRAS = (_title, _ending, _postscript, _no_comma, _placeholders)


def _follows(task: Task, answer: str, *, loose: bool = False) -> bool:
    rules: Mapping[str, Any] = task.metadata
    report = check_instructions(rules["instruction_id_list"], rules["kwargs"], task.prompt, answer)
    return bool(report.prompt_loose if loose else report.prompt_strict)
