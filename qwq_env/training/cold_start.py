"""The cold start: supervised learning on transcripts, of the model's own tokens only.

Reinforcement can only pay for what a policy already does now and then; this is where it gets the
habit from. QwQ's recipe does it with long transcripts and AdamW; a tiny policy made from nothing
learns about twice as fast when Muon moves its matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError, unknown
from qwq_env.training.micro_batches import IGNORED
from qwq_env.training.transcript import Encoded, Transcript
from qwq_env.trajectory import Trajectory

Progress = Callable[[int, int, float], None]
"""Called after each step with the steps done, the steps in all, and the loss of the last one."""

Lesson = Transcript | Trajectory

_DECAY = 0.7
_SMALL = 5_000_000
"""Parameters of a model that two threads do not make faster."""


def cold_start(
    model: Any,
    codec: TokenCodec,
    transcripts: Sequence[Lesson],
    *,
    steps: int = 500,
    batch: int = 64,
    seed: int = 0,
    optimizer: Literal["muon", "adamw"] | str = "muon",
    learning_rate: float = 5e-3,
    matrix_learning_rate: float = 0.02,
    micro_batch_tokens: int | None = None,
    bfloat16: bool = False,
    progress: Progress | None = None,
) -> list[float]:
    """Train `model` in place and return the loss of each step, in nats a token.

    `transcripts`, or episodes that were played, are passed over in random order, again and again,
    until `steps` batches are done. With `optimizer="muon"` the matrices inside the layers are moved
    by Muon at `matrix_learning_rate`, the rest by AdamW at `learning_rate`; with `"adamw"`, for a
    pretrained checkpoint, everything by AdamW. The rates fall linearly to nothing over the last
    70 % of the steps. Weights that need no gradient stay as they are. Repeatable for a seed.

    With `micro_batch_tokens` a batch goes through the model in parts of about as many tokens,
    padding included, of transcripts of like length; the gradient is that of the whole. With
    `bfloat16` it is computed in that type, and the weights keep theirs.

    Raises `UsageError` for settings or transcripts that give nothing to learn.
    """
    if steps < 0 or batch < 1:
        raise UsageError(f"cold start: {steps} steps of {batch}; expected 0 or more of 1 or more")
    examples = [encode(transcript, codec) for transcript in transcripts]
    if not any(1 in example.mask for example in examples):
        raise UsageError("cold start: no transcript holds a model's turn; expected at least one")
    optimizers = _optimizers(model, optimizer, learning_rate, matrix_learning_rate)
    order = _batches(len(examples), batch, seed)
    pad = codec.pad_token_id or 0
    losses: list[float] = []
    was_training = model.training
    model.train()
    with _threads_for(model):
        for step in range(1, steps + 1):
            chosen = [examples[index] for index in next(order)]
            parts = [
                _padded(part, pad, model.device) for part in _parts(chosen, micro_batch_tokens)
            ]
            losses.append(_learn(model, parts, optimizers, bfloat16))
            _decay(optimizers, step / steps)
            if progress is not None:
                progress(step, steps, losses[-1])
    model.train(was_training)
    return losses


def encode(given: Lesson, codec: TokenCodec) -> Encoded:
    """Return the ids of a whole text; those of an episode are what was sampled, its last row."""
    if isinstance(given, Transcript):
        return given.encode(codec)
    row = given.last_row
    return Encoded(row.ids, [0] * row.prompt_length + row.mask)


def _learn(
    model: Any,
    parts: Sequence[dict[str, torch.Tensor]],
    optimizers: Sequence[torch.optim.Optimizer],
    bfloat16: bool,
) -> float:
    """Take a step on the mean of all parts' tokens; return it."""
    asked = sum(int((part["labels"][:, 1:] != IGNORED).sum()) for part in parts)
    total = 0.0
    for part in parts:
        # Entered anew each time: autocast keeps its casts of the weights for as long as it is on.
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
            loss = _loss(model, **part) / max(1, asked)
        if loss.requires_grad:
            loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for each in optimizers:
        each.step()
        each.zero_grad(set_to_none=True)
    return total


def _loss(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
) -> Any:
    """Return the summed loss of the tokens that `labels` name, in nats.

    Most tokens of a transcript are read only: no logits are computed where none is asked for.
    """
    following = labels[:, 1:]
    asked = following != IGNORED

    def select(_head: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0][:, :-1][asked],)

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        logits = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
    finally:
        hook.remove()
    return torch.nn.functional.cross_entropy(logits.float(), following[asked], reduction="sum")


def _optimizers(
    model: Any, name: str, learning_rate: float, matrix_learning_rate: float
) -> list[torch.optim.Optimizer]:
    if name not in ("muon", "adamw"):
        raise unknown("optimizer", name, ("muon", "adamw"))
    trained = [(key, value) for key, value in model.named_parameters() if value.requires_grad]
    # Muon's step suits matrices that map features to features, not tables of tokens.
    matrices = [
        value
        for key, value in trained
        if name == "muon" and value.ndim == 2 and "embed" not in key and "lm_head" not in key
    ]
    taken = {id(value) for value in matrices}
    rest = [value for _, value in trained if id(value) not in taken]
    made: list[torch.optim.Optimizer] = []
    if rest:
        made.append(torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0))
    if matrices:
        made.append(torch.optim.Muon(matrices, lr=matrix_learning_rate, weight_decay=0.0))
    for each in made:
        for group in each.param_groups:
            group["start"] = group["lr"]
    return made


def _decay(optimizers: Sequence[torch.optim.Optimizer], done: float) -> None:
    for each in optimizers:
        for group in each.param_groups:
            group["lr"] = group["start"] * min(1.0, (1 - done) / _DECAY)


def _batches(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield the indices of batch after batch, without end."""
    generator = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += torch.randperm(count, generator=generator).tolist()
        yield waiting[:size]
        waiting = waiting[size:]


def _parts(examples: Sequence[Encoded], tokens: int | None) -> Iterator[Sequence[Encoded]]:
    """Yield the examples of a batch in parts, each of `tokens` at most as it is padded, or of one.

    Those of a part are of like length, so that little of it is padding; the batches are not, for
    what a teacher does has a length of its own, and each would teach one thing alone.
    """
    if tokens is None:
        yield examples
        return
    part: list[Encoded] = []
    for example in sorted(examples, key=lambda each: len(each.ids)):
        if part and len(example.ids) * (len(part) + 1) > tokens:
            yield part
            part = []
        part.append(example)
    yield part


def _padded(examples: Sequence[Encoded], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return `input_ids`, `attention_mask` and `labels`, each (examples, longest)."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), longest), pad)
    labels = torch.full((len(examples), longest), IGNORED)
    attention = torch.zeros((len(examples), longest), dtype=torch.long)
    for row, example in enumerate(examples):
        length = len(example.ids)
        tokens = torch.tensor(example.ids)
        ids[row, :length] = tokens
        labels[row, :length] = tokens.where(torch.tensor(example.mask) == 1, IGNORED)
        attention[row, :length] = 1
    inputs = {"input_ids": ids, "attention_mask": attention, "labels": labels}
    return {name: tensor.to(device) for name, tensor in inputs.items()}


@contextmanager
def _threads_for(model: Any) -> Iterator[None]:
    """Hold a small model on a CPU to one thread: on a busy machine two are ten times slower.

    One of millions of parameters has enough to do for all that the process was given.
    """
    threads = torch.get_num_threads()
    if model.device.type == "cpu" and model.num_parameters() < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
