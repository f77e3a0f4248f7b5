"""The customer of a shop's task: a script that listens, without a model.

It opens with what it wishes. Then, to each answer of the agent:

1. Until the agent has looked it up, it says who it is, whatever it is asked.
2. Of a wish that it has told in part only, it tells the rest when it is asked anything.
3. To a proposal, an answer that names all that is to be done, it says yes, or what it has thought
   of meanwhile, which has to be proposed again.
4. It takes no for an answer where what it wishes is against the policy, and it hears what it asked.

When all is settled it leaves, and so it does when nothing has come of four answers.

The script follows from what the agent wrote and what its calls got, and from nothing else. So it is
played again for the reward, which sees what was changed without a yes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qwq_env.envs.retail.tools import FINDERS, WRITERS
from qwq_env.turn import CallResult, ToolCall, Turn

_PATIENCE: Final = 4
_REFUSAL: Final = re.compile(
    r"\b(?:can ?not|can['’]t|could ?n['’]t|not (?:able|possible|allowed)|unable|impossible)\b"
)
_UNCLEAR: Final = "Please tell me exactly what you would do, with its numbers, before you do it."


@dataclass(slots=True)
class Wish:
    """One thing that a customer wants, and how far it has come.

    `told` are its words, `rest` what it keeps for later, `named` what a proposal has to name,
    `action` the call that fulfils it (None: it is refused, or asks for `info`). With a `second`
    thought it wants something else once it hears the first proposal: then `named_then` counts.
    """

    told: str
    rest: str = ""
    named: Sequence[str] = ()
    second: str = ""
    named_then: Sequence[str] = ()
    action: Mapping[str, Any] | None = None
    info: Sequence[str] = ()
    look: Sequence[Mapping[str, Any]] = ()
    told_rest: bool = False
    agreed: bool = False
    done: bool = False
    closed: bool = False

    @property
    def wanted_names(self) -> Sequence[str]:
        """What a proposal has to name by now."""
        return self.named if self.second else self.named_then or self.named

    def hear(self, answer: str) -> str | None:
        """Return what to say to an answer: "" for nothing to add, None if nothing came of it."""
        if self.rest and not self.told_rest:
            self.told_rest = True
            return self.rest
        if self.action is None:
            heard = all(plain(word) in answer for word in self.info)
            self.closed = heard if self.info else bool(_REFUSAL.search(answer))
            return "" if self.closed else None
        if self.agreed:
            self.closed = self.done
            return "" if self.done else None
        if not all(plain(word) in answer for word in self.wanted_names):
            return None
        if self.second:
            thought, self.second = self.second, ""
            return thought
        self.agreed = True
        return f"Yes, please do that: {self.wanted_names[0]}."

    def insist(self) -> str:
        """Return what to say when nothing has come of an answer."""
        if self.action is None:
            return f"I still have no answer. {self.told}"
        return "Yes, go ahead, please." if self.agreed else _UNCLEAR


class Customer:
    """The customer of one episode.

    `script` has its `user_id`, the `identity` that it tells, the call that `finds` it, and its
    `wishes`. `unasked` says that the agent has changed something that it had not said yes to.
    """

    def __init__(self, script: Mapping[str, Any]) -> None:
        self.user_id: str = script["user_id"]
        self.identity: str = script["identity"]
        self.finds: Mapping[str, Any] = script["finds"]
        self.wishes = [Wish(**wish) for wish in script["wishes"]]
        self.found = False
        self.unasked = False
        self._patience = _PATIENCE
        self._named_itself = False

    def see(self, call: ToolCall, result: CallResult) -> None:
        """Take note of a call and what it got."""
        if result.status != "ok":
            return
        if call.name in FINDERS:
            self.found = self.found or result.content == self.user_id
        elif call.name in WRITERS:
            asked = (wish for wish in self.wishes if wish.agreed and not wish.done)
            wish = next((w for w in asked if w.action and w.action["name"] == call.name), None)
            if wish is None:
                self.unasked = True
            else:
                wish.done = True

    def hear(self, answer: str) -> str | None:
        """Return what the customer says to an answer; None if it leaves."""
        if not self.found:
            if self._named_itself:
                self._patience -= 1
            self._named_itself = True
            return self.identity if self._patience else None
        heard = plain(answer)
        open_wishes = [wish for wish in self.wishes if not wish.closed]
        said = [(wish, wish.hear(heard)) for wish in open_wishes]
        if all(wish.closed for wish in self.wishes):
            return None
        new = [words for _, words in said if words is not None]
        if not new:
            self._patience -= 1
            return open_wishes[0].insist() if self._patience else None
        spoken = " ".join(dict.fromkeys(filter(None, new)))
        return spoken or next(wish for wish in open_wishes if not wish.closed).insist()


class Listener:
    """A customer that follows an episode, each turn of which it takes note of once."""

    def __init__(self, script: Mapping[str, Any]) -> None:
        self.customer = Customer(script)
        self._said: str | None = None
        self._turns = self._results = 0

    def follow(self, turns: Sequence[Turn], results: Sequence[CallResult]) -> str | None:
        """Take note of what is new of an episode's turns and results; return what it said last."""
        for turn in turns[self._turns :]:
            if not turn.requests:
                self._said = self.customer.hear(turn.answer)
            got = results[self._results : self._results + len(turn.requests)]
            # The last turn's calls have no results where a limit cut the episode.
            for request, result in zip(turn.requests, got, strict=False):
                if isinstance(request, ToolCall):
                    self.customer.see(request, result)
            self._results += len(got)
        self._turns = len(turns)
        return self._said


def plain(text: str) -> str:
    """Return a text as the customer compares it: small letters, no marks, single spaces."""
    return " ".join(re.sub(r"[#,*`]", "", text.lower()).replace("_", " ").split())
