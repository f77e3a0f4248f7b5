"""`ToolEnv`: a multi-turn text environment with tools, as a Gymnasium environment.

```python
env = gym.make("qwq/MathTool-v0")
prompt, info = env.reset(seed=0)
transcript = prompt
while True:
    turn = model(transcript)                    # text, up to the end of the model's turn
    observation, reward, terminated, truncated, info = env.step(turn)
    transcript += turn + observation
    if terminated or truncated:
        break
```

The observation of `reset` is the rendered prompt; that of `step` is what the model reads next.
So prompt + turn + observation + turn + ... is the transcript, only ever appended to.

It is text: a tokenizer that encodes it whole cannot tell an `<|im_end|>` that a tool printed from
the dialect's own. Where that matters, as in training, the engine encodes piece by piece instead
(`TokenCodec`), or a chat interface gets `info["messages"]`.

The hops: `ToolEnv.step` → `Episode.step` → `Toolbox.run` → `Tool.call`.
"""

from __future__ import annotations

import asyncio
import math
import operator
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import gymnasium as gym

from qwq_env import portal
from qwq_env.checked_tools import ToolLike, checked_tools
from qwq_env.checks import KnowsItsArguments, check_whole
from qwq_env.dialect import Dialect, make_dialect
from qwq_env.dialect.base import Message, text_of
from qwq_env.episode import Episode, EpisodeSettings, Said, Step
from qwq_env.errors import (
    EnvironmentClosed,
    InfrastructureError,
    UsageError,
    brief,
    unknown,
)
from qwq_env.messages import new_messages, read_assistant
from qwq_env.outcome import EpisodeLimits
from qwq_env.reset_needed import ResetNeeded
from qwq_env.rubric import Rubric, wrapped
from qwq_env.spaces import TextSpace, TurnSpace
from qwq_env.task import Task, TaskSet
from qwq_env.text.render import ansi, html
from qwq_env.text.truncation import Tokenizer
from qwq_env.toolbox import ToolLimits

Action = str | Mapping[str, Any]
"""The model's turn: its text, or an assistant message."""

_OPTIONS = ("task", "task_id", "index")


