"""`qwq/SearchTool-v0`: questions whose answers have to be looked up, fact by fact.

**Task.** A question with a short answer. `tasks="worlds"` makes them without a download: 1 to 4
facts lead from what the question names to the answer, by `difficulty`, and each stands on another
page of a procedural world of people, cities, novels, firms and bridges. A JSONL file, a table or a
Hugging Face dataset may be of any form in `qwq_env.envs.search_rows`: HotpotQA, 2WikiMultihopQA,
MuSiQue, NQ-open, TriviaQA, PopQA, SQuAD, FlashRAG, Search-R1.

**Tools.** `search(query)`: the best `count` passages, each with its title. It searches the world of
the task, the passages that a row brings (HotpotQA's ten), or `corpus`: a JSONL file of passages, as
`LocalIndex` reads it, the address of a server that speaks Search-R1's protocol, or any
`SearchBackend`, such as `LocalIndex(path, folder=...)`, which keeps the index of a large one, or
`CachedSearch(Serper(key))`.

**Reward.** 1.0 if the answer is one of the accepted ones, but for case, punctuation and articles,
else 0.0; with `reward="f1"` the share of words in common. The answer is what stands in the last
`<answer>…</answer>`, without one in the last `\\boxed{}`, and nothing else: no other text is looked
at. Lists and documents are not paid by F1 either.

**Search-R1.** `dialect="tags"` is its protocol (`<search>`, `<information>`, `<answer>`), explained
in the system message; `dialect="search_r1"` says nothing of its own, and asks its rows by their own
prompts, so that its data and checkpoints run as they are:

    gym.make("qwq/SearchTool-v0", tasks="train.parquet", dialect="search_r1",
             corpus="http://127.0.0.1:8000")

**An episode** (difficulty 2):

    user       Who taught the author of The Silent Harbour?
               Search for what you do not know. ...
    assistant  search(query="The Silent Harbour author")
    tool       Doc 1 (Title: The Silent Harbour) The Silent Harbour is a novel by Ada Torvik. ...
    assistant  search(query="Ada Torvik pupil")
    tool       Doc 1 (Title: Ada Torvik) ...
               Doc 2 (Title: Emil Dornbach) ... The best known pupil of those years is Ada Torvik.
    assistant  <answer>Emil Dornbach</answer>
    reward     1.0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Unpack

from qwq_env.checked_tools import ToolLike
from qwq_env.dialect import make_dialect
from qwq_env.dialect.base import Message
from qwq_env.env import ToolEnv
from qwq_env.envs.search_rows import accepted_answers, array_rows, is_array, search_row
from qwq_env.envs.search_world import WorldTaskSet, world_of
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.grading.score import Score
from qwq_env.grading.short_answer import exact_match, stated_answer, word_f1
from qwq_env.options import EnvironmentOptions
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet, load_rows
from qwq_env.tasks.source import open_tasks
from qwq_env.tools import TOOLS, make_tool
from qwq_env.tools.search import Passage, SearchBackend, SearchTool
from qwq_env.tools.search.index import LocalIndex, check_corpus
from qwq_env.tools.search.memory import MemoryIndex
from qwq_env.tools.search.servers import RetrieveServer
from qwq_env.vector import vector_of

INSTRUCTION: Final = (
    "\nSearch for what you do not know. Give the answer, and nothing else, between <answer> and"
    " </answer>."
)
"""What closes a question."""
TAGGED: Final = (
    "\nThink between <think> and </think>. To look something up, write your query between <search>"
    " and </search>; what is found comes back between <information> and </information>. Search as"
    " often as you need. Give the answer, and nothing else, between <answer> and </answer>."
)
"""What closes a question in the dialect `search_r1`, which explains nothing itself."""

_SEARCH: Final = "search"
_CONFIGURATIONS: Final = {"hotpot_qa": "distractor", "trivia_qa": "rc.nocontext"}
"""Which part of a published dataset is meant, by its name without the owner."""
_REWARDS: Final[dict[str, Callable[[str, Sequence[str]], Score]]] = {
    "exact": exact_match,
    "f1": word_f1,
}


class SearchToolEnv(ToolEnv):
    """Questions with a search tool; see the module for task, tools and reward.

    `tasks` is `"worlds"` (procedural, seeded, endless, `difficulty` 1 to 4, `split` `"train"` or
    `"heldout"`), a path, a Hugging Face dataset id, or a `TaskSet`, whose tasks have an answer or
    a list of them, and `passages` in their metadata where no `corpus` is given. Rows that cannot be
    graded against are left out and told of; `strict` refuses the file instead. `tools` are names,
    `"search"` among them, or whatever else `ToolEnv` takes. `reward` is `"exact"` or `"f1"`.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "worlds",
        tools: Sequence[str | ToolLike] = (_SEARCH,),
        *,
        corpus: str | Path | SearchBackend | None = None,
        count: int = 3,
        reward: str = "exact",
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        strict: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        if not isinstance(reward, str) or reward not in _REWARDS:
            raise unknown("reward", reward, _REWARDS)
        options["dialect"] = dialect = make_dialect(options.get("dialect", "qwq"))
        self.corpus = _opened(corpus)
        super().__init__(
            search_tasks(
                tasks, difficulty=difficulty, split=split, seed=task_seed, strict=strict,
                own_prompt=dialect.name == "search_r1",
            ),
            search_tools(tools, self.corpus, count),
            Rubric([Component(reward, partial(_paid, _REWARDS[reward]))]),
            **options,
        )  # fmt: skip
        searches = any(isinstance(tool, _TaskSearch) for tool in self.settings.tools)
        if searches and isinstance(self.tasks, ListTaskSet):
            for task in self.tasks:
                check_corpus_of(task)

    def phrase_answer(self, answer: str) -> str:
        """Return `answer` in its tags."""
        return f"<answer>{answer}</answer>"

    def solve(self, task: Task) -> Sequence[str | Message] | None:
        """Return turns that look up each fact of a world's task, and give the answer."""
        hops = task.metadata.get("hops", ())
        looks = [_look(hop["query"], hop["subject"]) for hop in hops]
        if not any(tool.name == _SEARCH for tool in self.settings.tools):
            looks = []
        last: Message = {
            "role": "assistant",
            "reasoning_content": "That is what was asked.",
            "content": self.phrase_answer(accepted_answers(task)[0]),
        }
        return [*looks, last]


