"""A recipe's sections `cold_start` and `grpo`: what is learned from, and how."""

# ruff: noqa: RUF009 - key() is dataclasses.field with a line of what the key is

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from qwq_env.errors import UsageError
from qwq_env.training.importance import Correction
from qwq_env.training.recipe.key import key
from qwq_env.training.recipe.trl_fields import check_trl


@dataclass(frozen=True, slots=True)
class ColdStartRecipe:
    """Supervised steps on transcripts before reinforcement learning; 0 `steps` leaves them out.

    `source` "teacher" does arithmetic with a calculator, imperfectly (`teacher`: how often it does
    what, as shares; see `TeacherMix`); "solve" plays the environment's own tasks as its `solve`
    says, a share `right` of them rightly; "rejection" keeps what the policy itself plays rightly.
    With `demonstrations` they come from that file. The `optimizer` is Muon where nothing is learned
    yet, AdamW for a checkpoint, whose `frozen_layers` lowest layers and embeddings stay as they
    are; with `policy.lora` an adapter of that shape is trained and merged into the checkpoint.
    """

    steps: int | None = key(
        None, "supervised steps; unsaid: 500 of the tiny policy, none of a checkpoint"
    )
    batch: int = key(64, "transcripts a step", positive=True)
    transcripts: int = key(4096, "transcripts that there are, at most", positive=True)
    source: Literal["teacher", "solve", "rejection"] = key(
        "teacher", "who writes them: teacher (arithmetic), solve (the environment's own), rejection"
    )
    right: float = key(
        0.35, "of solve's transcripts, the share of the right task; 1 leaves GRPO nothing to learn",
        most=1,
    )  # fmt: skip
    teacher: dict[str, Any] = key(dict, "shares of guess, call, slip, malformed, ignore")
    names_operation: bool = key(False, "the teacher's thought before a call says what it does")
    demonstrations: str | None = key(None, "a JSONL file: conversations with calls, or GSM8K's")
    learning_rate: float | None = key(
        None, "unsaid: 5e-3 of the tiny policy, 1e-4 of a checkpoint", positive=True
    )
    micro_batch_tokens: int | None = key(
        None, "tokens in one pass, padding included; unsaid: a whole batch", positive=True
    )
    frozen_layers: int = key(0, "of a checkpoint, in the cold start and in GRPO")

    def __post_init__(self) -> None:
        if self.demonstrations is not None and self.source != "teacher":
            raise UsageError(
                f"cold_start.source: {self.source!r}; expected it, or cold_start.demonstrations,"
                " not both"
            )


_OF_ALL_ROWS: Final = {
    "entropy_coef": 0.0, "use_adaptive_entropy": False, "top_entropy_quantile": 1.0,
}  # fmt: skip
"""Fields of TRL's with which the loss has a mean, or a quantile, over the tokens of a pass, and
what they are without."""


@dataclass(frozen=True, slots=True)
class GrpoRecipe:
    """GRPO. `episodes` a step in groups of `group`; `reward` "random" is the control.

    `schedule` "linear" takes the learning rate down to 0 over the steps, "cosine" likewise.
    A process takes its episodes through the model `micro_batch` at a time (unsaid: all at once),
    and of those as many as `micro_batch_tokens` hold: many short ones, or one, however long. It
    steps once `accumulation` micro-batches have been added up (unsaid: once all have): of a batch
    that twice as many processes share, half as often. `trl` passes on any other field of
    `GRPOConfig`.
    """

    steps: int = key(100, "optimizer steps", positive=True)
    episodes: int = key(64, "episodes of a batch, over all processes", positive=True)
    group: int = key(8, "episodes of one task, compared with each other")
    learning_rate: float = key(5e-4, "the highest learning rate")
    schedule: Literal["constant", "linear", "cosine"] = key("constant", "of the learning rate")
    beta: float = key(0.0, "weight of the KL term; 0: no reference model")
    temperature: float = key(1.0, "of sampling in training", positive=True, least=0.01, most=10)
    max_completion_tokens: int = key(
        160, "the most tokens after the prompt, tools' included", positive=True
    )
    context: int = key(1024, "the most tokens of prompt and completion", positive=True)
    max_grad_norm: float = key(1.0, "gradients are scaled down to this norm")
    save_steps: int = key(50, "steps between two checkpoints")
    reward: Literal["environment", "random"] = key("environment", "random: the control")
    correction: Literal[Correction, "none"] = key(
        "token_truncate", "of importance, where other weights or a server sampled"
    )
    micro_batch: int | None = key(None, "rows of a micro-batch of a process", positive=True)
    micro_batch_tokens: int | None = key(
        None, "the most in one forward pass, padding included", positive=True
    )
    accumulation: int | None = key(None, "micro-batches of one optimizer step", positive=True)
    gradient_checkpointing: bool = key(False, "recompute activations: less memory, more time")
    fp32_masters: bool = key(True, "trained weights are float32; else policy.dtype")
    dynamic: float = key(
        1.0,
        "groups all alike are replaced, playing up to so many times the episodes; 1: never",
        most=1000,
    )
    trl: dict[str, Any] = key(dict, "any field of TRL's GRPOConfig that has no key here")

    def __post_init__(self) -> None:
        if self.group < 2 or self.episodes % self.group:
            raise UsageError(
                f"grpo.episodes: {self.episodes}; expected a multiple of grpo.group"
                f" ({self.group}), which is 2 or more"
            )
        whole = {name for name, none in _OF_ALL_ROWS.items() if self.trl.get(name, none) != none}
        if self.micro_batch_tokens is not None and whole:
            raise UsageError(
                f"grpo.trl.{min(whole)}: it looks at all tokens of a micro-batch; expected"
                " grpo.micro_batch in place of grpo.micro_batch_tokens"
            )
        if self.dynamic < 1:
            raise UsageError(f"grpo.dynamic: {self.dynamic:g}; expected 1 or more")
        check_trl(self.trl)
        if self.trl.get("sync_ref_model") and not self.beta:
            raise UsageError(
                "grpo.trl.sync_ref_model: expected grpo.beta above 0; without it there is no"
                " reference model"
            )

    def rows(self, world: int) -> int:
        """Return the rows of a micro-batch of one of `world` processes.

        Raises `UsageError` if its episodes cannot be cut into such, or accumulated as asked.
        """
        own = self.episodes // world
        rows = own if self.micro_batch is None else self.micro_batch
        if own % rows:
            raise UsageError(
                f"grpo.micro_batch: {rows}; expected a divisor of the {own} episodes of a process"
            )
        if self.accumulation is not None and (own // rows) % self.accumulation:
            raise UsageError(
                f"grpo.accumulation: {self.accumulation}; expected a divisor of the {own // rows}"
                f" micro-batches of a process, each of {rows} (grpo.micro_batch)"
            )
        return rows

    def pass_tokens(self, world: int) -> int:
        """Return the most tokens, padding included, that one of `world` processes takes through the
        model at a time."""
        tokens = self.rows(world) * self.context
        if self.micro_batch_tokens is not None:
            tokens = min(tokens, max(self.micro_batch_tokens, self.context))
        return tokens