class ToolEnv(KnowsItsArguments, gym.Env[str, Action]):
    """An environment: where tasks come from, which tools there are, what pays.

    Observation and action are texts. `terminated` means that the outcome is decided,
    `truncated` that a limit cut the episode; `info["outcome"]` names which. The reward is 0.0
    until the end, and NaN for an episode that our own machinery lost: it must not be learned
    from. Tokens are counted with `tokenizer`; without one, four bytes count as a token.

    `reset(options=...)` takes one of `task` (a `Task`), `task_id`, `index`.

    Raises `UsageError` for an argument that is of the wrong kind, and for two tools of one name.
    """

    # The rate means nothing here, but Gymnasium's checker wants one.
    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own declaration
        "render_modes": ["ansi", "human", "html"],
        "render_fps": 1,
    }

    def __init__(
        self,
        tasks: TaskSet,
        tools: Sequence[ToolLike],
        rubric: Rubric,
        *,
        dialect: str | Dialect = "qwq",
        limits: EpisodeLimits | None = None,
        tool_limits: ToolLimits | None = None,
        system_prompt: str | None = None,
        tokenizer: Tokenizer | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown("render_mode", render_mode, self.metadata["render_modes"])
        checked = checked_tools(tools)
        _expect("tasks", tasks, TaskSet, _as_task_set(tasks))
        check_whole(f"tasks: {type(tasks).__name__}, size", tasks.size, optional=True)
        _expect("rubric", rubric, Rubric, wrapped(rubric))
        _expect("limits", limits, EpisodeLimits | None)
        _expect("tool_limits", tool_limits, ToolLimits | None)
        _expect("system_prompt", system_prompt, str | None)
        self.tasks = tasks
        self.settings = EpisodeSettings(
            tools=checked,
            rubric=rubric,
            dialect=make_dialect(dialect),
            limits=limits or EpisodeLimits(),
            tool_limits=tool_limits or ToolLimits(),
            system_prompt=system_prompt,
            tokenizer=tokenizer,
            # An environment whose turns are not replied to pays nothing for it.
            reply=None if type(self).reply is ToolEnv.reply else self.reply,
        )
        self.render_mode = render_mode
        self.observation_space = TextSpace()
        self.action_space = TurnSpace()
        self.episode: Episode | None = None
        self._closed = False

    @property
    def members(self) -> Mapping[str, ToolEnv]:
        """The environments by whose names the ids of the tasks begin; there are none but in a
        mixture."""
        return {}

    def begin(self, task: Task, *, seed: int = 0) -> Episode:
        """Return a new episode of this environment, apart from the one that `step` drives.

        Any number of them may live at a time. Its driver counts tokens with `Episode.spend`.
        Whoever plays this environment begins here (`reset`, the vector environment, the engine,
        audits, evaluations), so what a subclass does here holds everywhere.
        """
        return Episode(task, self.settings, seed=seed)

    def reply(self, episode: Episode) -> Said | Awaitable[Said]:
        """Say what a user, a game or a test answers to a turn without a call; may be async.

        None ends the episode: its outcome is decided, and graded. A text goes on as a user's, and
        so do messages of role user or system, which may offer tools that were held back (see
        `Said`). `episode.turns` and `episode.said` hold what was said so far, and `episode.memory`
        what the user keeps in mind. Not asked of a turn that was cut,
        or that never ends its thinking.

        Raises `InfrastructureError` where machinery failed: the episode is tried again, or masked.
        Whatever else it raises, or gives, is its own fault: the episode is lost, without a reward.
        A plain function has to return at once; one that waits is async.
        """
        return None

    def phrase_answer(self, answer: str) -> str:
        """Return `answer` as a final answer in the form that the reward expects.

        For audits, which must be able to play an oracle; a subclass with a form overrides it.
        """
        return answer

    def solve(self, task: Task) -> Sequence[str | Message] | None:
        """Return turns that solve `task`, texts or assistant messages; None if none are known.

        For audits, whose oracle takes them in their order, and for demonstrations. A task that is
        solved by saying its answer needs `phrase_answer` only.
        """
        return None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see `areset`."""
        return portal.run(self.areset(seed=seed, options=options))

    def step(self, action: Action) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the model's turn; see `astep`."""
        return portal.run(self.astep(action))

    async def areset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode and return its prompt; an episode that was running is given up.

        `info` holds `task_id`, `messages` and `tools` (OpenAI form), for chat interfaces. Raises
        `InfrastructureError` if a tool could not be made for it, `UsageError` for bad `options`.
        """
        if self._closed:
            raise EnvironmentClosed("the environment was closed; make a new one")
        super().reset(seed=seed)
        given_up, self.episode = self.episode, None
        if given_up is not None:
            await given_up.aclose()
        task = self._choose(options or {})
        episode = self.begin(task, seed=int(self.np_random.integers(2**31)))
        _expect("begin", episode, Episode)
        await episode.start()
        episode.count_with(self._count_tokens)
        self.episode = episode
        prompt = text_of(episode.open())
        schemas = [tool.schema() for tool in episode.tools]
        messages = episode.conversation()
        if self.render_mode == "human":
            self._show()
        return prompt, {"task_id": episode.task_id, "messages": messages, "tools": schemas}

    async def astep(self, action: Action) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the model's turn and return Gymnasium's five.

        The turn is a text, or an assistant message of a chat interface: `{"role": "assistant",
        "content", "tool_calls", "reasoning_content"}`, whose content may be None or parts of text,
        and the arguments of whose calls a text or an object.

        `info` holds `results` (what each call got), `errors` (failed requests counted by kind),
        `messages` (the new ones in OpenAI form: the turn's own, its results, a user's reply),
        `tools` where a reply has offered some (all that there are by then), and at the end
        `outcome`, `answer`, `reward_components` and `limits`. An episode that the machinery of a
        tool or a reward lost, or whose reward function raised, ends with a reward of NaN and a
        `failed` outcome; nothing is raised. `UsageError` is for what the operator must mend, and
        for an action that is neither: then the episode has not been stepped. A step that is
        interrupted ends the episode: a turn is never taken twice.
        """
        if self._closed:
            raise EnvironmentClosed("the environment was closed; make a new one")
        if self.episode is None:
            raise ResetNeeded("step was called before reset; call reset first")
        if not isinstance(action, str | Mapping):
            kind = type(action).__name__
            raise UsageError(f"action: {kind}; expected the turn's text or an assistant message")
        given = None if isinstance(action, str) else action
        turn = (
            action
            if isinstance(action, str)
            else read_assistant(action, self.episode.settings.dialect)
        )
        calls_before = self.episode.tool_calls
        try:
            step = await self.episode.step(turn)
        except InfrastructureError:
            # One lost episode must not take those beside it in a vector environment along.
            step = Step([], (), self.episode.outcome, None)
        except asyncio.CancelledError:
            if self.episode.outcome is None:
                await self.episode.lose("interrupted", "a step was given up before its end")
            raise
        if self.render_mode == "human":
            self._show()
        five = self._five(step, self.episode)
        five[-1]["messages"] = new_messages(
            self.episode.turns[-1], step.results, step.messages, given=given, number=calls_before
        )
        if any("tools" in message for message in step.messages):
            five[-1]["tools"] = [tool.schema() for tool in self.episode.tools]
        return five

    def render(self) -> str | None:
        """Return the transcript so far: coloured text (`ansi`) or a page (`html`)."""
        if self.episode is None:
            raise ResetNeeded("render was called before reset; call reset first")
        if self.render_mode == "ansi":
            return ansi(self.episode)
        if self.render_mode == "html":
            return html(self.episode)
        if self.render_mode is None and self.spec is not None:
            gym.logger.warn(
                f'no render_mode was given; gym.make("{self.spec.id}", render_mode=...)'
            )
        return None

    def close(self) -> None:
        """Give up the running episode and free its tools. Safe to call again."""
        if self.episode is not None and not self._closed:
            portal.run(self.episode.aclose())
        self._closed = True

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the environment and its random state; a running episode stays behind."""
        return {**self.__dict__, "episode": None}

    def _choose(self, options: Mapping[str, Any]) -> Task:
        _expect("reset options", options, Mapping)
        for key in options:
            if key not in _OPTIONS:
                raise unknown("reset option", key, _OPTIONS)
        if len(options) > 1:
            raise UsageError(f"reset options: {', '.join(options)}; expected one of them")
        if "task" in options:
            _expect("reset option task", options["task"], Task)
            return cast(Task, options["task"])
        if "task_id" in options:
            return self._find(options["task_id"])
        if "index" in options:
            return self._at(options["index"])
        return self.tasks.sample(self.np_random)

    def _find(self, task_id: Any) -> Task:
        _expect("task_id", task_id, str)
        try:
            return self.tasks.find(task_id)
        except KeyError:
            raise UsageError(f"task_id: no task {brief(task_id)} in this set") from None

    def _at(self, index: Any) -> Task:
        try:
            number = operator.index(index)
            if number < 0:
                raise IndexError(number)
            return self.tasks.task(number)
        except (TypeError, IndexError):
            size = self.tasks.size
            known = "0 or more" if size is None else f"0 to {size - 1}"
            raise UsageError(f"index: {brief(index)}; expected {known}") from None

    def _count_tokens(self, text: str) -> int:
        if self.settings.tokenizer is not None:
            return len(self.settings.tokenizer.encode(text))
        return math.ceil(len(text.encode("utf-8", "replace")) / 4)

    def _five(self, step: Step, episode: Episode) -> tuple[str, float, bool, bool, dict[str, Any]]:
        # Wall times stay out of `info`: the same actions must give the same info.
        results = [
            {"name": r.name, "content": r.content, "status": r.status, "kind": r.kind}
            for r in step.results
        ]
        info: dict[str, Any] = {
            "task_id": episode.task_id, "results": results,
            "errors": {kind: n for kind, n in episode.toolbox.counts.items() if kind != "ok"},
            "turns": len(episode.turns), "tool_calls": episode.tool_calls, "tokens": episode.tokens,
        }  # fmt: skip
        if step.outcome is None:
            return text_of(step.pieces), 0.0, False, False, info
        info["outcome"] = step.outcome.to_json()
        info["answer"] = episode.answer
        bounds = asdict(episode.settings.limits)
        info["limits"] = {n: bounds[n] for n in ("turns", "tool_calls", "tokens", "seconds")}
        scores = episode.reward.scores if episode.reward is not None else {}
        info["reward_components"] = {name: score.value for name, score in scores.items()}
        info["reward_reasons"] = {name: score.reason for name, score in scores.items()}
        reward = math.nan if step.reward is None else step.reward
        return "", reward, step.outcome.terminated, step.outcome.truncated, info

    def _show(self) -> None:
        assert self.episode is not None
        print(ansi(self.episode, last=True), flush=True)


def _expect(field: str, value: object, kind: Any, how: str = "") -> None:
    """Raise `UsageError` for what is not of a kind; `how` says how what was given becomes it."""
    if not isinstance(value, kind):
        wanted = f"{getattr(kind, '__name__', str(kind))}{how and f': {how}'}"
        raise UsageError(f"{field}: {brief(value)}; expected {wanted}")


def _as_task_set(given: object) -> str:
    """Return how tasks that are no set become one."""
    if isinstance(given, str | Path):
        return f"qwq_env.task.load_jsonl({brief(str(given), 60)})"
    if isinstance(given, Task):
        return "ListTaskSet([task])"
    if isinstance(given, type) and issubclass(given, TaskSet):
        return f"one that is made, {given.__name__}(...)"
    return "ListTaskSet(tasks)" if isinstance(given, Iterable) else ""
