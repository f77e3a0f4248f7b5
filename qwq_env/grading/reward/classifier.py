"""A reward model that is a Transformers sequence classifier with one label.

```python
model = SequenceClassifier.load("path/to/reward-model", codec=TokenCodec)
[score] = await model.score([Candidate("Name a colour.", "Blue.")])
```

Its scores are logits: unbounded, of a scale that only the model's training knows. Only the
difference between two answers to the same prompt means anything; see `Squashed` and
`normalize_group`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from qwq_env.errors import UsageError
from qwq_env.grading.reward.conversation import Codec, ConversationEncoder
from qwq_env.grading.reward.model import Candidate, RewardModel
from qwq_env.grading.score import Score

_log = logging.getLogger(__name__)


class _Request(NamedTuple):
    """One call of `score` that waits for the worker."""

    items: Sequence[Candidate]
    result: Future[list[Score]]


class SequenceClassifier(RewardModel):
    """Scores with `model`, an `AutoModelForSequenceClassification` of one label.

    Calls that come while a batch is computed are put together into the next, sorted by length,
    at most `batch_tokens` with the padding. One worker thread does it all, so an event loop never
    waits. A conversation of more than `max_tokens` (by default the model's context) is not cut
    but undecided (`too_long`): half an answer has another worth than the whole.
    """

    bounded = False

    def __init__(
        self,
        model: Any,
        encoder: ConversationEncoder,
        *,
        max_tokens: int | None = None,
        batch_tokens: int = 32_768,
    ) -> None:
        """Raises `UsageError` for a model of more than one label, and bounds below 1."""
        if model.config.num_labels != 1:
            raise UsageError(f"model: {model.config.num_labels} labels; expected a reward model, 1")
        context = getattr(model.config, "max_position_embeddings", None) or 32_768
        self._model = model.eval()
        self._encoder = encoder
        self._max_tokens = min(max_tokens or context, context)
        self._batch_tokens = batch_tokens
        if self._max_tokens < 1 or batch_tokens < 1:
            raise UsageError(f"max_tokens, batch_tokens: {max_tokens!r}, {batch_tokens!r}; "
                             "expected 1 or more")  # fmt: skip
        self._waiting: list[_Request] = []
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="qwq-reward-model")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        codec: Callable[[Any], Codec],
        device: str | None = None,
        max_tokens: int | None = None,
        batch_tokens: int = 32_768,
    ) -> SequenceClassifier:
        """Load a checkpoint: bfloat16 on CUDA, float32 on CPU; `codec` makes one of its tokenizer.

        Raises `UsageError` for a folder that holds none, or one without a trained reward head
        (Transformers would make up a random one and only mention it).
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=dtype, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"reward model: {str(folder)!r} could not be loaded: {reason}"
            ) from None
        if info["missing_keys"]:
            missing = ", ".join(sorted(info["missing_keys"])[:3])
            raise UsageError(f"reward model: {str(folder)!r} lacks the weights {missing}; "
                             "expected a trained reward model")  # fmt: skip
        encoder = ConversationEncoder(tokenizer, codec(tokenizer))
        return cls(model.to(device), encoder, max_tokens=max_tokens, batch_tokens=batch_tokens)

    async def score(self, items: Sequence[Candidate]) -> list[Score]:
        """Return the logit of each candidate."""
        request = _Request(items, Future())
        with self._lock:
            self._waiting.append(request)
        self._worker.submit(self._work)
        return await asyncio.wrap_future(request.result)

    async def aclose(self) -> None:
        """End the worker thread once it has done what waits."""
        await asyncio.to_thread(self._worker.shutdown)

    def _work(self) -> None:
        """Score everything that waits, in the worker thread."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        requests = [one for one in taken if one.result.set_running_or_notify_cancel()]
        try:
            encoded = [(one, rows) for one in requests if (rows := self._encode(one)) is not None]
            scores = iter(self._score([row for _, rows in encoded for row in rows]))
            for request, rows in encoded:
                request.result.set_result([next(scores) for _ in rows])
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, or waits on
            for request in requests:
                if not request.result.done():
                    request.result.set_exception(error)

    def _encode(self, request: _Request) -> list[list[int] | None] | None:
        """Return the rows of one call; None if it was answered, for a prompt that is none."""
        try:
            return [self._encoder.encode(item, self._max_tokens) for item in request.items]
        except UsageError as error:
            request.result.set_exception(error)
            return None

    def _score(self, rows: Sequence[list[int] | None]) -> list[Score]:
        scores = [Score.undecided("too_long", f"more than {self._max_tokens} tokens")] * len(rows)
        for batch in self._batches(rows):
            ids = [row for place in batch if (row := rows[place]) is not None]
            for place, score in zip(batch, self._forward(ids), strict=True):
                scores[place] = score
        return scores

    def _batches(self, rows: Sequence[list[int] | None]) -> Iterator[list[int]]:
        """Yield the places of rows that go together: like lengths, within the bound."""
        lengths = {place: len(row) for place, row in enumerate(rows) if row is not None}
        # Without a padding token these models cannot tell where a padded row ends.
        most = len(rows) if self._model.config.pad_token_id is not None else 1
        batch: list[int] = []
        for place in sorted(lengths, key=lengths.__getitem__):
            full = lengths[place] * (len(batch) + 1) > self._batch_tokens
            if batch and (full or len(batch) == most):
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _forward(self, rows: Sequence[Sequence[int]]) -> list[Score]:
        longest = max(map(len, rows))
        padding = self._model.config.pad_token_id or 0
        device = self._model.device
        ids = torch.full((len(rows), longest), padding, dtype=torch.long)  # (rows, tokens)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        try:
            with torch.inference_mode():
                output = self._model(input_ids=ids.to(device), attention_mask=mask.to(device))
                logits = output.logits[:, 0].float().cpu().tolist()
        except RuntimeError as error:
            # Out of memory, a broken device: ours, not the answer's fault.
            _log.warning("the reward model failed on %d answers: %s", len(rows), error)
            return [Score.undecided("infra", type(error).__name__)] * len(rows)
        return [_scored(logit) for logit in logits]


_DIGITS: Final = 4
"""Of a logit. In which company an answer is scored changes the seventh in float32, and, were that
paid, how a run goes on after a kill. In bfloat16, on a GPU, it changes the third."""


def _scored(logit: float) -> Score:
    if not math.isfinite(logit):
        return Score.undecided("infra", f"the reward model gave {logit}")
    return Score.partial(round(logit, _DIGITS), "scored")
