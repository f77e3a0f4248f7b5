"""A stock GRPOTrainer whose own loop plays our environment."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from trl import GRPOConfig
from trl.chat_template_utils import qwen3_template

from qwq_env.checked_tools import checked_tools
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.episode import Episode
from qwq_env.errors import UsageError
from qwq_env.interop.trl_factory import EnvironmentFactory
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.training.tiny.chat_template import qwq_chat_template
from qwq_env.training.tiny.model import build_tiny_model

from ..byte_tokenizer import byte_tokenizer
from ..training.stock_trainer import Recorder
from .parity import SCRIPTS, ParityEnv, by_ids, by_messages, kind_of, look, told

GROUP = 2


class Scripted(Recorder):
    """TRL's trainer, whose model says what the script of a task has next."""

    def _generate_single_turn(self, prompt_ids, *arguments, **named):
        texts = [self._tokenizer.decode(ids) for ids in prompt_ids]
        return [self.turn(text) for text in texts], None

    def turn(self, text: str) -> list[int]:
        number = int(text.rpartition("Add 2 to ")[2].split(".")[0])
        written = text.split(f"Add 2 to {number}.")[1].count("<|im_start|>assistant")
        said = list(SCRIPTS.values())[number][written - 1]
        return self._tokenizer.encode(said.text)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        self.seen = (inputs, completions, completion_ids_list)
        self.paid = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.outcomes = [environment.outcome.to_json() for environment in self.environments]
        return self.paid


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One step of TRL on every script, in groups of two."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = qwq_chat_template()
    tokenizer.response_template = qwen3_template
    factory = EnvironmentFactory(ParityEnv(), tokenizer)
    config = GRPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), use_cpu=True, bf16=False, report_to=[],
        disable_tqdm=True, save_strategy="no", beta=0.0, gradient_checkpointing=False,
        per_device_train_batch_size=GROUP * len(SCRIPTS), num_generations=GROUP, max_steps=1,
        max_completion_length=2000, max_tool_calling_iterations=factory.iterations,
        shuffle_dataset=False,
    )  # fmt: skip
    trainer = Scripted(
        model=build_tiny_model(tokenizer, hidden=32), args=config, processing_class=tokenizer,
        train_dataset=factory.dataset(len(SCRIPTS)), environment_factory=factory,
        reward_funcs=factory.reward,
    )  # fmt: skip
    trainer.train()
    return trainer


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=SCRIPTS)
def test_trl_comes_to_the_same(number, trained):
    inputs, completions, ids = trained.seen
    row = [each["task_id"] for each in inputs].index(f"t{number}")
    codec = TokenCodec(trained._tokenizer)
    played = asyncio.run(by_ids(codec, number, inputs[row]["seed"]))
    came = asyncio.run(by_messages(number, inputs[row]["seed"]))

    assert kind_of(trained.outcomes[row]) == came.outcome
    if came.reward is None:  # a group of lost ones has no mean: TRL takes it for nothing
        return
    assert trained.paid[row].item() == came.reward
    if list(SCRIPTS)[number] in ("no such tool", "turns"):
        return  # what TRL does not find it words itself, and its last turn may differ in form
    assert told(completions[row]) == came.messages[1:]
    assert list(ids[row]) == played.completion_ids
    assert trained.batch["tool_mask"][row, : len(played.mask)].tolist() == played.mask


@pytest.fixture
def factory():
    return EnvironmentFactory(ParityEnv(), byte_tokenizer())


def ended(factory, environment, messages, *, whole=True):
    """Return what TRL is told of an episode whose completion is `messages`, and how it ended."""
    ids = [5, factory._tokenizer.eos_token_id if whole else 5]
    [paid] = factory.reward([messages], [ids], [environment], ["t0"])
    return paid, kind_of(environment.outcome.to_json())


def calls(*named: str) -> dict:
    made = [{"type": "function", "function": {"name": n, "arguments": {"by": 2}}} for n in named]
    return {"role": "assistant", "content": "", "tool_calls": made}


