"""A recipe: everything that a run is made of, in one YAML file, checked before anything starts.

Every key is a field below; an unknown one is refused with the nearest that exists. `key=value`
overrides use dotted keys: `grpo.steps=20`. The recipe as it was run lies in the run's folder.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from qwq_env.errors import UsageError, brief, did_you_mean
from qwq_env.training.recipe_yaml import read_yaml, read_yaml_file, write_yaml

_POSITIVE: Final = frozenset({
    "threads", "environment.difficulty", "environment.turns", "environment.tool_calls",
    "environment.seconds", "policy.hidden", "policy.layers", "policy.heads",
    "policy.key_value_heads", "cold_start.batch", "cold_start.transcripts", "grpo.steps",
    "grpo.episodes", "grpo.max_completion_tokens", "grpo.context", "grpo.temperature",
    "evaluation.tasks", "rollout.concurrency", "rollout.attempts", "rollout.batch_seconds",
})  # fmt: skip
"""What cannot be 0; every other number can."""

_MOST_SECTIONS: Final = 8
_WEEK: Final = 604_800


@dataclass(frozen=True, slots=True)
class EnvironmentRecipe:
    """The environment: a Gymnasium `id`, what is passed to it, and the bounds of an episode.

    `tasks`, `tools`, `dialect` and `difficulty` that are left unsaid are the environment's own
    defaults. `arguments` are whatever else its class takes, by name (`environment.arguments.x=1`).
    One that it does not take is refused.
    """

    id: str = "qwq/MathTool-v0"
    tasks: str | None = None
    heldout_tasks: str | None = None
    tools: list[str] | None = None
    dialect: str | None = None
    difficulty: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    turns: int = 4
    tool_calls: int = 8
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy: `tiny` is built from nothing; any other value is a checkpoint's folder or id.

    `sampler` plays the episodes of training: the model itself, or vLLM `servers` (addresses)
    that were started on the folder `served`, which `prepare_served` makes; a key for them is read
    from `VLLM_API_KEY`. Evaluation is by the model itself.
    """

    checkpoint: str = "tiny"
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    sampler: Literal["transformers", "vllm"] = "transformers"
    servers: list[str] = field(default_factory=list)
    served: str | None = None

    def __post_init__(self) -> None:
        if self.sampler == "vllm" and not (self.servers and self.served):
            raise UsageError("policy.sampler: 'vllm' needs policy.servers and policy.served")
        # Positions are rotated in pairs of dimensions, so a head has an even number of them.
        if self.hidden % (2 * self.heads):
            raise UsageError(
                f"policy.hidden: {self.hidden}; expected a multiple of twice policy.heads"
                f" ({self.heads})"
            )
        if self.heads % self.key_value_heads:
            raise UsageError(
                f"policy.heads: {self.heads}; expected a multiple of policy.key_value_heads"
                f" ({self.key_value_heads})"
            )


@dataclass(frozen=True, slots=True)
class ColdStartRecipe:
    """Supervised steps on transcripts of an imperfect teacher; 0 `steps` leaves them out.

    `source` "teacher" does arithmetic with a calculator, whatever the environment; "solve" plays
    the environment's own tasks as its `solve` says, a share `right` of them rightly.
    """

    steps: int = 500
    batch: int = 64
    transcripts: int = 4096
    source: Literal["teacher", "solve"] = "teacher"
    right: float = 0.35


@dataclass(frozen=True, slots=True)
class GrpoRecipe:
    """GRPO. `episodes` a step in groups of `group`; `reward` "random" is the control.

    `schedule` "linear" takes the learning rate down to 0 over the steps, "cosine" likewise.
    """

    steps: int = 100
    episodes: int = 64
    group: int = 8
    learning_rate: float = 5e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    beta: float = 0.0
    temperature: float = 1.0
    max_completion_tokens: int = 160
    context: int = 1024
    max_grad_norm: float = 1.0
    save_steps: int = 50
    reward: Literal["environment", "random"] = "environment"


