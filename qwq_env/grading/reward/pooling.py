"""A reward model behind a vLLM server, asked for token ids in, one logit out.

Start it on a sequence classifier of one label:

    vllm serve MODEL --runner pooling

`POST /classify` of vLLM 0.22 and later takes rows of token ids, so the conversation is encoded
here, where foreign text cannot become control tokens, and not by the server's chat template,
which would let it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.errors import InfrastructureError
from qwq_env.grading.reward.conversation import ConversationEncoder
from qwq_env.grading.reward.model import Candidate, RewardModel
from qwq_env.grading.score import Score
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import HttpClient, Refused, base_address


class VllmPooling(RewardModel):
    """Scores with the sequence classifier that `{url}/classify` serves.

    `encoder` holds the served model's tokenizer; `model` is the name to ask for, by default
    whatever the server has. Each call of `score` sends its candidates in requests of at most
    `rows`, `in_flight` of them at a time. What does not come, or comes malformed, is undecided.
    """

    bounded = False

    def __init__(
        self,
        url: str,
        encoder: ConversationEncoder,
        *,
        model: str | None = None,
        max_tokens: int = 32_768,
        rows: int = 32,
        in_flight: int = 32,
        attempts: int = 5,
        seconds: float = 600.0,
        api_key_variable: str = "VLLM_API_KEY",
    ) -> None:
        """A conversation of more than `max_tokens` is undecided and never sent."""
        self.url = base_address("url", url)
        self._encoder = encoder
        self._model = model
        self._max_tokens = max_tokens
        self._rows = rows
        self._http = HttpClient(
            key=ApiKey.of_variable(api_key_variable),
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
        )

    async def score(self, items: Sequence[Candidate]) -> list[Score]:
        """Return the logit of each candidate."""
        encoded = await asyncio.to_thread(self._encode, items)
        scores = [Score.undecided("too_long", f"more than {self._max_tokens} tokens")] * len(items)
        places = [place for place, ids in enumerate(encoded) if ids is not None]
        chunks = [places[start : start + self._rows] for start in range(0, len(places), self._rows)]
        answers = await asyncio.gather(
            *(
                self._ask([ids for i in chunk if (ids := encoded[i]) is not None])
                for chunk in chunks
            )
        )
        for chunk, answer in zip(chunks, answers, strict=True):
            for place, score in zip(chunk, answer, strict=True):
                scores[place] = score
        return scores

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._http.aclose()

    def _encode(self, items: Sequence[Candidate]) -> list[list[int] | None]:
        return [self._encoder.encode(item, self._max_tokens) for item in items]

    async def _ask(self, rows: Sequence[Sequence[int]]) -> list[Score]:
        # Without the activation: a sigmoid in half precision loses the differences.
        body: dict[str, Any] = {"input": rows, "use_activation": False}
        if self._model is not None:
            body["model"] = self._model
        try:
            answer = await self._http.post_json(f"{self.url}/classify", body)
            return [Score.partial(logit, "scored") for logit in _logits(answer, len(rows))]
        except Refused as error:
            if len(rows) == 1:
                return [Score.undecided("infra", str(error))]
            # One row may be too long for the server; the others shall not suffer for it.
            alone = await asyncio.gather(*(self._ask([row]) for row in rows))
            return [score for scores in alone for score in scores]
        except InfrastructureError as error:
            return [Score.undecided("infra", str(error))] * len(rows)


def _logits(answer: Any, rows: int) -> list[float]:
    """Read `{"data": [{"index", "probs": [logit]}, ...]}`. Raises `InfrastructureError`."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, list) or len(data) != rows:
        raise InfrastructureError(f"/classify: no answer for {rows} rows: {answer!r:.200}")
    logits: dict[int, float] = {}
    for entry in data:
        index = entry.get("index") if isinstance(entry, Mapping) else None
        values = entry.get("probs") if isinstance(entry, Mapping) else None
        if not isinstance(values, list) or len(values) != 1 or type(index) is not int:
            raise InfrastructureError(f"/classify: {entry!r:.200}; expected one logit a row")
        if not isinstance(values[0], int | float) or not math.isfinite(values[0]):
            raise InfrastructureError(f"/classify: {values[0]!r:.80} is no finite logit")
        logits[index] = float(values[0])
    if sorted(logits) != list(range(rows)):
        raise InfrastructureError("/classify: rows are missing from the answer")
    return [logits[index] for index in range(rows)]
