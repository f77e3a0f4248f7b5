"""What an evaluation is asked to be: all that shapes its episodes, checked before anything starts.

Where the policy is, and how many episodes are played at a time, are not part of it: an evaluation
that was interrupted may go on elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from qwq_env.chat_model import Sampling
from qwq_env.checks import check_whole
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.registry import make_environment
from qwq_env.rollout.play import PlaySettings


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The first `size` of `tasks`, `samples` episodes each, in an environment with a policy.

    `policy` "vllm" is asked with token ids and needs the folder of its tokenizer in `checkpoint`;
    "chat" is asked with messages for `model`; "transformers" is the `checkpoint` itself. What is
    None is the environment's own. `seeded` sends a server a seed with each request.
    """

    environment: str
    policy: Literal["vllm", "chat", "transformers"]
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

    def __post_init__(self) -> None:
        check_whole("samples", self.samples)
        check_whole("limit", self.size, optional=True)
        # Both check what they are given.
        self.play_settings()
        if self.policy == "chat" and self.model is None:
            raise UsageError("model: none; expected the name that the endpoint knows it by")
        if self.policy != "chat" and self.checkpoint is None:
            raise UsageError("checkpoint: none; expected the folder of the policy's tokenizer")
        if self.checkpoint is not None and not Path(self.checkpoint).is_dir():
            raise UsageError(f"checkpoint: {self.checkpoint!r} is no folder")
        if self.tasks is not None and Path(self.tasks).suffix and not Path(self.tasks).exists():
            raise UsageError(f"tasks: {self.tasks!r} does not exist")

    def play_settings(self) -> PlaySettings:
        """Return how the episodes are generated."""
        return PlaySettings(
            sampling=Sampling(self.temperature, self.top_p, self.top_k),
            context=self.context,
            completion=self.completion,
            turn_tokens=self.turn_tokens,
            thinking=self.thinking,
        )

    def settings(self) -> dict[str, Any]:
        """Return all of it as JSON, and a digest of the file of tasks: its name may stay."""
        file = None if self.tasks is None else Path(self.tasks)
        digest = None
        if file is not None and file.is_file():
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        tools = None if self.tools is None else list(self.tools)
        return {**asdict(self), "tools": tools, "tasks_sha256": digest}

    def make_environment(self) -> ToolEnv:
        """Make the environment. Raises `UsageError` for what it does not take, and for endless
        tasks without a `size`."""
        said: Mapping[str, Any] = {
            "tasks": self.tasks,
            "tools": self.tools,
            "dialect": self.dialect,
            "difficulty": self.difficulty,
        }
        given = {name: value for name, value in said.items() if value is not None}
        env = make_environment(self.environment, given, split=self.split)
        if env.tasks.size is None and self.size is None:
            raise UsageError("tasks: there is no end of them; expected --tasks N or --limit N")
        bounds = {
            name: value
            for name in ("turns", "tool_calls", "seconds")
            if (value := getattr(self, name)) is not None
        }
        limits = replace(env.settings.limits, **bounds)
        env.settings = replace(env.settings, limits=limits)
        return env