@dataclass(frozen=True, slots=True)
class RolloutRecipe:
    """How episodes are played, in training and in evaluation.

    `concurrency` bounds the episodes that a process has in progress, `attempts` how often one is
    tried when our machinery fails. `batch_seconds` is the wall time for the episodes of one
    training step, at most a week: what still runs then is truncated, what has not begun is masked.
    Several processes wait for each other half an hour longer than that; evaluation has no such
    bound. `thinking` "keep" leaves earlier thinking in the context, "strip" takes it out as QwQ's
    chat template does (one row a turn; not for the dialects that feed tools back inside a turn).
    """

    concurrency: int = 1024
    attempts: int = 3
    batch_seconds: float = 1200.0
    thinking: Literal["keep", "strip"] = "keep"

    def __post_init__(self) -> None:
        if self.batch_seconds > _WEEK:
            raise UsageError(
                f"rollout.batch_seconds: {self.batch_seconds:g}; expected at most {_WEEK}, a week"
            )


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """How many held-out `tasks` are played before and after, and episodes printed at the end."""

    tasks: int = 256
    samples: int = 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run; `name` is its folder below `runs/`."""

    name: str = "tiny"
    seed: int = 0
    threads: int = 1
    environment: EnvironmentRecipe = field(default_factory=EnvironmentRecipe)
    policy: PolicyRecipe = field(default_factory=PolicyRecipe)
    cold_start: ColdStartRecipe = field(default_factory=ColdStartRecipe)
    grpo: GrpoRecipe = field(default_factory=GrpoRecipe)
    rollout: RolloutRecipe = field(default_factory=RolloutRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)

    def __post_init__(self) -> None:
        if self.name in (".", "..") or not re.fullmatch(r"[^/\\\0]{1,100}", self.name):
            raise UsageError(f"recipe: name: {brief(self.name)}; expected the name of one folder")
        if self.seed >= 2**32:
            raise UsageError(f"recipe: seed: {self.seed}; expected less than 2**32")
        if self.grpo.group < 2 or self.grpo.episodes % self.grpo.group:
            raise UsageError(
                f"grpo.episodes: {self.grpo.episodes}; expected a multiple of grpo.group"
                f" ({self.grpo.group}), which is 2 or more"
            )


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key=value` overrides; every mistake is a `UsageError`."""
    path = Path(path)
    value = read_yaml_file(path)
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise UsageError(f"recipe: {path}: {type(value).__name__}; expected keys and values")
    for override in overrides:
        _apply(value, override)
    recipe = _build(Recipe, value, "")
    assert isinstance(recipe, Recipe)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML, every field written out."""
    return write_yaml(dataclasses.asdict(recipe))


def _apply(value: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"override: {brief(override)}; expected key=value, such as grpo.steps=20")
    try:
        override.encode()
    except UnicodeEncodeError:
        raise UsageError(f"override: {brief(override)}; expected text in UTF-8") from None
    *sections, last = key.split(".")
    if len(sections) > _MOST_SECTIONS:
        raise UsageError(f"override: {brief(override)}; expected at most {_MOST_SECTIONS} dots")
    for section in sections:
        inner = value.setdefault(section, {})
        if not isinstance(inner, dict):
            name = brief(section)[1:-1]
            raise UsageError(f"override: {brief(override)}; {name} has no fields")
        value = inner
    try:
        value[last] = read_yaml(text)
    except yaml.YAMLError:
        value[last] = text


def _build(kind: type, value: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            name, hint = brief(key)[1:-1], did_you_mean(key, hints)
            raise UsageError(f"recipe: {where}{name}: no such key{hint}; known: {', '.join(hints)}")
    arguments = {key: _convert(hints[key], item, f"{where}{key}") for key, item in value.items()}
    return kind(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected keys and values")
        return _build(typing.cast(type, hint), value, f"{where}.")
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if not isinstance(value, str) or value not in choices:
            raise UsageError(f"recipe: {where}: {brief(value)}; expected {' or '.join(choices)}")
        return value
    if isinstance(hint, types.UnionType):
        options = typing.get_args(hint)
        return None if value is None else _convert(options[0], value, where)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected names and values")
        return dict(value)
    if typing.get_origin(hint) is list:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected a list of names")
        return value
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"recipe: {where}: {brief(value)}; expected {hint.__name__}")
    if isinstance(value, int | float):
        if where in _POSITIVE and not 0 < value < math.inf:
            raise UsageError(f"recipe: {where}: {brief(value)}; expected more than 0")
        if not 0 <= value < math.inf:
            raise UsageError(f"recipe: {where}: {brief(value)}; expected 0 or more")
    return value