DONE = {"role": "assistant", "content": "Done."}


@pytest.mark.parametrize(
    ("messages", "run", "whole", "came"),
    [
        ([calls("add"), DONE], 1, True, (1.0, ("terminated", "answered"))),
        ([calls("add"), DONE], 1, False, (0.0, ("truncated", "tokens"))),
        ([calls("add")], 1, True, (0.0, ("truncated", "tokens"))),  # no room for the result
        ([calls("add")], 0, True, (0.0, ("truncated", "turns"))),  # out of iterations
        ([{"role": "assistant", "content": "<tool_call>\n{"}], 0, True,
         (0.0, ("truncated", "turns"))),
        ([], 0, False, (0.0, ("truncated", "tokens"))),
        ([calls(*["nothing"] * 33), DONE], 0, True, (0.0, ("truncated", "tool_calls"))),
    ],
)  # fmt: skip
def test_where_trl_ends_an_episode_it_ends(messages, run, whole, came, factory):
    environment = factory()
    environment.reset(task_id="t0", seed=1)
    for _ in range(run):
        assert environment.add(by=2) == "2, seed 1"

    assert ended(factory, environment, messages, whole=whole) == came


def test_a_lost_episode_is_given_its_groups_mean(factory):
    environments = [factory() for _ in range(3)]
    for environment in environments:
        environment.reset(task_id="t0", seed=1)
    environments[0].add(by=2)
    assert "over" in environments[1].look(where="machinery")
    assert "over" in environments[1].add(by=2)
    completions = [[calls("add"), DONE], [calls("look"), DONE], [DONE]]
    ids = [[factory._tokenizer.eos_token_id]] * 3
    paid = factory.reward(completions, ids, environments, ["t0"] * 3)

    assert paid == [1.0, 0.75, 0.5]
    assert environments[1].outcome.failed


def test_calls_beyond_the_limit_are_not_run(factory):
    environment = factory()
    environment.reset(task_id="t0", seed=1)
    said = [environment.add(by=1) for _ in range(33)]

    assert (said[31], said[32]) == ("32, seed 1", "Error: not run: the episode is over")


def test_transformers_reads_a_schema_of_each_tool(factory):
    from transformers.utils.chat_template_utils import get_json_schema

    environment = factory()
    add, seen = (get_json_schema(getattr(environment, name)) for name in ("add", "look"))

    assert add["function"]["description"] == "Count up."
    by = {"type": "integer", "description": "How far."}
    assert add["function"]["parameters"] == {
        "type": "object", "properties": {"by": by}, "required": ["by"]
    }  # fmt: skip
    assert "required" not in seen["function"]["parameters"]


def test_what_trl_cannot_play_is_refused():
    class Replies(ParityEnv):
        def reply(self, episode):
            return "Go on."

    @tool
    def reset() -> str:
        """Reset."""
        return ""

    taken = ToolEnv(ListTaskSet([Task("t", "", "")]), [reset],
                    Rubric([Component("none", lambda final: 0.0)]))  # fmt: skip
    for env, words in (
        (Replies(), "replies to the model's turns"),
        (taken, "tool reset: TRL does not take it by that name"),
        ("qwq/Nothing-v0", "environment: "),
    ):
        with pytest.raises(UsageError, match=words):
            EnvironmentFactory(env, byte_tokenizer())


def test_tools_that_differ_from_task_to_task_are_refused():
    class OfItsOwn(ParityEnv):
        def begin(self, task, *, seed=0):
            settings = replace(self.settings, tools=checked_tools([look]))
            return Episode(task, settings, seed=seed)

    factory = EnvironmentFactory(OfItsOwn(), byte_tokenizer())
    with pytest.raises(UsageError, match="task 't0' has tools of its own"):
        factory().reset(task_id="t0")


def test_a_row_of_another_dataset_is_refused(factory):
    with pytest.raises(UsageError, match="task_id: no task 'x' in this set"):
        factory().reset(task_id="x")
