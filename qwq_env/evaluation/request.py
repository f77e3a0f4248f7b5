"""What an evaluation is asked to be: all that shapes its episodes, checked before anything starts.

Where the policy is, and how many episodes are played at a time, are not part of it: an evaluation
that was interrupted may go on elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from qwq_env.chat_model import Sampling
from qwq_env.checks import check_whole
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.evaluation.benchmarks import find_benchmark
from qwq_env.evaluation.benchmarks.data import BenchmarkData, digest, load_data
from qwq_env.registry import knows_splits, make_environment
from qwq_env.rollout.checkpoint_folder import check_checkpoint
from qwq_env.rollout.play import PlaySettings
from qwq_env.task import Later


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The first `size` of `tasks`, `samples` episodes each, in an environment with a policy; of an
    environment that knows no splits the last ones, which `qwq train` holds out.

    `policy` "vllm" is asked with token ids and needs the folder of its tokenizer in `checkpoint`;
    "chat" is asked with messages for `model`; "transformers" is the `checkpoint` itself, a folder
    or a model of the hub's (`owner/name`), "answers" the file that `answers` names. What is None is
    the environment's own. `seeded` sends a server a seed with each request, `extra` further
    settings. The thinking is bounded as `PlaySettings` says; that of a chat endpoint by what
    `extra` holds, as far as the server keeps to it. `arguments` are whatever else the environment
    takes, by name, in plain data. Of a `benchmark`, played as `preset` says,
    tasks and environment are known: `data` names a file or a folder of it, None the hub.
    """

    environment: str
    policy: Literal["vllm", "chat", "transformers", "answers"]
    model: str | None = None
    checkpoint: str | None = None
    native_tools: bool = True
    seeded: bool = False
    tasks: str | None = None
    size: int | None = None
    samples: int = 1
    split: str = "heldout"
    seed: int = 0
    tools: tuple[str, ...] | None = None
    dialect: str | None = None
    difficulty: int | None = None
    turns: int | None = None
    tool_calls: int | None = None
    seconds: float | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    context: int = 32_768
    completion: int = 32_768
    turn_tokens: int = 32_768
    thinking: Literal["keep", "strip"] = "keep"
    thinking_tokens: int | None = None
    forced_answer: str | None = None
    extra: Mapping[str, Any] | None = None
    answers: str | None = None
    benchmark: str | None = None
    preset: str | None = None
    data: str | None = None
    arguments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_whole("samples", self.samples)
        check_whole("limit", self.size, optional=True)
        # Both check what they are given.
        self.play_settings()
        if self.policy == "answers" and self.thinking_tokens is not None:
            raise UsageError("thinking_tokens: of stored answers; expected a policy that thinks")
        if self.policy == "chat" and self.forced_answer is not None:
            raise UsageError(
                "forced_answer: a chat server takes no words into a reply; expected --vllm or"
                " --checkpoint"
            )
        if self.extra is not None and self.policy != "chat":
            raise UsageError("extra: without an endpoint; expected --endpoint")
        if self.policy == "chat" and self.model is None:
            raise UsageError("model: none; expected the name that the endpoint knows it by")
        if self.policy in ("vllm", "transformers") and self.checkpoint is None:
            raise UsageError("checkpoint: none; expected the folder of the policy's tokenizer")
        if self.policy == "transformers" and self.checkpoint is not None:
            check_checkpoint(self.checkpoint, field="checkpoint")
        elif self.checkpoint is not None and not Path(self.checkpoint).is_dir():
            raise UsageError(f"checkpoint: {self.checkpoint!r} is no folder")
        for name in ("tasks", "data", "answers"):
            path = getattr(self, name)
            if path is not None and Path(path).suffix and not Path(path).exists():
                raise UsageError(f"{name}: {path!r} does not exist")
        for name in self.arguments or ():
            if name in ("tasks", "tools", "dialect", "difficulty", "split"):
                raise UsageError(f"argument: {name}; expected --{name}")
        if self.benchmark is not None and self.tasks is not None:
            raise UsageError(f"tasks: {self.tasks!r}; a benchmark's own are taken from --data")

    def play_settings(self) -> PlaySettings:
        """Return how the episodes are generated."""
        return PlaySettings(
            sampling=Sampling(self.temperature, self.top_p, self.top_k),
            context=self.context,
            completion=self.completion,
            turn_tokens=self.turn_tokens,
            thinking=self.thinking,
            # A chat server is told of it, see `extra`.
            thinking_tokens=None if self.policy == "chat" else self.thinking_tokens,
            forced_answer=None if self.policy == "chat" else self.forced_answer,
        )

    def settings(self) -> dict[str, Any]:
        """Return all of it as JSON, and digests of the files that it names: names may stay."""
        tools = None if self.tools is None else list(self.tools)
        digests = {"tasks_sha256": self.tasks}
        if self.benchmark is not None:
            digests["data_sha256"] = self.data
        if self.answers is not None:
            digests["answers_sha256"] = self.answers
        hashes = {
            name: None
            if path is None or not (Path(path).is_file() or name == "data_sha256")
            else digest(Path(path))
            for name, path in digests.items()
        }
        split = None if self._holds_out() else self.split
        return {**asdict(self), "split": split, "tools": tools, **hashes}

    def load_data(self) -> BenchmarkData | None:
        """Load the benchmark's data, None where there is no benchmark. See `load_data`."""
        if self.benchmark is None:
            return None
        assert self.preset is not None
        return load_data(find_benchmark(self.benchmark), self.preset, self.data)

    def make_environment(self, data: BenchmarkData | None = None) -> ToolEnv:
        """Make the environment, of a benchmark with its `data`.

        Raises `UsageError` for what it does not take, and for endless tasks without a `size`.
        """
        said: Mapping[str, Any] = {
            "tasks": self.tasks if data is None else data.tasks,
            "tools": self.tools,
            "dialect": self.dialect,
            "difficulty": self.difficulty,
        }
        given = {name: value for name, value in said.items() if value is not None}
        if self.benchmark is not None and self.preset is not None:
            protocol = find_benchmark(self.benchmark).protocol(self.preset)
            given = {**protocol.arguments, **given}
        given |= self.arguments or {}
        env = make_environment(self.environment, given, split=self.split)
        if env.tasks.size is None and self.size is None:
            raise UsageError("tasks: there is no end of them; expected --tasks N or --limit N")
        if env.tasks.size is not None and self._holds_out():
            env.tasks = Later(env.tasks, env.tasks.size - self.tasks_in(env))
        bounds = {
            name: value
            for name in ("turns", "tool_calls", "seconds")
            if (value := getattr(self, name)) is not None
        }
        limits = replace(env.settings.limits, **bounds)
        rubric = env.settings.rubric
        if self.benchmark is not None and (beside := find_benchmark(self.benchmark).measures):
            rubric = replace(rubric, components=(*rubric.components, *beside))
        env.settings = replace(env.settings, limits=limits, rubric=rubric)
        return env

    def note_of_tasks(self, env: ToolEnv) -> str | None:
        """Say which tasks of `env`, which this made, are played, where it knows no splits."""
        tasks = env.tasks
        if tasks.size is None or not (self._holds_out() and isinstance(tasks, Later)):
            return None
        which = f"all of its {tasks.size} tasks are"
        if tasks.skipped:
            which = f"the last {tasks.size} of its {tasks.skipped + tasks.size} tasks are"
        return (
            f"{self.environment} takes no split: {which} played; of a run in it those are held out"
            " that evaluation.tasks says, the last 256 by default"
        )

    def _holds_out(self) -> bool:
        """Whether the tasks end with those that `qwq train` holds out: where the class knows no
        splits, and no file of tasks was named."""
        own = self.tasks is None and self.benchmark is None and self.split != "train"
        return own and not knows_splits(self.environment)

    def tasks_in(self, env: ToolEnv) -> int:
        """Return how many tasks of `env`, which this made, are played."""
        sizes = [size for size in (self.size, env.tasks.size) if size is not None]
        return min(sizes)
