"""TRL's GRPO trainer for rollouts of ours: it touches the data, never the loss.

`ToolGRPOTrainer` takes the place of `trl.GRPOTrainer`, with the same arguments. What it adds to a
stock trainer on the same `Rollouts`:

- An episode of several rows (`thinking="strip"`) has one of them drawn. Its advantage is weighed
  so that the expected gradient is that of all rows: the sum over an episode's turns, not their
  mean, which would teach short episodes more than long ones.
- What is masked (lost, or cut and `mask_truncated_completions`) does not count in the mean that the
  loss takes. TRL leaves it out where the loss is by tokens; where it is by rows, 2 of 8 masked rows
  take a quarter of the gradient.
- TRL pads all rows of a generation batch to the longest, prompts on their left. Here the rows of a
  micro-batch begin in its first column when the model sees them, and the results are put back
  where TRL looks for them: the same weights for a fraction of the work, for one long episode no
  longer makes all others long; and each token at the position it was sampled at, so that what a
  row gives does not hang on how it is padded, and so on how many processes there are.
- The rows of an optimizer step lie in its micro-batches by their length, the longest first: a
  micro-batch is padded to a row that is hardly longer than the others, ranks that wait for each
  other's micro-batches have such of one length, and what memory doesn't hold is seen at once.
- A micro-batch goes through the model in parts of so many tokens, where that is asked for
  (`split_by_tokens`): many short rows at a time, or one long one.
- Rows without an advantage, of a group whose rewards are alike or masked, do not go through the
  model: their part of the gradient is 0. What the loss divides by counts them as TRL does.
- The log has the effective share of the samples after importance correction, how far sampler and
  trainer are apart (`mismatch`), and of the episodes cut what their outcomes say.
- Who wants to look at them is told the ratios and entropies that the loss computes (`on_learned`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from accelerate.utils import DistributedType, gather_object
from trl import GRPOTrainer

from qwq_env.errors import UsageError
from qwq_env.training.importance import Correction
from qwq_env.training.micro_batches import (
    by_length,
    left_aligned,
    loss_mask,
    part_sizes,
    row_lengths,
    split_rows,
)
from qwq_env.training.mismatch import ByDepth, merged, mismatch_metrics, mismatch_of

_PLAYED: Final = "played"
"""In a batch: the step, the name and the row of the episode that each row is of."""

BY_TOKENS: Final = frozenset({"dapo", "bnpo", "cispo", "vespo"})
"""Losses that divide by tokens; the others (grpo, sapo, dr_grpo, luspo) divide by rows."""


OnLearned = Callable[[int, str, int, Sequence[float], Sequence[float]], None]
"""Called with the step and the name of an episode, its row, and of each id sampled in it the
trainer's log-probability less the sampler's, and the trainer's entropy in nats."""


class ToolGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # its package is read without types
    """TRL's trainer on `Rollouts`; see the module.

    With `beta` other than 0 the penalty on a drawn row stays that of one row, for it has no
    advantage to weigh.
    """

    weighs_rows: Final = True
    """Says to `Rollouts` that nothing of the above is missing."""

    on_learned: OnLearned | None = None
    """Told of each row the first time that it is learned from, in the process that played it.

    Rows that do not go through the model are not told of."""

    _buffered_inputs: list[dict[str, Any]] | None
    _read: _Read | None = None
    """What a forward pass of the loss gives; None outside a loss of the training."""
    _mismatch: ByDepth | None = None
    """How far sampler and trainer are apart in what was compared since the last optimizer step."""
    _entropies: torch.Tensor | None = None
    """(2, 2): the sum and the number of entropies since then, of rows that teach and of others."""
    _idle: torch.Tensor | None = None
    """(rows,), True for what the loss of a micro-batch need not compute; None outside a loss."""
    _idle_logps: torch.Tensor | None = None
    _loss_mask: torch.Tensor | None = None
    _mean_correction: tuple[Correction, float, float] | None = None
    _most_tokens: int | None = None

    def split_by_tokens(self, most: int) -> None:
        """Take no more than `most` tokens through the model at a time, padding included, but one
        row however long it is: the gradient is as before.

        A micro-batch can then be all rows that a process has of a step. What TRL logs of clipping
        and of `kl` is the plain mean of the passes, as it is of micro-batches. Raises `UsageError`
        where the loss has a mean, or a quantile, over the tokens of a pass.
        """
        if self._has_terms_of_its_own():
            raise UsageError(
                "micro_batch_tokens: expected a loss without entropy_coef, top_entropy_quantile or"
                " an auxiliary loss, which look at all rows of a micro-batch"
            )
        self._most_tokens = most

    def correct_by_mean(self, mode: Correction) -> None:
        """Weigh an episode by the geometric mean of its tokens' ratios, in the bounds that TRL's
        own correction has; see `importance`."""
        arguments: Any = self.args
        least: float | None = arguments.vllm_importance_sampling_clip_min
        most: float | None = arguments.vllm_importance_sampling_clip_max
        bounds = 0.0 if least is None else least, torch.inf if most is None else most
        self._mean_correction = (mode, *bounds)
        # TRL is to hand over the ratios as they are.
        self.vllm_importance_sampling_mode = "token_truncate"
        self.vllm_importance_sampling_clip_min, self.vllm_importance_sampling_clip_max = 0.0, None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Play and score a generation batch as TRL does; weigh its rows, log its correction."""
        step = self.state.global_step + 1
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        metrics = self._metrics[mode]
        # TRL looks at the last token, which in many dialects is never its end token.
        if truncated := metrics.get("episode/truncated"):
            metrics["completions/clipped_ratio"][-1] = truncated[-1]
        if inputs and "episode_rows" in inputs[0]:
            batch["advantages"] = batch["advantages"] * self._row_weights(inputs, batch)
        if (ratio := batch.get("importance_sampling_ratio")) is not None:
            if self._mean_correction is not None:
                ratio = bounded_means(ratio, loss_mask(batch), *self._mean_correction)
                batch["importance_sampling_ratio"] = ratio
            for name, value in self._correction(ratio, loss_mask(batch)).items():
                metrics[f"sampling/{name}"].append(value)
        if self.model.training and (logps := batch.get("old_per_token_logps")) is not None:
            self._compare(batch, logps)
        if self.on_learned is not None and inputs and "episode_name" in inputs[0]:
            # TRL shuffles and splits lists as it does tensors.
            batch[_PLAYED] = [(step, row["episode_name"], row["episode_row"]) for row in inputs]
        return batch

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Return a micro-batch as TRL does, of rows of like length.

        TRL cuts a batch into micro-batches at random. Their losses add up to that of an optimizer
        step in any order, but where each divides by its own tokens (bnpo), or has terms of its own.
        """
        before = self._buffered_inputs
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        batches, steps = self._buffered_inputs, self.args.gradient_accumulation_steps
        if batches is None or batches is before or self.loss_type == "bnpo":
            return inputs
        if self._has_terms_of_its_own():
            return inputs
        if len(batches) % steps and steps % len(batches):
            return inputs
        self._buffered_inputs = by_length(batches, min(steps, len(batches)), self._idle_rows)
        inputs = self._buffered_inputs[self._step % len(batches)]
        return inputs

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        """Return TRL's loss of a micro-batch, having added up the gradients of all parts of it but
        the last."""
        *earlier, (last, share) = self._parts(inputs)
        added: torch.Tensor | float = 0.0
        for part, weight in earlier:
            with self._adds_up(model):
                loss = super().compute_loss(model, part, *rest, **named) * weight
                deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
                self.accelerator.backward(loss, **({"scale_wrt_gas": False} if deepspeed else {}))
            added = added + loss.detach()
        loss = super().compute_loss(model, last, *rest, **named)
        return loss * share + added if earlier else loss

    def _parts(self, batch: dict[str, Any]) -> list[tuple[dict[str, Any], float]]:
        """Return the parts that go through the model one after another, the same number of rows in
        all processes, and by what their losses add up to that of the micro-batch."""
        if self._most_tokens is None or not self.model.training:
            return [(batch, 1.0)]
        lengths = row_lengths(batch) * ~self._idle_rows(batch)
        parts = split_rows(batch, *self._split(lengths))
        if len(parts) == 1:
            return [(batch, 1.0)]
        # A batch that is learned from again comes without.
        batch.pop(_PLAYED, None)
        if self.loss_type == "bnpo":
            counts = [int(loss_mask(part).sum()) for part in parts]
        else:
            counts = [len(part["completion_mask"]) for part in parts]
        if self.loss_type in BY_TOKENS - {"bnpo"}:  # divided by what all processes have
            return [(part, 1.0) for part in parts]
        return [
            (part, count / max(sum(counts), 1)) for part, count in zip(parts, counts, strict=True)
        ]

    def _split(self, lengths: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """Return in what order rows of these lengths go through the model, the longest first, and
        how many at a time. Processes wait for each other: all have parts of as many rows."""
        assert self._most_tokens is not None
        ordered, order = lengths.sort(descending=True, stable=True)
        longest = self.accelerator.gather(ordered[None]).amax(0).tolist()
        return order, part_sizes(longest, self._most_tokens, self.pad_to_multiple_of or 1)

    @contextmanager
    def _adds_up(self, model: Any) -> Iterator[None]:
        """Let a backward pass be one of several of a micro-batch, which are shared out with the
        last; where weights are sharded, each is, for none holds the whole gradient."""
        state, accelerator = self.accelerator.gradient_state, self.accelerator
        sharded = accelerator.distributed_type == DistributedType.FSDP
        shares_out = state.sync_gradients
        state._set_sync_gradients(False)
        try:
            with nullcontext() if sharded else accelerator.no_sync(model):
                yield
        finally:
            state._set_sync_gradients(shares_out)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return TRL's loss of what goes through the model at a time; compare and tell what was
        computed for it."""
        # Taken out: a batch that is learned from again comes without.
        played = inputs.pop(_PLAYED, None)
        if not self.model.training:
            return self._loss(model, inputs)
        self._read = read = _Read()
        try:
            loss = self._loss(model, inputs)
        finally:
            self._read = None
        # Otherwise TRL asked the trainer before, and all rows of the batch were compared then.
        if read.logps is not None and "old_per_token_logps" not in inputs:
            self._compare(inputs, read.logps, read.rows)
        self._add_entropies(read, inputs)
        if played is not None and self.on_learned is not None:
            self._tell(read, played, inputs)
        return loss

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        """Do as TRL does; note of an optimizer step how far sampler and trainer are apart in it,
        and the mean entropy of its tokens."""
        loss: torch.Tensor = super().training_step(*given, **named)
        if self._entropies is not None and self.accelerator.sync_gradients:
            sums = self.accelerator.reduce(self._entropies, reduction="sum").tolist()
            self._entropies = None
            total, count = sums[0] if sums[0][1] else sums[1]
            self._metrics["train"]["entropy"].append(total / max(count, 1.0))
        if self._mismatch is not None and self.accelerator.sync_gradients:
            own, self._mismatch = [self._mismatch], None
            told = gather_object(own) if self.accelerator.num_processes > 1 else own
            for name, value in mismatch_metrics(merged(told)).items():
                self._metrics["train"][f"sampling/{name}"].append(value)
        return loss

    def _compare(
        self, batch: dict[str, Any], logps: torch.Tensor, rows: torch.Tensor | None = None
    ) -> None:
        """Add what the trainer's `logps` of these rows of a batch are from the sampler's."""
        if "sampling_per_token_logps" not in batch:
            return
        clip = 1 - self.epsilon_low, 1 + self.epsilon_high
        if self.loss_type == "cispo":
            clip = 0.0, self.epsilon_high
        found = mismatch_of(batch, loss_mask(batch), logps, clip, rows)
        self._mismatch = merged([self._mismatch or {}, found])

    def _add_entropies(self, read: _Read, batch: dict[str, Any]) -> None:
        """Add those of a micro-batch to the optimizer step's, in place of TRL's mean of it.

        The mean of micro-batches that each have their own would weigh a token by how the rows of a
        step are spread over them, and over processes.
        """
        if read.entropies is None:
            return
        metrics = self._metrics["train"]
        metrics["entropy"].pop()
        if not metrics["entropy"]:
            del metrics["entropy"]
        mask = loss_mask(batch)
        asked = mask if read.rows is None else mask[read.rows]
        if self._entropies is None:
            self._entropies = torch.zeros(2, 2, device=mask.device)
        told = torch.stack([(read.entropies * asked).sum().float(), asked.sum().float()])
        self._entropies[int(read.lone)] += told

    def _tell(self, read: _Read, played: list[tuple[int, str, int]], batch: dict[str, Any]) -> None:
        """Tell `on_learned` of the rows of a micro-batch that went through the model."""
        sampled = batch.get("sampling_per_token_logps")
        if sampled is None or read.logps is None or read.entropies is None:
            return
        mask = loss_mask(batch)
        rows = torch.arange(len(mask), device=mask.device) if read.rows is None else read.rows
        ratios, entropies = read.logps - sampled[rows], read.entropies
        found = torch.stack([ratios.float(), entropies.float()]).cpu()
        for number, (place, own) in enumerate(zip(rows.tolist(), mask[rows].cpu(), strict=True)):
            if own.any():
                assert self.on_learned is not None
                self.on_learned(*played[place], *found[:, number, own].tolist())

    def _loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return TRL's loss of a micro-batch, computed on the rows that have a part in it.

        Where the loss has terms that do not hang on the advantage, all rows are.
        """
        if self._needs_all_rows():
            return super()._compute_loss(model, inputs)  # type: ignore[no-any-return]
        self._idle, self._loss_mask = self._idle_rows(inputs), loss_mask(inputs)
        self._idle_logps = inputs.get("old_per_token_logps")
        try:
            return super()._compute_loss(model, inputs)  # type: ignore[no-any-return]
        finally:
            self._idle = self._idle_logps = self._loss_mask = None

    def _idle_rows(self, batch: dict[str, Any]) -> torch.Tensor:
        """Return which rows have no part in the loss: (rows,)."""
        advantages = batch["advantages"]
        idle: torch.Tensor = (advantages if advantages.dim() == 1 else advantages.abs().sum(1)) == 0
        return (idle | ~loss_mask(batch).any(1)) & (not self._needs_all_rows())

    def _needs_all_rows(self) -> bool:
        return self.beta != 0.0 or not self.model.training or self._has_terms_of_its_own()

    def _has_terms_of_its_own(self) -> bool:
        """Whether the loss has a mean, or a quantile, over the tokens of a micro-batch."""
        entropy = self._entropy_bonus_enabled or self.top_entropy_quantile < 1.0
        return bool(entropy or self.aux_loss_enabled)

    def _row_weights(self, inputs: list[dict[str, Any]], batch: dict[str, Any]) -> torch.Tensor:
        """Return the factor of each row's advantage: (rows,).

        A row stands for the n of its episode, so it counts n times; and the loss divides by what
        was drawn where it should by what all rows of the episodes hold, over all ranks.
        """
        device = batch["advantages"].device
        rows, tokens = (
            torch.tensor([row[name] for row in inputs], dtype=torch.float32, device=device)
            for name in ("episode_rows", "episode_tokens")
        )
        if self.loss_type in BY_TOKENS:
            counts = torch.stack([loss_mask(batch).sum().float(), tokens.sum()])
        else:
            learned = rows[tokens > 0].sum()
            counts = torch.stack([torch.full_like(learned, len(inputs)), learned])
        drawn, whole = self.accelerator.reduce(counts, reduction="sum").tolist()
        scale = drawn / whole if whole else 1.0
        return (rows * scale).to(batch["advantages"].dtype)

    def _correction(self, ratio: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
        """Return how much of the samples the correction leaves: `ratio` (rows, tokens or 1).

        `effective_share` is (Σw)² / (n Σw²), 1 where all weights are alike (Kish's effective sample
        size over n); `bounded_share` is of the weights at the bound, or thrown away for it.
        """
        weights = (ratio[mask] if ratio.shape == mask.shape else ratio[mask.any(1)]).float()
        most = self.vllm_importance_sampling_clip_max
        if self._mean_correction is not None:
            most = self._mean_correction[2]
        bounded = (weights == 0) | (weights >= (torch.inf if most is None else most))
        sums = torch.stack(
            [weights.sum(), (weights**2).sum(), bounded.sum().float(),
             torch.full_like(weights.sum(), weights.numel())]
        )  # fmt: skip
        total, squares, bound, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        if not count:
            return {}
        share = total * total / (count * squares) if squares else 0.0
        return {"effective_share": share, "bounded_share": bound / count}

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **rest: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Do as TRL does, each micro-batch with its rows from the first column on.

        Every forward pass goes through here: those of the loss, of the old and of the reference
        policy. Returns (rows, `logits_to_keep`) each, with 0 for padding; the number of passes,
        which ranks must agree on, is TRL's or, by tokens, `_split`'s.
        """
        ask = super()._get_per_token_logps_and_entropies
        if any(value is not None for name, value in rest.items() if not name.startswith("compute")):
            # Images are spread over the rows in ways of their own.
            return ask(  # type: ignore[no-any-return]
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **rest
            )
        if self._idle is not None and self._idle.any():
            return self._of_live_rows(model, input_ids, attention_mask, logits_to_keep, **rest)
        sizes: int | list[int] = batch_size or len(input_ids)
        order = torch.arange(len(input_ids), device=input_ids.device)
        if batch_size is not None and self._most_tokens is not None:
            order, sizes = self._split(attention_mask.sum(1))
        parts: list[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]] = []
        for rows in torch.split(order, sizes):
            batch = left_aligned(
                input_ids[rows], attention_mask[rows], logits_to_keep, self.pad_to_multiple_of or 1
            )
            # With padding on the right alone nothing that counts looks at it, and without a mask
            # attention takes one kernel for all rows, however they are padded.
            bare = not (rest.get("compute_aux_loss") or self._skips_padding())
            mask = torch.ones_like(batch.mask) if bare else batch.mask
            with batch.scores_completions(model):
                logps, entropy, loss = ask(model, batch.ids, mask, batch.kept, **rest)
            entropy = None if entropy is None else batch.spread(entropy)
            parts.append((batch.spread(logps), entropy, loss))
        before = order.argsort()
        logps = torch.cat([part[0] for part in parts])[before]
        entropies = [part[1] for part in parts if part[1] is not None]
        losses = [part[2] for part in parts if part[2] is not None]
        entropy = torch.cat(entropies)[before] if entropies else None
        if self._read is not None and entropy is not None:
            self._read.logps, self._read.entropies = logps.detach(), entropy.detach()
        return logps, entropy, torch.stack(losses).mean() if losses else None

    def _skips_padding(self) -> bool:
        """Whether the model's attention computes nothing of padding that a mask tells it of."""
        return "flash" in (self.model.config._attn_implementation or "")

    def _of_live_rows(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        **rest: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Do so with the rows that have a part in the loss, and fill in the others.

        One row at least goes through the model: processes wait for each other's gradients. An idle
        row keeps its old log-probabilities, so that no ratio is infinite beside an advantage of 0.
        """
        idle, mask, old = self._idle, self._loss_mask, self._idle_logps
        assert idle is not None and mask is not None
        self._idle = None
        live = ~idle
        none = not live.any()
        if none:
            # One that was sampled, if there is one: its entropy is logged.
            length = attention_mask.sum(1) + attention_mask.size(1) * ~mask.any(1)
            live[length.argmin()] = True
        if self._read is not None:
            self._read.rows, self._read.lone = live.nonzero().flatten(), bool(none)
        logps, entropy, _ = self._get_per_token_logps_and_entropies(
            model, input_ids[live], attention_mask[live], logits_to_keep, **rest
        )
        shape = (len(input_ids), logits_to_keep)
        filled = logps.new_zeros(shape) if old is None else old.to(logps.dtype).clone()
        # What was read for the others' sake alone is idle as well.
        filled[live] = filled[live] + logps - logps.detach() if none else logps
        if entropy is None:
            return filled, None, None
        entropies = entropy.new_zeros(shape)
        entropies[live] = entropy
        return filled, entropies, None


@dataclass(slots=True)
class _Read:
    """What a forward pass gave: `logps` and `entropies` (rows read, tokens), which `rows` of the
    micro-batch those are, None for all of them, and whether it is one that teaches nothing, read
    for the other processes' sake (`lone`)."""

    logps: torch.Tensor | None = None
    entropies: torch.Tensor | None = None
    rows: torch.Tensor | None = None
    lone: bool = False


def bounded_means(
    ratio: torch.Tensor, mask: torch.Tensor, mode: Correction, least: float, most: float
) -> torch.Tensor:
    """Return the geometric mean of each row's ratios: (rows, tokens) to (rows, 1).

    Beyond the bounds it is cut to them, or with "geometric_mask" 0. Unlike the product it does not
    hang on the length: 1 % a token stays 1 %.
    """
    counts = mask.sum(1, keepdim=True).clamp(min=1)
    logarithms = ratio.clamp(min=torch.finfo(ratio.dtype).tiny).log() * mask
    means = (logarithms.sum(1, keepdim=True) / counts).exp()
    if mode == "geometric_mask":
        return means.masked_fill((means < least) | (means > most), 0.0)
    return means.clamp(least, most)
