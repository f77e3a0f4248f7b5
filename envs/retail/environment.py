"""`qwq/Retail-v0`: the agent of a shop, with a policy, a database, and a customer who answers.

**Task.** The system message is the shop's policy, the first message a customer's. The model finds
out who writes, looks things up, asks for what it does not know, says what it is about to do, has a
yes for it, and does it. `tasks="shop"` is procedural: seeded, endless, in three difficulties, with
a scripted customer, and needs no data. A folder as tau2-bench publishes its retail domain (db.json,
policy.md, tasks.json, split_tasks.json) gives those tasks.

**Tools.** `RetailTools`, the sixteen of tau2-bench's retail domain, with their effects.

**Reward.** 1.0 if the records end as they should and all was said, else 0.0: as the gold actions
leave them, and in the model's answers what had to be said (`communicate_info`). In the shop also
only if the customer was looked up, and nothing was changed without its yes. What tau2-bench has a
model judge (`nl_assertions`) is not judged, nor is `communicate_info` left out where its
`reward_basis` does not name it. Records are compared by what was done: money to the cent, items by
their ids. As there, a turn without a word and without a call pays nothing; and of the 114 tasks
seven are paid to a model that says anything and does nothing, for their gold actions change nothing
and nothing has to be said.

**Customer.** In the shop a script (`customer`); in tau2-bench's tasks nobody: all that the customer
would say stands in the first message, and the first turn without a call is the last. For either,
`user=` is a model on a server that plays the customer, in plain data (`qwq_env.users.make_user`),
or anybody with `reply(episode)`:

    user = {"endpoint": "http://127.0.0.1:8000/v1", "model": "some-model", "temperature": 0.7}
    env = gym.make("qwq/Retail-v0", tasks="tau2_retail", split="test", user=user)

**An episode** (difficulty 1):

    customer  Hello! I want to pay order #W2264816 in another way. Pay it with my gift card.
    model     May I have your email, or your name and zip code?
    customer  My email is mira.keller4410@example.com.
    model     find_user_id_by_email, get_user_details, get_order_details: one call a turn
    model     Order #W2264816 would be paid with your gift card instead. Shall I do that?
    customer  Yes, please do that: #W2264816.
    model     modify_pending_order_payment(order_id="#W2264816", payment_method_id="gift_card_...")
    model     Done: your gift card has paid, and PayPal gets its money back within 7 business days.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Unpack

from qwq_env.env import ToolEnv
from qwq_env.envs.retail.customer import Customer, Listener, Wish
from qwq_env.envs.retail.shop import ShopTaskSet
from qwq_env.envs.retail.tasks import RetailTaskSet, Tau2TaskSet, user_instructions
from qwq_env.envs.retail.tools import RetailTools
from qwq_env.episode import Episode, Said
from qwq_env.errors import ToolError, UsageError, brief
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import Task
from qwq_env.turn import CallResult, ToolCall
from qwq_env.users import UserLike, make_user
from qwq_env.vector import vector_of

_LIMITS: Final = EpisodeLimits(turns=50, tool_calls=100)
_KEPT: Final = 1024

Message = dict[str, Any]


class RetailEnv(ToolEnv):
    """A shop's agent; see the module.

    `tasks` is `"shop"` (with `difficulty` 1 to 3 and `task_seed`), a folder in tau2-bench's form,
    or a `RetailTaskSet`. `split` is `"train"` or `"heldout"`; of a folder one of its own (`"test"`,
    for which `"heldout"` stands too) or `"base"` for all tasks. `user` plays the customer, see
    `make_user`: None is the script of a shop's task, and nobody in a folder's. A `system_prompt`
    stands before the policy. Limits are 50 turns and 100 calls unless `limits` says others.
    """

    def __init__(
        self,
        tasks: str | Path | RetailTaskSet = "shop",
        *,
        user: UserLike | None = None,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        self.user = None if user is None else make_user(user, user_instructions)
        chosen = retail_tasks(
            tasks, difficulty=difficulty, split=split, seed=task_seed, at_once=user is None
        )
        self._scripted = chosen.scripted
        prompts = (options.get("system_prompt"), chosen.policy)
        options["system_prompt"] = "\n\n".join(filter(None, prompts))
        options["limits"] = options.get("limits") or _LIMITS
        gates = [Component("database", _Records(chosen)), Component("said", said)]
        if user is None and chosen.scripted:
            gates.append(Component("consent", consent))
        super().__init__(
            chosen, [partial(RetailTools, chosen)], Rubric(gates=gates, base=1.0), **options
        )

    def reply(self, episode: Episode) -> Said | Awaitable[Said]:
        """Have the customer answer."""
        if self.user is not None:
            return self.user.reply(episode)
        if not self._scripted:
            return None
        if "listener" not in episode.memory:
            episode.memory["listener"] = Listener(episode.task.metadata["script"])
        listener: Listener = episode.memory["listener"]
        return listener.follow(episode.turns, episode.results)

    def solve(self, task: Task) -> Sequence[Message]:
        """Return turns that solve `task`: against the shop's script, or with nobody to answer."""
        if self._scripted:
            return list(_talk(Customer(task.metadata["script"])))
        answer = " ".join(["All is done.", *task.metadata["communicate_info"]])
        return [*map(_call, task.metadata["actions"]), _say(answer)]


