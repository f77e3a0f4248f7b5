"""Stored episodes, to look at: a run's table at once, the text and the tokens of one when asked.

```python
run = StoredRun.open("runs/tiny")
worst = sorted(run.episodes(step=40), key=lambda e: (e.reward is None, e.reward))[:5]
for segment in worst[0].segments:
    print(segment.kind, segment.text)
```

Neither a tokenizer nor torch is needed. A run that is going on can be read: what is not yet whole
is left out. Rows that are damaged, or of a version that is not known, are named in `run.damaged`
and passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from qwq_env.checks import is_number
from qwq_env.errors import UsageError, brief, describe_error
from qwq_env.files.json_file import read_json_file
from qwq_env.files.jsonl import read_object
from qwq_env.outcome import Outcome
from qwq_env.rollout.advantages import advantages_of
from qwq_env.rollout.heads import OURS, lines_of, read_head
from qwq_env.rollout.lexicon import Lexicon
from qwq_env.rollout.placed import PlacedSegment, placed_segments
from qwq_env.rollout.ratios import Ratios, StoredRatios, ratios_beside
from qwq_env.segments import Block
from qwq_env.short_rows import in_full
from qwq_env.trajectory import PhaseSeconds, Trajectory

T = TypeVar("T")

_BROKEN: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError)


class Damaged(NamedTuple):
    """A row that was passed over: where it stands, and what is wrong with it."""

    file: Path
    line: int
    reason: str


class ScoredComponent(NamedTuple):
    """A component of the reward; `value` is None where undecided.

    `reason` is a stable identifier, `detail` for a person, `extracted` what the grader took for the
    answer; each is empty where nobody said.
    """

    name: str
    value: float | None
    reason: str = ""
    detail: str = ""
    extracted: str = ""


class StoredToken(NamedTuple):
    """A token of a row. `text` is None where it is not known; half a letter is `<E2><82>`.

    `logprob` is None where the policy did not sample it. `ratio`, the trainer's probability over
    the sampler's, and `entropy`, the trainer's in nats, are also None where it is not known what
    the trainer made of the row.
    """

    id: int
    text: str | None
    sampled: bool
    logprob: float | None
    ratio: float | None = None
    entropy: float | None = None


class RowError(UsageError):
    """A row whose head could be read, and the rest cannot; `damaged` says where and why."""

    def __init__(self, episode: StoredEpisode, reason: str) -> None:
        super().__init__(f"{episode.file}:{episode.line}: {reason}")
        self.damaged = Damaged(episode.file, episode.line, reason)


@dataclass(eq=False)
class StoredEpisode:
    """One row. What a table shows is there; the rest is read from the file when it is asked for.

    What is decoded stays, until `forget`.
    """

    file: Path
    line: int
    head: Mapping[str, Any]
    place: tuple[int, int] = field(repr=False)
    lexicon: Lexicon = field(repr=False)
    run: StoredRun | None = field(default=None, repr=False)

    @property
    def advantage(self) -> float | None:
        """What GRPO made of the reward in its group; None where that is not known."""
        return None if self.run is None else self.run.advantages.get(self)

    @property
    def phase(self) -> str:
        """Such as `cold`, `grpo`, `trained`, `greedy`; empty for an evaluation."""
        return str(self.head.get("phase") or "")

    @property
    def step(self) -> int | None:
        """The training step it was played for."""
        step = self.head.get("step")
        return step if isinstance(step, int) else None

    @property
    def task(self) -> str:
        """The task's id."""
        return str(self.head["task_id"])

    @property
    def name(self) -> str:
        """The episode's name, one in its phase."""
        return str(self.head["episode"])

    @property
    def environment(self) -> str:
        """The environment's id or class; of a mixture the member's name."""
        return str(self.head.get("environment") or "")

    @property
    def reward(self) -> float | None:
        """None for an episode that was lost."""
        return finite(self.head.get("reward"))

    @property
    def right(self) -> bool | None:
        """Whether it counts as right, see `Trajectory.is_right`; None for one that was lost."""
        reward, right = self.reward, self.head.get("right")
        if reward is None:
            return None
        return right if isinstance(right, bool) else reward >= 1.0

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return Outcome.from_json(self.head["outcome"])

    @property
    def failure(self) -> str:
        """Why it ended without an answer (`tokens`, `infrastructure`, ...); "" if it has one."""
        outcome = self.outcome
        return "" if outcome.reason == "answered" else outcome.reason

    @property
    def components(self) -> list[ScoredComponent]:
        """Why the reward was what it was."""
        reasons = self.head.get("reasons") or {}
        scores = self.head.get("scores") or {}
        return [
            ScoredComponent(name, finite(value), *reasons.get(name, ())[:3])
            for name, value in scores.items()
        ]

    @property
    def seconds(self) -> PhaseSeconds:
        """Wall seconds by phase: model, tools, grading, waiting, user."""
        spent = self.head.get("seconds") or {}
        return PhaseSeconds(**{name: spent.get(name, 0.0) for name in PhaseSeconds._fields})

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens after the prompt by who wrote them: policy, tool, user."""
        return self.head.get("tokens") or {}

    @property
    def weight_version(self) -> int | None:
        """The trainer's step of the weights that sampled its first turn."""
        return self.head.get("weight_version")

    @cached_property
    def trajectory(self) -> Trajectory:
        """The whole row, decoded. Raises `UsageError` naming the line, if it is damaged."""
        return self._read(Trajectory.from_json)

    @property
    def text(self) -> str:
        """All that was written in it, without decoding its tokens. Raises as `trajectory`."""
        return self._read(lambda row: "".join(Block.from_json(b).text for b in row["transcript"]))

    def _read(self, made: Callable[[Mapping[str, Any]], T]) -> T:
        try:
            with self.file.open("rb") as file:
                file.seek(self.place[0])
                row = read_object(file.read(self.place[1]), constants=True)
            if row.get("episode") != self.head["episode"]:
                raise UsageError("was written anew meanwhile; open the run again")
            full = {"transcript": [], **in_full(row)}
            self.lexicon.read().restore(full)
            return made(full)
        except UsageError as error:
            raise RowError(self, str(error)) from None
        except _BROKEN as error:
            raise RowError(self, f"not an episode: {describe_error(error)}") from None

    def forget(self) -> None:
        """Let go of what was decoded; it is read again when it is asked for again."""
        self.__dict__.pop("trajectory", None)

    @property
    def segments(self) -> list[PlacedSegment]:
        """Its text in order; see `qwq_env.rollout.placed`."""
        return placed_segments(self.trajectory, self.lexicon.read().tokens)

    def row_tokens(self, row: int = -1) -> list[StoredToken]:
        """Return the tokens of a row of `trajectory.rows`, the prompt's included."""
        columns = self.trajectory.rows[row]
        before = columns.prompt_length
        mask = [0] * before + columns.mask
        logprobs = [0.0] * before + columns.logprobs
        known = self.lexicon.read().tokens
        seen: Iterator[tuple[float | None, float | None]] = repeat((None, None))
        if (learned := self.ratios(row)) is not None:
            seen = zip(learned.ratios, learned.entropies, strict=True)
        return [
            StoredToken(token, _shown(known.get(token)), True, logprob, *next(seen))
            if one
            else StoredToken(token, _shown(known.get(token)), False, None)
            for token, one, logprob in zip(columns.ids, mask, logprobs, strict=False)
        ]

    def ratios(self, row: int = -1) -> Ratios | None:
        """Return what the trainer made of a row of `trajectory.rows`; None where it is not known.

        Lines that are damaged are told of in `run.damaged`.
        """
        if self.run is None or self.step is None:
            return None
        rows = self.trajectory.rows
        place, sampled = range(len(rows))[row], sum(rows[row].mask)
        return self.run.ratios_beside(self.file).of(self.step, self.name, place, sampled)


