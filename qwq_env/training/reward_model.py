"""A reward model trained here: a classifier that tells right answers from wrong ones.

Where a verifier is at hand but must not pay (it is slow, or it does not know what is asked in the
wild), a model can learn from what it says: a policy plays episodes, their environment says which
are right, and a sequence classifier that starts from the policy's own weights learns to tell from
prompt and final answer alone. It is saved as `SequenceClassifier` loads it, and
`make_reward_model(folder)` names it. Its logit is that of being right: squashed, a probability.

```python
labelled = [Labelled(candidate_of(task, episode.answer), episode.is_right) for ...]
report = train_reward_model("runs/tiny/policy", labelled, Path("reward-model"), heldout=tested)
```
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.grading.reward.conversation import ConversationEncoder
from qwq_env.grading.reward.model import Candidate

_WARM: Final = 0.1
"""Share of the steps in which the rate rises: the head knows nothing yet, and would spoil the
rest."""


Row = tuple[list[int], bool]
"""An answer's token ids, prompt and all, and whether it is right."""


class Labelled(NamedTuple):
    """An answer, and whether it is right."""

    candidate: Candidate
    right: bool


class Report(NamedTuple):
    """How a reward model came out on answers that it did not learn from.

    `accuracy` is of its sign, `base_rate` that of always saying what most are; `auc` is how often a
    right answer scores above a wrong one (0.5: as by lot), None where one kind is missing.
    """

    trained_on: int
    tested_on: int
    accuracy: float
    base_rate: float
    auc: float | None
    loss: float


def train_reward_model(
    checkpoint: str | Path,
    labelled: Sequence[Labelled],
    folder: Path,
    *,
    heldout: Sequence[Labelled],
    steps: int = 300,
    batch: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Report:
    """Train a classifier of one label from `checkpoint`, save it in `folder`, and test it.

    The right and the wrong weigh the same, whatever their numbers: so a logit of 0 is in the middle
    between them, where `Squashed` expects it. Repeatable for a seed.

    Raises `UsageError` if all answers are right or all wrong, which teaches nothing.
    """
    rights = sum(each.right for each in labelled)
    if not 0 < rights < len(labelled) or not heldout:
        raise UsageError(
            f"reward_model: of {len(labelled)} answers {rights} are right; expected both kinds to"
            f" learn from, and some to test on ({len(heldout)})"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, num_labels=1, dtype=torch.float32
        )
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    rows, tested = (_encoded(tokenizer, model, each) for each in (labelled, heldout))
    weight = (len(labelled) - rights) / rights
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    batches = _batches(rows, batch, seed)
    loss = 0.0
    model.train()
    for step in range(1, steps + 1):
        _set_rate(optimizer, learning_rate, step / steps)
        loss = _learn(model, next(batches), weight, optimizer)
        if progress is not None:
            progress(step, steps, loss)
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return _report(model, len(rows), tested, loss, batch)


def _set_rate(optimizer: torch.optim.Optimizer, highest: float, done: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = highest * min(done / _WARM, (1 - done) / (1 - _WARM))


def _batches(rows: Sequence[Row], size: int, seed: int) -> Iterator[list[Row]]:
    """Yield batch after batch without end, each row once before any comes again."""
    chance, waiting = random.Random(seed), list[Row]()
    while True:
        while len(waiting) < size:
            waiting += chance.sample(rows, len(rows))
        yield waiting[:size]
        waiting = waiting[size:]


def _learn(model: Any, rows: Sequence[Row], weight: float, optimizer: Any) -> float:
    """Take one step, a right answer counting `weight` times; return the loss in nats."""
    logits = _logits(model, [ids for ids, _ in rows])
    labels = torch.tensor([float(right) for _, right in rows], device=model.device)
    loss = binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor(weight, device=model.device)
    )
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _encoded(tokenizer: Any, model: Any, labelled: Sequence[Labelled]) -> list[Row]:
    """Return ids and label of each answer, without those longer than the model's context."""
    encoder = ConversationEncoder(tokenizer, TokenCodec(tokenizer))
    most = int(getattr(model.config, "max_position_embeddings", None) or 32_768)
    rows = [(encoder.encode(each.candidate, most), each.right) for each in labelled]
    return [(ids, right) for ids, right in rows if ids is not None]


def _logits(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the logit of each row: (rows,)."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), model.config.pad_token_id or 0)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
    return output.logits[:, 0].float()  # type: ignore[no-any-return]


@torch.inference_mode()
def _report(model: Any, count: int, tested: Sequence[Row], loss: float, batch: int) -> Report:
    logits: list[float] = []
    for start in range(0, len(tested), batch):
        logits += _logits(model, [ids for ids, _ in tested[start : start + batch]]).tolist()
    labels = [right for _, right in tested]
    hits = sum((logit > 0) == right for logit, right in zip(logits, labels, strict=True))
    share = sum(labels) / len(labels)
    auc = area_under_curve(logits, labels)
    return Report(count, len(tested), hits / len(labels), max(share, 1 - share), auc, loss)


def area_under_curve(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return how often a right answer scores above a wrong one, ties half; None without a pair."""
    above = [score for score, is_right in zip(scores, right, strict=True) if is_right]
    below = [score for score, is_right in zip(scores, right, strict=True) if not is_right]
    if not above or not below:
        return None
    wins = sum((a > b) + 0.5 * (a == b) for a in above for b in below)
    return wins / (len(above) * len(below))
