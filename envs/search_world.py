"""Procedural worlds: people, cities, novels, firms, bridges, and pages that tell of them.

Why you would want this: questions that no model knows the answer of by heart, over a corpus that
needs no download, with a known chain of facts behind each.

A world has some seventy pages. A fact stands on one of them, that of its subject or that of what
the subject has, and a search for the subject finds it; the others name people and places without
telling anything that is asked. No name of anybody or anything is in a world for training and in one
that is held out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from qwq_env.envs import search_relations as words
from qwq_env.envs.procedural import ProceduralTaskSet, split_of
from qwq_env.envs.search_relations import RELATIONS, Kind, Relation
from qwq_env.grading.short_answer import normalized
from qwq_env.task import Task
from qwq_env.tools.search import Passage
from qwq_env.tools.search.memory import MemoryIndex

_PEOPLE: Final = 26
_PLACES: Final = 8
_BLOCK: Final = 8
"""Consecutive tasks that share a world, and no answer."""
_KEPT: Final = 64
_SHOWN: Final = 3
"""Pages that the search tool shows for a query, unless it is told otherwise."""


class Hop(NamedTuple):
    """One fact of a chain: what `subject` has by `relation`, and the words to look for it."""

    subject: str
    relation: str
    value: str
    query: str


class WorldTaskSet(ProceduralTaskSet):
    """Questions of one `difficulty`, which is the number of facts that lead to the answer: 1 to 4.

    `split` is `"train"` or `"heldout"`: of their own are the names in their worlds, the words in
    which they ask, and the chains of relations that are longer than one, a quarter held out.

    `Task.answer` is a name or a date. `metadata` has `answers`, all ways to write it, the `world`
    (see `world_of`), and the `hops`. `instruction` closes every question.
    """

    family = "search"
    levels = 4

    def __init__(
        self, *, seed: int = 0, difficulty: int = 1, split: str = "train", instruction: str = ""
    ) -> None:
        super().__init__(seed=seed, difficulty=difficulty, split=split)
        self.instruction = instruction

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0."""
        if index < 0:
            raise IndexError(index)
        block, number = divmod(index, _BLOCK)
        world = f"{self.split}/{self.seed}/{block}"
        asked = _block(world, self.difficulty)[number]
        metadata = {
            "difficulty": self.difficulty,
            "answers": list(asked.answers),
            "world": world,
            "hops": [hop._asdict() for hop in asked.hops],
        }
        prompt = asked.question + self.instruction
        return Task(f"{self._prefix}{index}", prompt, asked.answers[0], metadata=metadata)


@lru_cache(maxsize=_KEPT)
def world_of(name: str) -> World:
    """Return the world of that name, `split/seed/number`; the same one each time."""
    return World(name)


class World:
    """Who and what there is, the facts that hold, and an index of the pages."""

    def __init__(self, name: str) -> None:
        self.name, self.split = name, name.partition("/")[0]
        chance = random.Random(name)
        self.names: dict[Kind, list[str]] = {
            kind: list(_names(kind, self.split, chance)) for kind in _SIZES
        }
        self.facts = self._facts(chance)
        self.index = MemoryIndex(_pages(self, chance))
        self._shown: dict[str, bool] = {}

    def _facts(self, chance: random.Random) -> dict[tuple[str, str], str]:
        """Return what each subject has by each relation."""
        facts: dict[tuple[str, str], str] = {}
        for relation in RELATIONS:
            subjects = self.names[relation.of]
            if not relation.told:
                continue
            if relation.gives == "date":
                given = [_date(chance) for _ in subjects]
            else:
                # Nobody has two of a kind as long as there are others.
                shuffled = chance.sample(
                    self.names[relation.gives], len(self.names[relation.gives])
                )
                given = [shuffled[n % len(shuffled)] for n in range(len(subjects))]
            for subject, value in zip(subjects, given, strict=True):
                if subject != value:
                    facts[subject, relation.name] = value
        for told, inverse in (("author", "novel"), ("place", "bridge")):
            for (subject, name), value in list(facts.items()):
                if name == told:
                    facts[value, inverse] = subject
        return facts

    def shows(self, hop: Hop) -> bool:
        """Say whether the page that tells a fact is among the best for the hop's query."""
        known = self._shown.get(hop.query)
        if known is None:
            pages = self.index.search_now(hop.query, _SHOWN)
            texts = (f"{page.title}. {page.text}".lower() for page in pages)
            names = (hop.subject.lower(), hop.value.lower())
            known = any(all(name in text for name in names) for text in texts)
            self._shown[hop.query] = known
        return known


class _Asked(NamedTuple):
    question: str
    answers: tuple[str, ...]
    hops: tuple[Hop, ...]


@lru_cache(maxsize=4 * _KEPT)
def _block(world_name: str, difficulty: int) -> tuple[_Asked, ...]:
    """Return the questions of a world, which have answers of their own."""
    world = world_of(world_name)
    chance = random.Random(f"{world_name}/{difficulty}")
    found: dict[str, _Asked] = {}
    while len(found) < _BLOCK:
        asked = _ask(world, difficulty, chance)
        if asked is not None:
            found.setdefault(asked.answers[0], asked)
    return tuple(found.values())