def retail_tasks(
    tasks: str | Path | RetailTaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    at_once: bool = True,
) -> RetailTaskSet:
    """Return the task set that `tasks` names; see `RetailEnv`."""
    if isinstance(tasks, RetailTaskSet):
        return tasks
    if tasks == "shop":
        return ShopTaskSet(seed=seed, difficulty=difficulty, split=split)
    if not isinstance(tasks, str | Path) or not Path(tasks).is_dir():
        expected = "'shop', a folder in tau2-bench's form, or a RetailTaskSet"
        raise UsageError(f"tasks: {brief(tasks)}; expected {expected}")
    return Tau2TaskSet(tasks, split=split, at_once=at_once)


class _Records:
    """Holds the records at the end against those that the gold actions leave."""

    def __init__(self, tasks: RetailTaskSet) -> None:
        self._tasks = tasks
        self._gold: dict[str, Any] = {}

    def __call__(self, final: FinalTurn) -> Score:
        gold = self._gold.get(final.task.id)
        if gold is None:
            if len(self._gold) >= _KEPT:
                self._gold.clear()
            gold = _essence(gold_state(self._tasks, final.task))
            self._gold[final.task.id] = gold
        same = _essence(final.state[RetailTools.__name__]) == gold
        return Score.right() if same else Score.wrong("other_records")


def gold_state(tasks: RetailTaskSet, task: Task) -> Mapping[str, Any]:
    """Return what the gold actions of `task` change, as `RetailTools.state` gives it.

    One that is refused changes nothing, as in tau2-bench.
    """
    tools = RetailTools(tasks)
    tools.start(task)
    for action in task.metadata["actions"]:
        try:
            getattr(tools, action["name"])(**action["arguments"])
        except ToolError:
            continue
    return tools.state()


def _essence(state: Mapping[str, Any]) -> Any:
    """Return what was done to the records.

    An item's price and options follow from its id; sums of floats depend on their order.
    """
    orders = {
        order_id: {**order, "items": sorted(item["item_id"] for item in order["items"])}
        for order_id, order in state["orders"].items()
    }
    return _to_the_cent([state["users"], orders])


def _to_the_cent(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, dict):
        return {name: _to_the_cent(part) for name, part in value.items()}
    return [_to_the_cent(part) for part in value] if isinstance(value, list) else value


def said(final: FinalTurn) -> Score:
    """Pay if each text that had to be said stands in an answer, by tau2-bench's rule: without
    regard to case, and to commas in the answer. A turn that says and calls nothing is an error of
    the agent's there, which ends the conversation unpaid.
    """
    if any(not turn.requests and not turn.answer.strip() for turn in final.turns):
        return Score.wrong("empty_turn")
    answers = [turn.answer.lower().replace(",", "") for turn in final.turns]
    for info in final.task.metadata["communicate_info"]:
        if not any(info.lower() in answer for answer in answers):
            return Score.wrong("not_said", brief(info))
    return Score.right("said")


def consent(final: FinalTurn) -> Score:
    """Pay if the scripted customer was looked up, and nothing was done without its yes."""
    listener = Listener(final.task.metadata["script"])
    listener.follow(final.turns, final.results)
    customer = listener.customer
    if not customer.found:
        return Score.wrong("not_identified")
    return Score.wrong("unasked") if customer.unasked else Score.right("asked")


def _talk(customer: Customer) -> Iterator[Message]:
    """Yield the turns of an agent who keeps the policy, while `customer` answers them."""
    question = "I can help you with that. May I have your email, or your name and zip code?"
    customer.hear(question)
    yield _say(question)
    yield _take(customer, customer.finds, customer.user_id)
    yield _take(customer, {"name": "get_user_details", "arguments": {"user_id": customer.user_id}})
    for wish in customer.wishes:
        for look in wish.look:
            yield _take(customer, look)
    leaving = False
    while not leaving:
        words = " ".join(dict.fromkeys(_words(wish) for wish in customer.wishes if not wish.closed))
        leaving = customer.hear(words) is None
        yield _say(words)
        for wish in customer.wishes:
            if wish.agreed and not wish.done and wish.action:
                yield _take(customer, wish.action)


def _words(wish: Wish) -> str:
    if wish.rest and not wish.told_rest:
        return "Is there anything that I should know about it?"
    if wish.action is None:
        return f"It is {', '.join(wish.info)}." if wish.info else "I am sorry, that cannot be done."
    if wish.agreed:
        return "That is done."
    return f"I would do this: {', '.join(wish.wanted_names)}. Is that right?"


def _take(customer: Customer, call: Mapping[str, Any], got: str = "") -> Message:
    """Return the turn that makes a call, of which the customer takes note."""
    customer.see(ToolCall(call["name"], call["arguments"]), CallResult(call["name"], got))
    return _call(call)


def _call(call: Mapping[str, Any]) -> Message:
    function = {"name": call["name"], "arguments": call["arguments"]}
    calls = [{"type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _say(words: str) -> Message:
    return {"role": "assistant", "content": words}


make_vector = vector_of(RetailEnv)