def finite(value: Any) -> float | None:
    """Return a number that can be compared; None for what is none."""
    return float(value) if is_number(value) and math.isfinite(value) else None


def _shown(written: bytes | None) -> str | None:
    if written is None:
        return None
    try:
        return written.decode()
    except UnicodeDecodeError:
        return "".join(f"<{byte:02X}>" for byte in written)


class StoredRun:
    """A run's folder, an evaluation's, or one file of episodes.

    `kind` says which. `recipe`, `settings` and `summary` are what lies in the folder, `{}` where
    nothing does; `metrics` the rows of the training steps. `damaged` grows while episodes are read,
    and `notes` hold what else a reader should know.
    """

    def __init__(self, path: Path, kind: str, files: Sequence[Path]) -> None:
        self.path, self.kind, self.files = path, kind, list(files)
        self.damaged: list[Damaged] = []
        self.notes: list[str] = []
        self._reached: dict[Path, tuple[int, int]] = {}
        self._listed: list[StoredEpisode] = []
        self._ratios: dict[Path, StoredRatios] = {}

    @classmethod
    def open(cls, path: str | Path) -> StoredRun:
        """Open a folder or a file. Raises `UsageError` saying what was found, and what expected."""
        path = Path(path)
        if path.is_file():
            return cls(path, "file", [path])
        if not path.is_dir():
            raise UsageError(f"run: no {path}; expected a run's folder or a file of episodes")
        files = _files(path)
        if (path / "recipe.yaml").is_file():
            return cls(path, "run", files)
        if files:
            return cls(path, "evaluation", files)
        if (path / "settings.json").is_file():
            return cls(path, "evaluation", [])
        raise UsageError(
            f"run: {path} {_found(path)}; expected recipe.yaml or episodes.jsonl in it"
        )

    @property
    def name(self) -> str:
        """The folder's name, or the file's."""
        return self.path.resolve().name

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe as it was run; `{}` with a note where what reads it is not installed."""
        file = self.path / "recipe.yaml"
        if self.kind != "run":
            return {}
        try:
            import yaml  # noqa: PLC0415 - an extra has it
        except ModuleNotFoundError:
            lacks = "no advantages, and not what was trained (pip install pyyaml)"
            self.notes.append(f"{file}: PyYAML is not installed, so there are {lacks}")
            return {}
        try:
            recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"{file}: {brief(str(error))}; expected a recipe") from None
        if not isinstance(recipe, dict):
            raise UsageError(f"{file}: {brief(recipe)}; expected a recipe")
        return recipe

    @property
    def model(self) -> str:
        """What was trained or asked: a checkpoint, or a served model's name; "" if not known."""
        policy, settings = self.recipe.get("policy"), self.settings
        policy = policy if isinstance(policy, dict) else {}
        return str(policy.get("checkpoint") or settings.get("model")
                   or settings.get("checkpoint") or "")  # fmt: skip

    @property
    def settings(self) -> dict[str, Any]:
        """What an evaluation was asked."""
        return self._json("settings.json")

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers at the end; nothing while it runs."""
        return self._json("summary.json")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`; one that is torn or damaged is left out."""
        file = self.path / "metrics.jsonl"
        if self.kind == "file" or not file.is_file():
            return []
        rows = []
        with file.open("rb") as lines:
            for line in lines:
                try:
                    rows.append(read_object(line, constants=True))
                except UsageError:
                    continue
        return rows

    def episodes(
        self, keep: Callable[[Mapping[str, Any]], bool] | None = None, **extra: Any
    ) -> list[StoredEpisode]:
        """Return the episodes whose heads `keep` wants and that have these keys, as `step=40`.

        Of several rows of an episode the last one counts. Raises `UsageError` if there are rows,
        and none can be read.
        """
        self.damaged = []
        self._ratios.clear()
        self.__dict__.pop("advantages", None)
        found: dict[tuple[Any, ...], StoredEpisode] = {}
        for file in self.files:
            for episode in self._read(file, extra):
                found[file, episode.phase, episode.step, episode.name] = episode
        self._listed = list(found.values())
        if not found and self.damaged and not extra:
            first = self.damaged[0]
            raise UsageError(f"{first.file}:{first.line}: {first.reason}")
        return [each for each in self._listed if keep is None or keep(each.head)]

    def ratios_beside(self, file: Path) -> StoredRatios:
        """Return what the trainer made of the tokens of a file's episodes."""
        if file not in self._ratios:
            path = ratios_beside(file)
            self._ratios[file] = StoredRatios(
                path, lambda line, reason: self.damaged.append(Damaged(path, line, reason))
            )
        return self._ratios[file]

    @cached_property
    def advantages(self) -> Mapping[StoredEpisode, float | None]:
        """What GRPO made of the rewards of the episodes that were read last."""
        try:
            grpo = self.recipe.get("grpo")
        except UsageError:
            return {}  # not known then
        return dict(advantages_of(self._listed, grpo if isinstance(grpo, dict) else None))

    def _read(
        self, file: Path, extra: Mapping[str, Any], begin: tuple[int, int] = (0, 0)
    ) -> Iterator[StoredEpisode]:
        """Yield the episodes of a file from a place on: the bytes and lines before it."""
        lexicon = Lexicon.beside(file)
        wanted = [f'"{key}":{json.dumps(value)},'.encode() for key, value in extra.items()]
        for number, place, line in lines_of(file, *begin):
            self._reached[file] = sum(place), number
            if line.startswith(OURS) and not all(map(line.__contains__, wanted)):
                continue
            try:
                head = read_head(line)
            except UsageError as error:
                self.damaged.append(Damaged(file, number, str(error)))
                continue
            if all(head.get(key) == value for key, value in extra.items()):
                yield StoredEpisode(file, number, head, place, lexicon, self)

    def news(self) -> list[StoredEpisode] | None:
        """Return the episodes that were written since the last call, all of them at the first.

        None where rows were taken away meanwhile, as by a run that goes on from its checkpoint:
        what was read before counts no more, and the next call begins at the first row.
        """
        if self.path.is_dir():
            self.files = _files(self.path)
        for file, (offset, _) in self._reached.items():
            if not file.is_file() or file.stat().st_size < offset or _written_anew(file, offset):
                self._reached.clear()
                self.damaged = []
                return None
        found: list[StoredEpisode] = []
        for file in self.files:
            found += self._read(file, {}, self._reached.get(file, (0, 0)))
        return found

    def _json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        if self.kind == "file" or not file.is_file():
            return {}
        value = read_json_file(file)
        if value is None:
            raise UsageError(f"{file}: damaged; expected a JSON object")
        return value


def _written_anew(file: Path, offset: int) -> bool:
    """Whether what was read of a file is no longer what stands before `offset`: a row's end."""
    with file.open("rb") as lines:
        lines.seek(max(0, offset - 1))
        return lines.read(1) != b"\n"


def _files(path: Path) -> list[Path]:
    return sorted(filter(Path.is_file, path.glob("episodes*.jsonl")), key=_rank)


def _rank(file: Path) -> tuple[int, str]:
    digits = "".join(letter for letter in file.stem if letter.isdigit())
    return int(digits or 0), file.name


def _found(path: Path) -> str:
    """Say what a folder holds in which no run lies."""
    inside = sorted(child.parent.name for child in path.glob("*/episodes.jsonl"))
    if inside:
        return f"holds runs ({', '.join(inside[:5])}{', ...' if len(inside) > 5 else ''})"
    names = sorted(child.name for child in path.iterdir() if not child.name.startswith("."))
    return (
        f"holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "is empty"
    )
