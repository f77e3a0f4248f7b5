"""Whether the calls of a multi-turn episode did what the gold calls do: BFCL's two checks.

After each turn the services must be in the *state* in which the gold calls leave theirs, and every
*response* that the gold calls got must be among those that the model's calls got so far. How the
model came there is free: other calls, another order, more reading. After a turn without gold calls,
for which something is missing still, nothing is judged; but at the end the state must be right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from qwq_env.errors import UsageError
from qwq_env.grading.calls.backends import Backends, Service
from qwq_env.grading.calls.call import Call, NoCalls, UnreadableCall, parse_python_calls, read_calls
from qwq_env.grading.score import Score

__all__ = ["EpisodeCheck", "check_episode"]


class EpisodeCheck:
    """The check of one episode, a turn at a time.

        check = EpisodeCheck(row, gold)
        for turn in turns:
            for call in turn:
                observation = check.call(call)
            score = check.end_turn()  # None while all is well

    `row` has `involved_classes` and `initial_config`, `gold` is the row's list of turns, each a
    list of Python calls as text. Model and gold have services of their own. Those that BFCL does
    not have are classes in `own`, by name.
    """

    def __init__(
        self,
        row: Mapping[str, Any],
        gold: Sequence[Sequence[str]],
        own: Mapping[str, type[Service]] | None = None,
    ) -> None:
        """Raises UsageError for a malformed row, BfclMissing without the package."""
        services, configuration = row.get("involved_classes"), row.get("initial_config", {})
        if not _is_texts(services) or not isinstance(configuration, dict):
            raise UsageError("row: expected a list 'involved_classes', an object 'initial_config'")
        if not all(_is_texts(turn) for turn in gold):
            raise UsageError("gold: expected a list of turns, each a list of calls as text")
        self.services, self._gold_services = (
            Backends(services, configuration, own=own or {}, long_context=has_long_context(row))
            for _ in range(2)
        )
        self._gold = [[_gold_call(text) for text in turn] for turn in gold]
        self._turn = 0
        self._calls_in_turn = 0
        self._responses: Counter[str] = Counter()

    @property
    def turns(self) -> int:
        """How many turns the episode has."""
        return len(self._gold)

    def call(self, call: Call) -> str:
        """Do one of the model's calls in the turn that is on; return what the service says."""
        self._calls_in_turn += 1
        response = self.services.call(call)
        self._responses[response] += 1
        return response

    def end_turn(self) -> Score | None:
        """End the turn. The score if the episode is decided: 0.0 at once, 1.0 after the last."""
        if self._turn >= self.turns:
            raise UsageError(f"turn {self._turn}: the episode has {self.turns} turns")
        turn, gold, calls = self._turn, self._gold[self._turn], self._calls_in_turn
        expected = Counter(self._gold_services.call(call) for call in gold)
        self._turn += 1
        self._calls_in_turn = 0
        if gold and not calls:
            return Score.wrong("no_calls", f"turn {turn}")
        last = self._turn == self.turns
        # Where nothing can be done yet, what was done is judged with the next turn, as in BFCL.
        differences = self.services.differences(self._gold_services) if gold or last else []
        if differences:
            return Score.wrong("wrong_state", f"turn {turn}: {', '.join(differences)}")
        missing = expected - self._responses
        if missing:
            return Score.wrong("missing_response", f"turn {turn}: {next(iter(missing)):.120}")
        return Score.right("match") if last else None


def has_long_context(row: Mapping[str, Any]) -> bool:
    """Say whether a row's services are padded; as in BFCL its `id` says so."""
    category = str(row.get("id", "")).rpartition("_")[0]
    return "long_context" in category or "composite" in category


def check_episode(row: Mapping[str, Any], gold: Sequence[Sequence[str]], turns: object) -> Score:
    """Score the calls of a whole episode, one entry of `turns` for each turn.

    A turn is anything that `read_calls` reads, or a list of such steps. 1.0 (`match`) or 0.0:
    `wrong_turns`, `malformed`, `no_calls`, `wrong_state`, `missing_response`.
    Raises as `EpisodeCheck` does.
    """
    check = EpisodeCheck(row, gold)
    if not isinstance(turns, list) or len(turns) != check.turns:
        given = len(turns) if isinstance(turns, list) else type(turns).__name__
        return Score.wrong("wrong_turns", f"{given} turns, expected {check.turns}")
    for index, turn in enumerate(turns):
        try:
            calls = _read_turn(turn)
        except UnreadableCall as problem:
            return Score.wrong("malformed", f"turn {index}: {problem}")
        for call in calls:
            check.call(call)
        score = check.end_turn()
        if score is not None:
            return score
    return Score.right("match", "no turns")


def _read_turn(turn: object) -> list[Call]:
    steps = turn if isinstance(turn, list) else [turn]
    calls: list[Call] = []
    for step in steps:
        try:
            calls += read_calls(step, words=False)
        except NoCalls:
            continue
    return calls


def _is_texts(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _gold_call(text: str) -> Call:
    try:
        (call,) = parse_python_calls(text, words=False)
    except (UnreadableCall, NoCalls, ValueError) as problem:
        raise UsageError(f"gold: {text!r:.120} is not one call ({problem})") from None
    return call