def _ask(world: World, length: int, chance: random.Random) -> _Asked | None:
    """Return a question over a chain of facts, None if the walk led nowhere.

    No thing is met twice, so the question names its start and nothing else of the chain.
    """
    kind = chance.choice(list(_SIZES))
    subject = chance.choice(world.names[kind])
    met, chain = [subject], []
    for number in range(length):
        last = number == length - 1
        ways = [
            each for each in RELATIONS
            if each.of == kind and (subject, each.name) in world.facts
            and (last or each.gives != "date")
        ]  # fmt: skip
        relation = chance.choice(ways) if ways else None
        if relation is None or world.facts[subject, relation.name] in met:
            return None
        chain.append(relation)
        kind, subject = relation.gives, world.facts[subject, relation.name]
        met.append(subject)
    if length > 1 and split_of("|".join(each.name for each in chain)) != world.split:
        return None
    question = _question(world.split, met[0], chain, chance)
    answers = _spellings(met[-1], kind)
    told = f" {normalized(question)} "
    if any(f" {normalized(answer)} " in told for answer in answers):
        return None
    hops = tuple(
        Hop(x, each.name, y, f"{x} {each.hint}")
        for x, y, each in zip(met, met[1:], chain, strict=False)
    )
    return _Asked(question, answers, hops) if all(map(world.shows, hops)) else None


def _question(split: str, start: str, chain: list[Relation], chance: random.Random) -> str:
    *inner, last = (each.train if split == "train" else each.heldout for each in chain)
    phrase = start
    for wording in inner:
        phrase = chance.choice(wording.phrases).format(x=phrase)
    return chance.choice(last.questions).format(x=phrase)


def _spellings(value: str, kind: Kind) -> tuple[str, ...]:
    """Return the ways to write an answer that are accepted; the first is the world's own."""
    if kind != "date":
        return (value,)
    day, month, year = value.split()
    number = words.MONTHS.index(month) + 1
    return value, f"{month} {day}, {year}", f"{year}-{number:02d}-{int(day):02d}"


_PARTS: Final[dict[Kind, tuple[tuple[str, ...], tuple[str, ...], str]]] = {
    "city": (*words.CITIES, "{}{}"),
    "novel": (*words.TITLES, "The {} {}"),
    "firm": (*words.FIRMS, "{} {}"),
    "bridge": (*words.BRIDGES, "the {} {}"),
}
_SIZES: Final[dict[Kind, int]] = {
    "person": _PEOPLE, "city": _PLACES, "novel": 10, "firm": 8, "bridge": _PLACES
}  # fmt: skip


def _names(kind: Kind, split: str, chance: random.Random) -> Iterator[str]:
    """Yield new names of a kind, as many as a world has, that belong to the split."""
    used: set[str] = set()
    while len(used) < _SIZES[kind]:
        if kind == "person":
            name = (
                f"{chance.choice(words.FIRST_NAMES)} {''.join(map(chance.choice, words.SURNAMES))}"
            )
        else:
            first, second, form = _PARTS[kind]
            name = form.format(chance.choice(first), chance.choice(second))
        if name not in used and split_of(name) == split:
            used.add(name)
            yield name


def _date(chance: random.Random) -> str:
    return f"{chance.randint(1, 28)} {chance.choice(words.MONTHS)} {chance.randint(1780, 1969)}"


def _pages(world: World, chance: random.Random) -> list[Passage]:
    """Return the pages, in any order: one for each name, and letters that tell nothing."""
    facts: dict[str, list[str]] = {}
    relations = {each.name: each for each in RELATIONS}
    for (subject, name), value in world.facts.items():
        relation = relations[name]
        if relation.told:
            sentence = chance.choice(relation.told).format(x=subject, y=value)
            facts.setdefault(subject if relation.page == "own" else value, []).append(sentence)
    pages = []
    for kind, names in world.names.items():
        for name in names:
            opening = chance.choice(words.OPENINGS[kind]).format(
                x=name, number=chance.randint(90, 999)
            )
            told = [*facts.get(name, ()), _filler(world, chance)]
            chance.shuffle(told)
            pages.append((name, " ".join(_sentence(each) for each in (opening, *told))))
    for person in chance.sample(world.names["person"], _PEOPLE // 2):
        told = [_filler(world, chance) for _ in range(3)]
        pages.append((f"Letters of {person}", " ".join(map(_sentence, told))))
    chance.shuffle(pages)
    return [
        Passage(text, title[:1].upper() + title[1:], f"{world.name}#{number}")
        for number, (title, text) in enumerate(pages)
    ]


def _filler(world: World, chance: random.Random) -> str:
    text = chance.choice(words.FILLERS)
    named = {
        kind: chance.choice(names) for kind, names in world.names.items() if f"{{{kind}}}" in text
    }
    return text.format(year=chance.randint(1780, 1969), **named)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
