"""`qwq/Mixture-v0`: any environments side by side, by weight, each task with its own tools.

**Task.** That of a member: any registered environment, or a `ToolEnv`. Ids are `member/id`. Which
member comes when is decided by `task_seed` and the index alone, in shares as the weights say, and
`reset` draws by weight too. By default a third each of `qwq/MathTool-v0`, `qwq/CodeTool-v0` and
`qwq/Retail-v0`, whose tasks are procedural.

**Tools.** The member's own. So are its reward, its replies and its limits; one dialect is spoken in
all.

**Reward.** What the member pays. Its components are named after it: `math/accuracy`.

**Curriculum.** `difficulty` of a member may be a ladder. Its level, and with it its weight if that
is a list, moves with the pass rate of what `record` was told, as training does after each step;
where nobody tells it anything it stays. Held out, all levels come in turn.

    gym.make("qwq/Mixture-v0", members={
        "math": {"id": "qwq/MathTool-v0", "weight": 2, "difficulty": [1, 2, 3]},
        "retail": "qwq/Retail-v0",
    })

**An episode.**
```
task       retail/retail/1/train/0/4 (tools: those of the shop)
customer   Hello! I want to pay order #W2264816 in another way. Pay it with my gift card.
model      May I have your email, or your name and zip code?
...
reward     1.0, of retail/database 1.0, retail/said 1.0, retail/consent 1.0
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Unpack

from qwq_env.checks import is_number
from qwq_env.dialect.base import Message
from qwq_env.env import Action, ToolEnv
from qwq_env.envs.curriculum import Curriculum
from qwq_env.envs.mixture_members import (
    SPLITS,
    MemberLike,
    Shared,
    make_member,
    read_members,
    with_one_dialect,
)
from qwq_env.envs.mixture_tasks import Member, MixtureTaskSet
from qwq_env.episode import Episode
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.options import EnvironmentOptions
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import Task
from qwq_env.tool import Tool
from qwq_env.vector import vector_of

_DEFAULT: Final[Mapping[str, MemberLike]] = {
    "math": "qwq/MathTool-v0",
    "code": "qwq/CodeTool-v0",
    "retail": "qwq/Retail-v0",
}
_UNBOUNDED: Final = EpisodeLimits(None, None, None, None)
_BOUNDS: Final = ("turns", "tool_calls", "tokens", "seconds")


class MixtureEnv(ToolEnv):
    """Several environments as one; see the module.

    `members` are names with members, or a list of members: an id, a `ToolEnv`, either with a weight
    in a pair, or `{"id": ..., "weight": 1, "difficulty": ..., its other arguments}`. Weights are
    shares, exact in every block of draws.

    `split` "train" or "heldout" is passed to members that know splits; of the others every fourth
    task is held out. "all" leaves them as they are. A mixture is endless if a member is, where
    finite ones begin again; otherwise each task comes once, unless finite ones are to `repeat`.
    `task_seed` is that of the draws, and of members that say none.

    Of the options, `limits` bound every member's own, the `system_prompt` stands before theirs, and
    `dialect`, `tool_limits` and `tokenizer` stand in place of theirs. `settings.tools` are the
    tools of all members, but those of tool sets; those of a task are its member's.

    Raises `UsageError` that names the member for one that cannot be made.
    """

    def __init__(
        self,
        members: Mapping[str, MemberLike] | Sequence[MemberLike] = _DEFAULT,
        *,
        curriculum: Curriculum | Mapping[str, Any] | None = None,
        split: str = "all",
        task_seed: int = 0,
        repeat: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        self.curriculum = Curriculum.of(curriculum)
        given = {name: options.get(name) for name in ("tool_limits", "tokenizer")}
        settings = {name: value for name, value in given.items() if value is not None}
        shared = Shared(split, task_seed, settings)
        self._members = {
            name: make_member(name, asked, shared) for name, asked in read_members(members).items()
        }
        options["dialect"] = with_one_dialect(self._members.values(), options.get("dialect"))
        options["limits"] = options.get("limits") or _UNBOUNDED
        super().__init__(
            MixtureTaskSet(self._members, seed=task_seed, repeat=repeat),
            _tools_of(self._members.values()),
            Rubric([Component("member", _none)]),
            **options,
        )
        self._rubrics = {
            name: [_renamed(env.settings.rubric, name) for env in member.levels]
            for name, member in self._members.items()
        }

    @property
    def members(self) -> Mapping[str, ToolEnv]:
        """The members by name, each at its present level."""
        return {name: member.env for name, member in self._members.items()}

    def begin(self, task: Task, *, seed: int = 0) -> Episode:
        """Return a new episode of the task's member, bounded and named by this mixture.

        Raises `UsageError` for a task of no member.
        """
        member, level, own = self._own(task)
        env = member.levels[level]
        episode = env.begin(own, seed=seed)
        of_episode = episode.settings
        rubric = self._rubrics[member.name][level]
        if of_episode.rubric is not env.settings.rubric:  # chosen for this task
            rubric = _renamed(of_episode.rubric, member.name)
        prompts = (self.settings.system_prompt, of_episode.system_prompt)
        episode.settings = replace(
            of_episode,
            dialect=self.settings.dialect,
            limits=tighter(self.settings.limits, of_episode.limits),
            system_prompt="\n\n".join(filter(None, prompts)) or None,
            rubric=rubric,
        )
        episode.task_id = task.id
        return episode

    def solve(self, task: Task) -> Sequence[str | Message] | None:
        """Return the turns that the member solves `task` with, or that say its answer."""
        member, level, own = self._own(task)
        env = member.levels[level]
        answer = env.phrase_answer(str(own.answer))
        return env.solve(own) or [{"role": "assistant", "content": answer}]

    def record(self, task_id: str, reward: float | None) -> None:
        """Tell the curriculum how an episode of a task ended; None and NaN (lost) say nothing.

        Episodes of another level than the present one are left out: they began before it changed.
        Where several processes draw tasks, tell all of them the same, in the same order.
        """
        name, _, own_id = task_id.partition("/")
        if name not in self._members:
            raise UsageError(self._expected(task_id))
        member = self._members[name]
        if reward is None or not is_number(reward) or not member.climbs:
            return
        if member.level_of(own_id) == member.ladder.level:
            member.ladder.note(reward, self.curriculum)

    def progress(self) -> dict[str, Any]:
        """Return where the curriculum stands, as JSON: for a checkpoint, or another process."""
        return {name: m.ladder.to_json() for name, m in self._members.items() if m.climbs}

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Stand where `progress` was taken. Raises `UsageError`, and changes nothing, for others'.

        The tasks of an index are then again what they were there.
        """
        ladders = {name: m.ladder for name, m in self._members.items() if m.climbs}
        if not isinstance(progress, Mapping) or progress.keys() != ladders.keys():
            expected = ", ".join(ladders) or "none, for no member has several difficulties"
            raise UsageError(f"progress: {brief(progress)}; expected that of {expected}")
        read = {}
        for name, ladder in ladders.items():
            try:
                read[name] = ladder.read(progress[name])
            except UsageError as error:
                raise UsageError(f"progress of {name}: {error}") from None
        for name, (level, recent) in read.items():
            ladders[name].level, ladders[name].recent = level, recent

    async def areset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode as `ToolEnv.areset` does; `info` names the `member`."""
        prompt, info = await super().areset(seed=seed, options=options)
        return prompt, {**info, "member": info["task_id"].partition("/")[0]}

    async def astep(self, action: Action) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the model's turn as `ToolEnv.astep` does; `info` names the `member`."""
        five = await super().astep(action)
        five[-1]["member"] = five[-1]["task_id"].partition("/")[0]
        return five

    def _own(self, task: Task) -> tuple[Member, int, Task]:
        """Return the member of a task, its level, and the task by the member's own name."""
        name, _, own_id = task.id.partition("/")
        member = self._members.get(name)
        if member is None:
            raise UsageError(self._expected(task.id))
        level = member.level_of(own_id) if len(member.levels) > 1 else 0
        if level is None:
            level = member.ladder.level  # a task that the caller made
        return member, level, replace(task, id=own_id)

    def _expected(self, task_id: str) -> str:
        names = ", ".join(self._members)
        return f"task {brief(task_id)} is of no member; expected member/id, of {names}"


def tighter(one: EpisodeLimits, other: EpisodeLimits) -> EpisodeLimits:
    """Return limits that keep both: the smaller of each, graded or timed if one of them is."""
    found: dict[str, Any] = {}
    for name in _BOUNDS:
        bounds = [b for b in (getattr(one, name), getattr(other, name)) if b is not None]
        found[name] = min(bounds, default=None)
    return EpisodeLimits(
        **found,
        grade_truncated=one.grade_truncated or other.grade_truncated,
        timed=one.timed or other.timed,
    )


def _renamed(rubric: Rubric, member: str) -> Rubric:
    def named(parts: Sequence[Component]) -> list[Component]:
        return [replace(part, name=f"{member}/{part.name}") for part in parts]

    return replace(rubric, components=named(rubric.components), gates=named(rubric.gates))


def _tools_of(members: Any) -> list[Tool]:
    found: dict[str, Tool] = {}
    for member in members:
        for tool in member.env.settings.tools.single:
            found.setdefault(tool.name, tool)
    return list(found.values())


def _none(final: FinalTurn) -> float:
    raise UsageError("a mixture pays nothing itself; expected an episode of a member")


make_vector = vector_of(MixtureEnv)
