"""`qwq/SearchTool-v0`: worlds of our own, published rows, what is found and what is paid."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from datasets import Dataset

from qwq_env.dialect import make_dialect
from qwq_env.envs.search import SearchToolEnv, corpus_of, search_tasks
from qwq_env.envs.search_world import WorldTaskSet, world_of
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import audit_rewards
from qwq_env.grading.short_answer import exact_match, normalized, stated_answer, word_f1
from qwq_env.registry import make_environment
from qwq_env.schema.sample import sample_arguments
from qwq_env.task import ListTaskSet, Task
from qwq_env.tools.search import Passage
from qwq_env.tools.search.memory import MemoryIndex
from qwq_env.tools.search.servers import RetrieveServer

THOUGHT = "So.\n</think>\n\n"
ALL = [(difficulty, split) for difficulty in (1, 2, 3, 4) for split in ("train", "heldout")]


@pytest.mark.parametrize(("difficulty", "split"), ALL)
def test_whoever_looks_each_fact_up_finds_it_and_is_paid(difficulty: int, split: str) -> None:
    env = SearchToolEnv(difficulty=difficulty, split=split)
    for index in range(0, 20, 4):
        env.reset(options={"index": index})
        task = env.episode.task
        *looks, last = env.solve(task)
        for look, hop in zip(looks, task.metadata["hops"], strict=True):
            observation, _, terminated, *_ = env.step(look)

            assert not terminated
            assert hop["value"].lower() in observation.lower()
        assert env.step(last)[1] == 1.0
    assert len(looks) == difficulty


@pytest.mark.parametrize(("difficulty", "split"), ALL)
def test_no_question_holds_its_answer_and_none_of_a_world_shares_one(
    difficulty: int, split: str
) -> None:
    tasks = [WorldTaskSet(difficulty=difficulty, split=split).task(i) for i in range(32)]
    for task in tasks:
        told = f" {normalized(task.prompt)} "

        assert not any(f" {normalized(answer)} " in told for answer in task.metadata["answers"])
        assert len({hop["subject"] for hop in task.metadata["hops"]}) == difficulty
    for start in (0, 8, 16, 24):
        assert len({task.answer for task in tasks[start : start + 8]}) == 8


def test_facts_stand_on_different_pages_and_nothing_is_said_twice() -> None:
    task = WorldTaskSet(difficulty=4).task(3)
    passages = world_of(task.metadata["world"]).index.passages

    assert len({passage.text for passage in passages}) == len(passages) > 60
    holding = [page for page in passages if task.answer in f"{page.title} {page.text}"]
    assert len(holding) < len(passages) / 4


def test_the_splits_share_no_name_and_no_way_of_asking() -> None:
    names: dict[str, set[str]] = {"train": set(), "heldout": set()}
    chains: dict[str, set[tuple[str, ...]]] = {"train": set(), "heldout": set()}
    for difficulty, split in ALL:
        for index in range(64):
            hops = WorldTaskSet(difficulty=difficulty, split=split).task(index).metadata["hops"]
            names[split] |= {hop["subject"] for hop in hops}
            if difficulty > 1:
                chains[split].add(tuple(hop["relation"] for hop in hops))

    assert len(names["train"]) > 100
    assert not names["train"] & names["heldout"]
    assert len(chains["heldout"]) > 20
    assert not chains["train"] & chains["heldout"]


def test_a_world_is_the_same_wherever_it_is_made() -> None:
    tasks = WorldTaskSet(seed=3, difficulty=2, split="heldout")
    task = tasks.task(21)
    name = task.metadata["world"]
    before = world_of(name).index.passages
    world_of.cache_clear()

    assert pickle.loads(pickle.dumps(tasks)).find(task.id) == task
    assert world_of(name).index.passages == before
    assert task.id == "search/2/heldout/3/21"
    assert task.prompt == ("By whom was the scene of The Silent Summer established?")
    assert json.loads(json.dumps(task.metadata)) == task.metadata
    with pytest.raises(KeyError):
        tasks.find("search/2/train/3/21")


def ended(env: SearchToolEnv, said: str) -> tuple[float, str]:
    env.reset(options={"index": 0})
    _, reward, terminated, _, info = env.step(THOUGHT + said)

    assert terminated
    return reward, next(iter(info["reward_reasons"].values()))


HARBOUR = Task(
    "harbour",
    "Which novel did Ada Torvik write?",
    "The Silent Harbour",
    metadata={"answers": ["The Silent Harbour", "Silent Harbor"], "passages": [("Ada", "x")]},
)


@pytest.fixture(scope="module", params=["exact", "f1"])
def one(request: pytest.FixtureRequest) -> SearchToolEnv:
    return SearchToolEnv(ListTaskSet([HARBOUR]), reward=request.param)


@pytest.mark.parametrize(
    "said",
    [
        "<answer>The Silent Harbour</answer>",
        "It is <answer> silent harbour. </answer>, I think.",
        "\\boxed{The Silent Harbor}",
        "\\boxed{\\text{silent harbour}}",
        "<answer>\\boxed{“Silent  Harbour”}</answer>",
        "<answer>The Silent Harbour",
        "<answer>Rome</answer> no: <answer>Silent Harbour</answer>",
    ],
)
def test_the_answer_is_paid_however_it_is_written(one: SearchToolEnv, said: str) -> None:
    assert ended(one, said) == (1.0, "equal")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "The Silent Harbour",
        "<answer></answer>",
        "<answer>\u200b</answer> The Silent Harbour",
        "<answer>the</answer>",
        "<answer>Rome</answer> \\boxed{Silent Harbour}",
        "\\boxed{Silent Harbour} or \\boxed{Rome}",
        "<answer>" + ", ".join(["Silent Harbour", *(f"Name {n}" for n in range(40))]) + "</answer>",
        f"<answer>{HARBOUR.prompt}</answer>",
        f"<answer>Doc 1 {'word ' * 50} The Silent Harbour {'word ' * 50}</answer>",
        f"<answer>{'Silent Harbour ' * 5000}</answer>",
        "Silent Harbour\n</think>\n\nI am done.",
    ],
)
def test_nothing_else_is_paid(one: SearchToolEnv, said: str) -> None:
    assert ended(one, said)[0] == 0.0


@pytest.mark.parametrize(
    ("answer", "accepted", "exact", "f1"),
    [
        ("harbour", ["The Silent Harbour"], 0, 2 / 3),
        ("Silent Harbour, Silent", ["The Silent Harbour"], 0, 0.8),
        ("no", ["no"], 1, 1),
        ("no way", ["no"], 0, 0),
        ("Yes.", ["yes"], 1, 1),
        ("A", ["a"], 1, 1),
        ("1,000", ["1000"], 1, 1),
        ("Zürich", ["zürich"], 1, 1),
        ("東京。", ["東京"], 1, 1),
        ("second", ["first", "Second!"], 1, 1),
    ],
)
def test_exact_match_and_f1(answer: str, accepted: list[str], exact: float, f1: float) -> None:
    assert exact_match(answer, accepted).value == exact
    assert word_f1(answer, accepted).value == pytest.approx(f1)


@pytest.mark.parametrize("reward", ["exact", "f1"])
def test_the_audit_finds_it_sound(reward: str) -> None:
    *cheats, oracle = audit_rewards(SearchToolEnv(difficulty=3, reward=reward), tasks=16)

    assert oracle.mean == 1.0
    assert all((paid.mean or 0.0) <= 0.05 for paid in cheats)


# Rows as they are published, each cut to what tells its form.
CONTEXT = [["Ada Torvik", ["Ada wrote it.", " It sold."]], ["Rome", ["Rome is old."]]]
ROWS: dict[str, tuple[dict[str, Any], list[str], list[Any]]] = {
    "HotpotQA": (
        {"_id": "5a", "question": "Who?", "answer": "Ada", "type": "bridge", "level": "hard",
         "supporting_facts": [["Ada Torvik", 0]], "context": CONTEXT},
        ["Ada"], [("Ada Torvik", "Ada wrote it. It sold."), ("Rome", "Rome is old.")],
    ),
    "HotpotQA on the hub": (
        {"id": "5a", "question": "Who?", "answer": "Ada", "type": "bridge", "level": "hard",
         "supporting_facts": {"title": ["Ada Torvik"], "sent_id": [0]},
         "context": {"title": ["Ada Torvik"], "sentences": [["Ada wrote it.", " It sold."]]}},
        ["Ada"], [("Ada Torvik", "Ada wrote it. It sold.")],
    ),
    "2WikiMultihopQA": (
        {"_id": "1", "question": "Who?", "answer": "Ada", "context": json.dumps(CONTEXT[1:])},
        ["Ada"], [("Rome", "Rome is old.")],
    ),
    "MuSiQue": (
        {"id": "2hop__1", "question": "Who?", "answer": "Ada", "answer_aliases": ["Ada T."],
         "paragraphs": [{"idx": 0, "title": "Rome", "paragraph_text": "Rome is old."}]},
        ["Ada", "Ada T."], [("Rome", "Rome is old.")],
    ),
    "NQ-open": ({"question": "who", "answer": ["Ada", "Ada Torvik"]}, ["Ada", "Ada Torvik"], []),
    "WebQuestions": ({"question": "who", "answers": ["Ada"]}, ["Ada"], []),
    "TriviaQA": (
        {"question": "Who?", "question_id": "t", "answer":
         {"value": "Ada", "aliases": ["A. Torvik"], "normalized_aliases": ["a torvik"]}},
        ["Ada", "A. Torvik"], [],
    ),
    "PopQA": ({"question": "Who?", "possible_answers": '["Ada", "A. T."]'}, ["Ada", "A. T."], []),
    "SQuAD": (
        {"id": "s", "title": "Ada", "context": "Ada wrote it.", "question": "Who?",
         "answers": {"text": ["Ada", "Ada"], "answer_start": [0, 0]}},
        ["Ada"], [("Ada", "Ada wrote it.")],
    ),
    "Bamboogle": ({"Question": "Who?", "Answer": "Ada"}, ["Ada"], []),
    "an empty column": ({"question": "who", "answers": [], "answer": "Ada"}, ["Ada"], []),
    "FlashRAG": ({"id": "t0", "question": "who", "golden_answers": ["Ada"]}, ["Ada"], []),
    "Search-R1": (
        {"id": "train_0", "question": "who", "golden_answers": ["Ada"], "data_source": "nq",
         "prompt": [{"role": "user", "content": "Use <search> and <answer>. Question: who"}],
         "ability": "fact-reasoning",
         "reward_model": {"style": "rule", "ground_truth": {"target": ["Ada"]}}},
        ["Ada"], [],
    ),
    "Search-R1 without the question": (
        {"data_source": "nq", "prompt": [{"role": "user", "content": "Who?"}],
         "reward_model": {"style": "rule", "ground_truth": {"target": ["Ada", "Ada T."]}}},
        ["Ada", "Ada T."], [],
    ),
    "our own": (
        {"prompt": "Who?", "answer": "Ada", "passages": [{"title": "Rome", "text": "Old."}]},
        ["Ada"], [("Rome", "Old.")],
    ),
    "StrategyQA": ({"qid": "q", "question": "Is it?", "answer": False}, ["no", "false"], []),
    "BoolQ": (
        {"question": "is it", "answer": True, "passage": "Yes."}, ["yes", "true"], [("", "Yes.")]
    ),
    "SimpleQA": ({"problem": "Who?", "answer": "Ada", "metadata": "{}"}, ["Ada"], []),
    "GAIA": ({"Question": "Who?", "Level": 1, "Final answer": "Ada"}, ["Ada"], []),
    "a number": ({"question": "How many?", "answer": 12}, ["12"], []),
}  # fmt: skip


QUESTIONS = ("question", "problem", "prompt")


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ROWS)
def test_published_rows_are_read(tmp_path: Path, name: str) -> None:
    row, answers, passages = ROWS[name]
    [task] = search_tasks(written(tmp_path, row))

    assert task.metadata["answers"][: len(answers)] == answers
    assert task.answer == answers[0]
    assert task.metadata.get("passages", []) == passages
    if not task.messages:
        asked = next(value for name, value in row.items() if name.lower() in QUESTIONS)
        assert task.prompt.startswith(asked)
        assert task.prompt.endswith("between <answer> and </answer>.")


def test_rows_of_joined_data_sets_have_ids_of_their_own(tmp_path: Path) -> None:
    row = ROWS["Search-R1"][0]
    rows = [row, {**row, "data_source": "hotpotqa"}, {**row, "id": None, "data_source": ""}]

    assert [task.id for task in search_tasks(written(tmp_path, *rows))] == [
        "nq/train_0", "hotpotqa/train_0", "rows/3"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["HotpotQA on the hub", "Search-R1", "TriviaQA", "MuSiQue"])
def test_tables_are_read(tmp_path: Path, name: str) -> None:
    row, answers, passages = ROWS[name]
    Dataset.from_list([row]).to_parquet(tmp_path / "train.parquet")
    [task] = search_tasks(tmp_path / "train.parquet")

    assert task.metadata["answers"][: len(answers)] == answers
    assert task.metadata.get("passages", []) == passages


def test_hotpots_own_file_is_an_array(tmp_path: Path) -> None:
    path = tmp_path / "hotpot_dev_distractor_v1.json"
    path.write_text(json.dumps([ROWS["HotpotQA"][0]]))
    env = SearchToolEnv(path)
    env.reset(options={"task_id": "5a"})
    observation, *_ = env.step(looking("who wrote it"))

    assert "Doc 1 (Title: Ada Torvik) Ada wrote it. It sold." in observation
    assert env.step(f"{THOUGHT}<answer>Ada</answer>")[1] == 1.0


def looking(query: str) -> dict[str, Any]:
    call = {"function": {"name": "search", "arguments": {"query": query}}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def test_search_r1s_own_prompt_protocol_and_corpus(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"id": "0", "contents": '"Ada Torvik"\nAda wrote the novel.'}))
    rows = written(tmp_path, ROWS["Search-R1"][0])
    env = gym.make("qwq/SearchTool-v0", tasks=rows, corpus=corpus, dialect="search_r1").unwrapped
    prompt, _ = env.reset(seed=0)
    observation, *_ = env.step("<think>Who?</think>\n<search> novel </search>")
    _, reward, terminated, _, info = env.step("<think>So.</think>\n<answer> Ada </answer>")

    assert prompt == (
        "<|im_start|>user\nUse <search> and <answer>. Question: who<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert observation == (
        "\n\n<information>Doc 1 (Title: Ada Torvik) Ada wrote the novel.</information>\n\n"
    )
    assert (reward, terminated, info["answer"]) == (1.0, True, "Ada")


@pytest.mark.parametrize("dialect", ["qwq", "react", "tags", "search_r1"])
def test_every_dialect_is_told_how_and_paid(dialect: str) -> None:
    env = SearchToolEnv(dialect=dialect, difficulty=2)
    prompt, _ = env.reset(options={"index": 1})
    for turn in env.solve(env.episode.task):
        _, reward, terminated, *_ = env.step(turn)

    assert "<answer>" in prompt
    assert ("<search>" in prompt) == (dialect in ("tags", "search_r1"))
    assert (reward, terminated) == (1.0, True)
    said = {"qwq": "so</think>", "react": "Final Answer: "}.get(dialect, "<think>so</think>")
    env.reset(options={"index": 1})
    assert env.step(f"{said}<answer>{env.episode.task.answer}</answer>")[1] == 1.0
    assert make_dialect(dialect).name == dialect


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x", "label": 1}, "columns: 'text', 'label'; expected a question (question, "),
        ({"question": "Who?", "anwser": "Ada"}, "nearest form: NQ-open, which lacks 'answer'"),
        ({"question": "", "answer": "Ada"}, "question: ''; expected a text"),
        ({"question": ["Who?"], "answer": "Ada"}, "question: ['Who?']; expected a text"),
        ({"question": "Who?", "answer": []}, "answer: []; expected a text of letters or digits"),
        ({"question": "Who?", "answer": "?!"}, "answer: '?!'; expected a text of letters"),
        ({"question": "Who?", "answer": "A", "context": [1]}, "context: 1; expected a passage"),
        ({"question": "Who?", "answer": "A", "context": {"title": ["a"], "sentences": []}},
         "expected as many titles as texts"),
        ({"question": "Who?", "answer": "A"}, "corpus: none given, and task rows/1 brings no"),
    ],
)  # fmt: skip
def test_rows_of_no_form_are_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        SearchToolEnv(written(tmp_path, row))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not a file; expected JSONL of passages"),
        ("", "holds no passage"),
        ('{"id": 1, "passage": "x"}', "columns: 'id', 'passage'; expected 'contents', or 'text'"),
        ('{"title": "x", "body": "x"}', "nearest form: 'text' beside its 'title'"),
        ("[1]", "list; expected a JSON object"),
        ("x", "corpus.jsonl:1: not a JSON object"),
        ('{"text": "Z\u00fcrich"}', "corpus.jsonl: not UTF-8, behind line 0"),
    ],
)
def test_a_corpus_that_is_none_is_named_at_once(
    tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "corpus.jsonl"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        SearchToolEnv(written(tmp_path, ROWS["NQ-open"][0]), corpus=path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"reward": ["f1"]}, "reward: ['f1'] is not known"),
        ({"reward": "em"}, "reward: 'em' is not known; known: exact, f1"),
        ({"difficulty": 5}, "difficulty: 5; expected 1 to 4"),
        ({"split": "test"}, "split: 'test' is not known"),
        ({"tasks": "world"}, "expected 'worlds', a .jsonl path"),
        ({"tools": ["serch"]}, "did you mean 'search'"),
        ({"tools": "search"}, "expected a list"),
        ({"corpus": 3}, "corpus: 3; expected a .jsonl file"),
        ({"corpus": "http://me:x@host"}, "retrieve server, url: holds a user name"),
        ({"corpus": "http://me:x@host"}, "retrieve server, url: holds a user name"),
        ({"count": 0}, "count 0"),
        ({"dialect": "search-r1"}, "did you mean 'search_r1'"),
        ({"tasks": ListTaskSet([Task("t", "x", "")])}, "task t: answer: ''; expected a text"),
        ({"tasks": ListTaskSet([Task("t", "x", "y")])}, "corpus: none given, and task t brings"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        SearchToolEnv(**arguments)
    assert said in str(caught.value)


def test_an_address_is_a_server_of_passages_so_that_a_recipe_can_name_one() -> None:
    env = make_environment("qwq/SearchTool-v0", {"corpus": "http://127.0.0.1:9"})

    for made in (env, pickle.loads(pickle.dumps(env))):
        assert isinstance(made.corpus, RetrieveServer)
        assert made.corpus.url == "http://127.0.0.1:9/retrieve"
        assert made.settings.tools[0].name == "search"


def test_other_tools_and_a_back_end_of_ones_own() -> None:
    index = MemoryIndex([Passage("Ada wrote it.", "Ada"), Passage("Rome is old.", "Rome")])
    tasks = ListTaskSet([Task("t", "Who wrote it?", ["Ada", "A."])])
    env = SearchToolEnv(tasks, ["search", "calculator"], corpus=index, count=1)
    env.reset(seed=0)
    observation, *_ = env.step(looking("who wrote it?"))

    assert "Doc 1 (Title: Ada) Ada wrote it." in observation
    assert "Doc 2" not in observation
    assert env.step(env.solve(tasks.task(0))[-1])[1] == 1.0
    assert SearchToolEnv(tools=[]).solve(WorldTaskSet().task(0))[:-1] == []
    with pytest.raises(UsageError, match="task t brings no passages"):
        corpus_of(tasks.task(0))


@pytest.mark.parametrize(
    ("query", "first"),
    [("ADA", "Ada"), ("zurich", "Zürich"), ("東京", "東京"), ("old rome?", "Rome"), ("zzz", "")],
)
def test_passages_in_memory_are_found_by_their_words(query: str, first: str) -> None:
    index = MemoryIndex(
        Passage(text, title)
        for title, text in [("Ada", "Ada wrote it."), ("Rome", "Rome is old."), ("Rome", "Old."),
                            ("Zürich", "Am See."), ("東京", "東京都は日本の首都です。")]
    )  # fmt: skip
    for made in (index, pickle.loads(pickle.dumps(index))):
        assert next((each.title for each in made.search_now(query, 2)), "") == first
    assert MemoryIndex(()).search_now(query, 2) == []


def test_random_policies_raise_nothing() -> None:
    env = gym.make("qwq/SearchTool-v0", difficulty=2).unwrapped
    chance = random.Random(1)
    tool = env.settings.tools[0]
    env.action_space.seed(1)
    for number in range(12):
        prompt, _ = env.reset(seed=number)
        ending = False
        while not ending:
            query = sample_arguments(tool.parameters, chance, prompt.split())["query"]
            turn = chance.choice([
                env.action_space.sample(), THOUGHT + env.action_space.sample(), looking(query),
                f"{THOUGHT}<answer>{query}</answer>",
            ])  # fmt: skip
            _, reward, terminated, truncated, _ = env.step(turn)
            ending = terminated or truncated
            assert reward in (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "stated"),
    [("Ada", None), ("\\boxed{A \\& B}", "A & B"), ("<answer>x", "x"), ("</answer>", None)],
)
def test_what_is_stated(text: str, stated: str | None) -> None:
    assert stated_answer(text) == stated