def search_tasks(
    tasks: str | Path | TaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    strict: bool = False,
    own_prompt: bool = False,
) -> TaskSet:
    """Return the task set that `tasks` names; see `SearchToolEnv`.

    With `own_prompt`, rows that hold a prompt of their own are asked by it, and all others are told
    of the tags. What cannot be graded against shows now: its row is left out (with `strict`:
    `UsageError`), and in a `ListTaskSet` it is refused.
    """
    instruction = TAGGED if own_prompt else INSTRUCTION
    made = {
        "worlds": lambda: WorldTaskSet(
            seed=seed, difficulty=difficulty, split=split, instruction=instruction
        ),
    }
    reader = partial(search_row, instruction=instruction, own_prompt=own_prompt)
    if isinstance(tasks, str | Path) and is_array(Path(tasks)):
        return load_rows(str(tasks), array_rows(Path(tasks)), reader, strict)
    configuration = _CONFIGURATIONS.get(str(tasks).rpartition("/")[2])
    opened = open_tasks(
        tasks, made, reader=reader, configuration=configuration, split=split, strict=strict
    )
    if opened is tasks and isinstance(opened, ListTaskSet):
        for task in opened:
            accepted_answers(task)
    return opened


def search_tools(
    tools: Sequence[str | ToolLike], corpus: SearchBackend | None = None, count: int = 3
) -> list[ToolLike]:
    """Return the tools that are given by name or as they are; `search` looks into `corpus`, or
    into that of each task.

    Raises `UsageError` for a name that is not known.
    """
    if not isinstance(tools, list | tuple):
        raise UsageError(f"tools: {brief(tools)}; expected a list, such as ['search']")
    made: list[ToolLike] = []
    for tool in tools:
        if tool == _SEARCH:
            made.append(SearchTool(corpus, count=count) if corpus else _TaskSearch(count))
        else:
            made.append(make_tool(tool) if isinstance(tool, str) and tool in TOOLS else tool)
        if isinstance(made[-1], str):
            raise unknown("tool", tool, TOOLS)
    return made


def corpus_of(task: Task) -> SearchBackend:
    """Return what a task is to be searched in: its world, or the passages that it brings.

    Raises `UsageError` for a task that has neither.
    """
    check_corpus_of(task)
    if "world" in task.metadata:
        return world_of(task.metadata["world"]).index
    return MemoryIndex(
        Passage(text, title, str(number))
        for number, (title, text) in enumerate(task.metadata["passages"])
    )


def check_corpus_of(task: Task) -> None:
    """Raise `UsageError` for a task that has nothing to be searched in."""
    if not (task.metadata.get("world") or task.metadata.get("passages")):
        expected = "expected corpus= a .jsonl file, a server's address or a SearchBackend"
        where = brief(task.id)[1:-1]
        raise UsageError(f"corpus: none given, and task {where} brings no passages; {expected}")


class _TaskSearch(SearchTool):
    """The search tool in what each task is to be searched in."""

    def __init__(self, count: int) -> None:
        super().__init__(MemoryIndex(()), count=count)

    def for_episode(self, task: Task, seed: int) -> SearchTool:
        """See `Tool.for_episode`."""
        return SearchTool(corpus_of(task), count=self.count, characters=self.characters)


def _opened(corpus: object) -> SearchBackend | None:
    if corpus is None or isinstance(corpus, SearchBackend):
        return corpus
    if isinstance(corpus, str) and corpus.startswith(("http://", "https://")):
        return RetrieveServer(corpus)
    if not isinstance(corpus, str | Path):
        expected = "a .jsonl file of passages, a server's address or a SearchBackend"
        raise UsageError(f"corpus: {brief(corpus)}; expected {expected}")
    check_corpus(Path(corpus))
    return LocalIndex(corpus)


def _paid(compare: Callable[[str, Sequence[str]], Score], final: FinalTurn) -> Score:
    """Score the answer that a final turn states."""
    stated = stated_answer(_spoken(final))
    if stated is None:
        return Score.wrong("no_answer", "neither <answer> nor a box")
    return compare(stated, accepted_answers(final.task)).of(stated)


def _spoken(final: FinalTurn) -> str:
    """Return the text behind the thinking, with the tags that a dialect has read."""
    for turn in reversed(final.turns):
        if turn.answer == final.answer:
            spoken = turn.text[turn.thinking_end :]
            return spoken if "<answer>" in spoken else final.answer
    return final.answer


def _look(query: str, subject: str) -> Message:
    call = {"name": _SEARCH, "arguments": {"query": query}}
    return {
        "role": "assistant",
        "reasoning_content": f"I need to know more of {subject}.",
        "content": "",
        "tool_calls": [{"type": "function", "function": call}],
    }


make_vector = vector_of(SearchToolEnv)
