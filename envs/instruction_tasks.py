"""Procedural prompts that ask for a short text and say what it must look like.

Why you would want this: instruction following that needs no download, endless and the same on
every machine, where rules alone can tell whether an answer follows. The rules are IFEval's; those
of IFBench are left to its own test, for which they are meant to be new.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

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
    "Nobody can say when {topic} came into our lives.",
    "Much of what we hear about {topic} is only half true.",
)
_LETTERS: Final = {"j": "jungle", "q": "quarry", "v": "velvet", "x": "fox", "z": "zebra"}
_ALWAYS: Final = ("keywords:existence", "length_constraints:number_words")
"""What every task asks for: two words of its own, and a bound that a text of everything exceeds."""
_LEAST_RULES: Final = 3

_FRAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("Write a short note on {topic}.", "Tell me something about {topic}."),
    "heldout": ("I would like to read a few lines about {topic}.", "Compose a text on {topic}."),
}
_WORDINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "train": {
        "keywords:existence": (
            "Use the words {keywords[0]} and {keywords[1]}.",
            "Both {keywords[0]} and {keywords[1]} have to occur.",
        ),
        "keywords:forbidden_words": (
            "Do not use the words {forbidden_words[0]} and {forbidden_words[1]}.",
            "The words {forbidden_words[0]} and {forbidden_words[1]} must not occur.",
        ),
        "keywords:frequency": ("Use the word {keyword} {relation} {frequency} times.",),
        "keywords:letter_frequency": (
            "The letter {letter} has to occur {let_relation} {let_frequency} times.",
        ),
        "length_constraints:number_words": (
            "Use {relation} {num_words} words.",
            "The whole of it has {relation} {num_words} words.",
        ),
        "length_constraints:number_sentences": ("Write {relation} {num_sentences} sentences.",),
        "length_constraints:number_paragraphs": (
            "Write exactly {num_paragraphs} paragraphs with the divider *** between them.",
        ),
        "detectable_format:number_bullet_lists": (
            "Give exactly {num_bullets} bullet points, each on a line that begins with an "
            "asterisk.",
        ),
        "detectable_format:multiple_sections": (
            "Divide it into {num_sections} parts headed {section_spliter} 1 to "
            "{section_spliter} {num_sections}.",
        ),
        "detectable_format:number_highlighted_sections": (
            "Highlight at least {num_highlights} phrases with asterisks, *like this*.",
        ),
        "detectable_format:title": ("Put a title in double angular brackets on top.",),
        "combination:two_responses": (
            "Give two different versions and put six asterisks ****** between them.",
        ),
        "startend:end_checker": (
            'Finish with the exact words "{end_phrase}" and let nothing follow.',
        ),
        "detectable_content:postscript": ("Add a postscript that begins with {postscript_marker}",),
        "detectable_content:number_placeholders": (
            "Leave at least {num_placeholders} placeholders in square brackets.",
        ),
        "change_case:capital_word_frequency": (
            "Write {capital_relation} {capital_frequency} words in capital letters only.",
        ),
        "punctuation:no_comma": ("Use no commas at all.", "There must be no comma in it."),
    },
    "heldout": {
        "keywords:existence": ("Work in the words {keywords[0]} and {keywords[1]} somewhere.",),
        "keywords:forbidden_words": (
            "Avoid {forbidden_words[0]} and {forbidden_words[1]} as words.",
        ),
        "keywords:frequency": ("I want to see {keyword} {relation} {frequency} times.",),
        "keywords:letter_frequency": (
            "Let there be {let_relation} {let_frequency} of the letter {letter}.",
        ),
        "length_constraints:number_words": ("Let it be {relation} {num_words} words long.",),
        "length_constraints:number_sentences": ("It takes {relation} {num_sentences} sentences.",),
        "length_constraints:number_paragraphs": (
            "There should be {num_paragraphs} paragraphs, neither more nor fewer, set apart by ***",
        ),
        "detectable_format:number_bullet_lists": (
            "Make it a list of {num_bullets} items, neither more nor fewer, each behind an "
            "asterisk at the start of its line.",
        ),
        "detectable_format:multiple_sections": (
            "It falls into {num_sections} pieces; number their headings, from {section_spliter} 1 "
            "to {section_spliter} {num_sections}.",
        ),
        "detectable_format:number_highlighted_sections": (
            "Set {num_highlights} phrases or more between two asterisks *each*.",
        ),
        "detectable_format:title": ("Begin with a title that looks <<like this>>.",),
        "combination:two_responses": (
            "Answer twice in different words, with ****** as the border of the two answers.",
        ),
        "startend:end_checker": ('The last words have to be "{end_phrase}" as they stand here.',),
        "detectable_content:postscript": ("Below it comes a line that starts {postscript_marker}",),
        "detectable_content:number_placeholders": (
            "Whoever uses it has to fill in {num_placeholders} or more [gaps] in square brackets.",
        ),
        "change_case:capital_word_frequency": (
            "Let {capital_relation} {capital_frequency} words be ALL CAPITALS.",
        ),
        "punctuation:no_comma": ("Manage without a single comma.",),
    },
}
"""How each instruction is put into words, with its parameters: some ways are held out."""


@dataclass
class _Draft:
    """An answer that grows with the rules asked for."""

    topic: str
    word: str
    sentences: list[str]
    parts: int = 1
    head: str = "{block}"
    join: str = "\n\n"
    title: str = ""
    tails: list[str] = field(default_factory=list)
    ending: str = ""

    def text(self) -> str:
        size = -(-len(self.sentences) // self.parts)
        chunks = [self.sentences[place * size : (place + 1) * size] for place in range(self.parts)]
        blocks = [
            self.head.format(number=number, block=" ".join(chunk))
            for number, chunk in enumerate(chunks, 1)
        ]
        pieces = [self.title, self.join.join(blocks), *self.tails, self.ending]
        return "\n".join(filter(None, pieces))


class InstructionTaskSet(ProceduralTaskSet):
    """Short texts to be written under instructions, by index.

    `difficulty` 1 to 5 stands for four to eight of them. `split` is `"train"` or `"heldout"`: each
    has wordings of its own, and combinations of rules of its own: a quarter of all is held out.

    `Task.answer` is an answer that follows them; the prompt itself does not. The instructions are
    IFEval's, in `Task.metadata` under `instruction_id_list` and `kwargs`. None of them needs more
    than the library itself to be checked.
    """

    family = "instructions"
    levels = 5

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        attempt = 0
        while True:
            draws = random.Random(f"{self.seed}/{self.difficulty}/{self.split}/{index}/{attempt}")
            rules = _choose(self.difficulty + _LEAST_RULES, draws)
            if split_of("|".join(sorted(rules))) == self.split:
                task = self._write(f"{self._prefix}{index}", rules, draws)
                # A prompt that follows its own instructions would pay whoever repeats it.
                if _follows(task, str(task.answer)) and not _follows(task, task.prompt):
                    return task
            attempt += 1

    def _write(self, task_id: str, rules: list[str], draws: random.Random) -> Task:
        topic = draws.choice(_TOPICS)
        first, second, third, *unwanted = draws.sample(_KEYWORDS, 5)
        opening = f"This note on {topic} begins with the {first} and ends with the {second}."
        fillers = [filler.format(topic=topic) for filler in draws.sample(_FILLERS, len(_FILLERS))]
        draft = _Draft(topic, third, [opening, *fillers])
        asked: dict[str, dict[str, Any]] = {
            "keywords:existence": {"keywords": [first, second]},
            "keywords:forbidden_words": {"forbidden_words": unwanted},
        }
        for rule in sorted(rules):
            if rule not in asked:
                asked[rule] = _ADD[rule](draft, draws)
        wordings = _WORDINGS[self.split]
        said = [draws.choice(_FRAMES[self.split]).format(topic=topic)]
        said += [draws.choice(wordings[rule]).format(**asked[rule]) for rule in rules]
        metadata = {
            "difficulty": self.difficulty,
            "instruction_id_list": rules,
            "kwargs": [asked[rule] for rule in rules],
        }
        return Task(task_id, " ".join(said), draft.text(), metadata=metadata)


def _choose(count: int, draws: random.Random) -> list[str]:
    """Return so many rules that do not contradict each other, in any order."""
    layout = draws.choice((*_LAYOUTS, None))
    free = draws.sample(_FREE, count - len(_ALWAYS) - (layout is not None))
    rules = [*_ALWAYS, *free, *([layout] if layout else [])]
    return draws.sample(rules, count)


def _number_words(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    return {"num_words": draws.randrange(130, 190, 5), "relation": "less than"}


def _number_sentences(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    return {"num_sentences": draws.randint(3, 6), "relation": "at least"}


def _frequency(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    times = draws.randint(2, 4)
    draft.tails.append(f"Think of a {' and a '.join([draft.word] * times)}.")
    return {"keyword": draft.word, "frequency": times, "relation": "at least"}


def _letter_frequency(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    letter, times = draws.choice(list(_LETTERS)), draws.randint(3, 6)
    draft.tails.append(f"There was a {' and a '.join([_LETTERS[letter]] * times)}.")
    return {"letter": letter, "let_frequency": times, "let_relation": "at least"}


def _capitals(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    times = draws.randint(2, 5)
    draft.tails.append(f"{' '.join(['NEVER'] * times)} forget it.")
    return {"capital_frequency": times, "capital_relation": "at least"}


def _highlights(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    count = draws.randint(2, 4)
    words = ("old", "new", "dear", "strange")[:count]
    draft.tails.append(f"They are {' and '.join(f'*{word}*' for word in words)}.")
    return {"num_highlights": count}


def _title(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    draft.title = f"<<On {draft.topic}>>"
    return {}


def _ending(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    draft.ending = draws.choice(_ENDINGS)
    return {"end_phrase": draft.ending}


def _postscript(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    draft.tails.append(f"P.S. Ask me about {draft.topic} again.")
    return {"postscript_marker": "P.S."}


def _no_comma(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    return {}


def _placeholders(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    count = draws.randint(1, 3)
    draft.tails.append("To be sent to " + " and ".join(["[name]", "[street]", "[town]"][:count]))
    return {"num_placeholders": count}


def _bullets(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    draft.parts, draft.head, draft.join = draws.choice((2, 3, 4)), "* {block}", "\n"
    return {"num_bullets": draft.parts}


def _paragraphs(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    draft.parts, draft.join = draws.choice((2, 3, 4)), "\n\n***\n\n"
    return {"num_paragraphs": draft.parts}


def _sections(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    name = draws.choice(("Section", "Part", "Chapter"))
    draft.parts, draft.head = draws.choice((2, 3, 4)), f"{name} {{number}}\n{{block}}"
    return {"section_spliter": name, "num_sections": draft.parts}


def _two_answers(draft: _Draft, draws: random.Random) -> dict[str, Any]:
    draft.parts, draft.join = 2, "\n******\n"
    return {}


_ADD: Mapping[str, Callable[[_Draft, random.Random], dict[str, Any]]] = {
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "change_case:capital_word_frequency": _capitals,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": _title,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "startend:end_checker": _ending,
    "punctuation:no_comma": _no_comma,
    "detectable_format:number_bullet_lists": _bullets,
    "length_constraints:number_paragraphs": _paragraphs,
    "detectable_format:multiple_sections": _sections,
    "combination:two_responses": _two_answers,
}
_LAYOUTS: Final = (
    "detectable_format:number_bullet_lists",
    "length_constraints:number_paragraphs",
    "detectable_format:multiple_sections",
    "combination:two_responses",
)
_FREE: Final = sorted(_WORDINGS["train"].keys() - {*_ALWAYS, *_LAYOUTS})


def _follows(task: Task, answer: str) -> bool:
    rules: Mapping[str, Any] = task.metadata
    report = check_instructions(
        rules["instruction_id_list"], rules["kwargs"], task.prompt, answer, rules="reward"
    )
    return bool(report.prompt_strict)
