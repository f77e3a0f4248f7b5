"""How long a step of GRPO takes, by arithmetic from a recipe and from rates that were measured.

A rate is of tokens, a second and GPU, in the midst of a run: of a GPU that samples, the tokens that
it samples for all episodes that it has at a time; of one that trains, the tokens of the rows that
it takes through a whole update (whatever is computed of them: forward, backward, optimizer).
Nothing here knows what a kind of GPU can do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from qwq_env.errors import UsageError, brief
from qwq_env.training.recipe import Recipe
from qwq_env.training.updates import spare_groups, updates_of

_NAMES: Final = ("sampler", "trainer")
_EXPECTED: Final = "expected sampler=TOKENS_PER_SECOND trainer=TOKENS_PER_SECOND, of one GPU"


class Rate(NamedTuple):
    """Tokens a second of one GPU, and where that is from."""

    tokens: float
    why: str


class Rates(NamedTuple):
    """Both rates, and in a line each what keeps them from being those of the plan."""

    sampler: Rate
    trainer: Rate
    notes: tuple[str, ...] = ()


class Term(NamedTuple):
    """A part of a step: its seconds where completions are half as long as they may be, and where
    they are that long, and how both come about."""

    name: str
    typical: float
    worst: float
    why: str


@dataclass(frozen=True, slots=True)
class StepTime:
    """The seconds of a batch of episodes, played and learned from, one part after the other."""

    rates: Rates
    steps: int
    terms: tuple[Term, ...]
    notes: tuple[str, ...]

    @property
    def typical(self) -> float:
        """Seconds where completions are half as long as they may be."""
        return sum(term.typical for term in self.terms)

    @property
    def worst(self) -> float:
        """Seconds where completions are as long as they may be."""
        return sum(term.worst for term in self.terms)


def read_rates(said: Sequence[str]) -> Rates:
    """Read `sampler=1500 trainer=4000`. Raises `UsageError`."""
    found: dict[str, Rate] = {}
    for each in said:
        name, _, text = each.partition("=")
        try:
            tokens = float(text)
        except ValueError:
            tokens = math.nan
        if name not in _NAMES or name in found or not 0 < tokens < math.inf:
            raise UsageError(f"rates: {brief(each)}; {_EXPECTED}")
        found[name] = Rate(tokens, "as given")
    if len(found) < len(_NAMES):
        raise UsageError(f"rates: {brief(' '.join(said))}; {_EXPECTED}")
    return Rates(found["sampler"], found["trainer"])


def step_time(recipe: Recipe, rates: Rates) -> StepTime:
    """Return the seconds of a step of a recipe that was placed on GPUs (`plan.place`)."""
    updates = updates_of(recipe, recipe.cluster.train)
    notes = [*rates.notes]
    if updates.steps > 1:
        notes.append(f"a batch is {updates.steps} optimizer steps; these are the seconds of all")
    weights = "; the weights' way to the servers does not" if recipe.cluster.serve else ""
    notes.append(
        "tools, graders and GPUs that idle behind the longest episode count as far as the rates"
        f" have them{weights}"
    )
    terms = _sampling(recipe, rates.sampler.tokens), _training(recipe, rates.trainer.tokens)
    return StepTime(rates, updates.steps, terms, tuple(notes))


def _sampling(recipe: Recipe, rate: float) -> Term:
    """Return how long the sampler with the most episodes plays them."""
    cluster, grpo = recipe.cluster, recipe.grpo
    split, whose = (cluster.tensor_parallel, "an engine") if cluster.serve else (1, "a GPU")
    samplers = (cluster.serve or cluster.train) // split
    own = -(-grpo.episodes // samplers)
    # As `dynamic.fill` counts: each process replaces whole groups of its own.
    groups = grpo.episodes // cluster.train // grpo.group
    others = spare_groups(groups, grpo.dynamic) * grpo.group * cluster.train
    most = -(-(grpo.episodes + others) // samplers)
    length = _completion(recipe)
    replaced = f" (at worst {most}, for grpo.dynamic)" if most > own else ""
    by = f"{rate:g}" if split == 1 else f"({split} GPUs × {rate:g})"
    return Term(
        "sampling",
        own * length / 2 / (split * rate),
        most * length / (split * rate),
        f"{own} episodes{replaced} {whose} × {length / 2:g} or {length} tokens / {by} a second",
    )


def _training(recipe: Recipe, rate: float) -> Term:
    """Return how long a GPU takes its rows through the model, each as long as it may be."""
    rows = recipe.grpo.episodes // recipe.cluster.train
    length = _completion(recipe)
    prompt = recipe.grpo.context - length
    iterations = updates_of(recipe, recipe.cluster.train).iterations
    again = f" × {iterations} iterations" if iterations > 1 else ""
    return Term(
        "training",
        rows * (prompt + length / 2) * iterations / rate,
        rows * (prompt + length) * iterations / rate,
        f"{rows} rows a GPU × ({prompt} of prompt + {length / 2:g} or {length}) tokens{again}"
        f" / {rate:g} a second",
    )


def _completion(recipe: Recipe) -> int:
    return min(recipe.grpo.max_completion_tokens, recipe.grpo.context)
