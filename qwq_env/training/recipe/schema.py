"""Every key of a recipe: its type, its default, and one line of what it is.

A key stands here only if the run honours it. What keys must have to do with each other is in
`rules.py`, and checked as soon as both are known; what needs the checkpoint, in `check.py`.
"""

# ruff: noqa: RUF009 - key() is dataclasses.field with a line of what the key is

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from qwq_env.errors import UsageError
from qwq_env.training.recipe import rules

_TINY_COLD_STEPS: Final = 500


def key(default: Any, what: str, *, positive: bool = False) -> Any:
    """Declare a key: its default, one line of what it is, and whether it must be more than 0."""
    metadata = {"what": what, "positive": positive}
    if isinstance(default, type | list | dict):
        factory = default if isinstance(default, type) else type(default)
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class EnvironmentRecipe:
    """The environment: a Gymnasium `id`, what is passed to it, and the bounds of an episode.

    `tasks`, `tools`, `dialect` and `difficulty` that are left unsaid are the environment's own
    defaults. `arguments` are whatever else its class takes, by name (`environment.arguments.x=1`).
    One that it does not take is refused.
    """

    id: str = key("qwq/MathTool-v0", "the environment's Gymnasium id")
    tasks: str | None = key(None, "a JSONL file or dataset id to train on")
    heldout_tasks: str | None = key(None, "a JSONL file or dataset id to evaluate on")
    tools: list[str] | None = key(None, "names of the tools")
    dialect: str | None = key(None, "how the model writes calls: qwq, react, tags, fenced, ...")
    difficulty: int | None = key(None, "of tasks that are made, not read", positive=True)
    arguments: dict[str, Any] = key(dict, "whatever else the environment's class takes")
    turns: int = key(4, "the most turns of an episode", positive=True)
    tool_calls: int = key(8, "the most calls of an episode", positive=True)
    seconds: float | None = key(
        120.0, "wall time of an episode, after which it is lost; null: no bound", positive=True
    )


@dataclass(frozen=True, slots=True)
class LoraRecipe:
    """Adapters of low rank are trained, and the weights stay as they are."""

    rank: int = key(64, "rank of an adapter", positive=True)
    alpha: int = key(64, "an adapter's output is scaled by alpha / rank", positive=True)
    dropout: float = key(0.0, "of an adapter's input, in training")
    targets: list[str] | None = key(None, "names of layers; null: all linear ones but the head")


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy: `tiny` is built from nothing; any other value is a checkpoint's folder or id.

    `sampler` plays the episodes of training: the model itself, or vLLM `servers` (addresses; a key
    for them is read from `VLLM_API_KEY`). `weights` says how the trained ones reach them: "disk"
    writes them over the folder `served` that they were started on (`prepare_served` makes it),
    "adapter" writes versions of the adapter below `served`, "nccl" is TRL's own connection to one
    server. Evaluation is by the model itself, or by the servers if the model is sharded.
    """

    checkpoint: str = key("tiny", "tiny, or a checkpoint's folder or id")
    hidden: int = key(64, "width of the tiny policy", positive=True)
    layers: int = key(2, "layers of the tiny policy", positive=True)
    heads: int = key(4, "attention heads of the tiny policy", positive=True)
    key_value_heads: int = key(2, "heads of the tiny policy's keys and values", positive=True)
    sampler: Literal["transformers", "vllm"] = key("transformers", "who plays the episodes")
    servers: list[str] = key(list, "addresses of vLLM; qwq launch fills them in")
    served: str | None = key(None, "the folder, seen by all, through which weights travel")
    weights: Literal["disk", "adapter", "nccl"] = key("disk", "how weights reach the servers")
    dtype: Literal["auto", "fast", "float32", "bfloat16"] = key(
        "auto",
        "what is computed in; auto: bfloat16 on a GPU, float32 on a CPU; fast: on a CPU, too,"
        " bfloat16 if it has instructions for it",
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] = key("sdpa", "attention kernel")
    sampling_dtype: Literal["same", "computed"] = key(
        "same", "of weights that sample here; computed: a copy in what is computed in, if another"
    )
    lora: LoraRecipe | None = key(None, "adapters; null: all weights are trained")

    def __post_init__(self) -> None:
        rules.check_policy(self)


@dataclass(frozen=True, slots=True)
class ClusterRecipe:
    """The GPUs: how many, which of them train and which serve. Without any it is a laptop.

    Trainers take the first GPUs, servers the last `serve` of them. One server has
    `tensor_parallel` × `data_parallel` GPUs of one node.
    """

    nodes: int = key(1, "machines", positive=True)
    gpus: int = key(0, "GPUs of a machine; 0: CPU")
    kind: str | None = key(None, "of GPU, such as H100: what does not fit there is refused")
    serve: int = key(0, "how many of all GPUs serve; the others train")
    strategy: Literal["ddp", "fsdp2", "zero3"] = key("ddp", "how the model lies on the trainers")
    tensor_parallel: int = key(1, "GPUs over which a server's engine is split", positive=True)
    data_parallel: int = key(1, "engines of one server", positive=True)
    port: int = key(8000, "the first server's; the trainers' is 1000 higher", positive=True)

    def __post_init__(self) -> None:
        rules.check_cluster(self)

    @property
    def train(self) -> int:
        """How many GPUs train."""
        return self.nodes * self.gpus - self.serve

    @property
    def sharded(self) -> bool:
        """Whether no process has the whole model."""
        return self.strategy != "ddp"


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
        0.35, "of solve's transcripts, the share of the right task; 1 leaves GRPO nothing to learn"
    )
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
        rules.check_cold_start(self)


@dataclass(frozen=True, slots=True)
class GrpoRecipe:
    """GRPO. `episodes` a step in groups of `group`; `reward` "random" is the control.

    `schedule` "linear" takes the learning rate down to 0 over the steps, "cosine" likewise.
    A process takes its episodes through the model `micro_batch` at a time (unsaid: all at once, or
    as many as `micro_batch_tokens` holds at full `context`), and steps once `accumulation` of them
    have been added up (unsaid: once all have). `trl` passes on any other field of `GRPOConfig`.
    """

    steps: int = key(100, "optimizer steps", positive=True)
    episodes: int = key(64, "episodes of a batch, over all processes", positive=True)
    group: int = key(8, "episodes of one task, compared with each other")
    learning_rate: float = key(5e-4, "the highest learning rate")
    schedule: Literal["constant", "linear", "cosine"] = key("constant", "of the learning rate")
    beta: float = key(0.0, "weight of the KL term; 0: no reference model")
    temperature: float = key(1.0, "of sampling in training", positive=True)
    max_completion_tokens: int = key(
        160, "the most tokens after the prompt, tools' included", positive=True
    )
    context: int = key(1024, "the most tokens of prompt and completion", positive=True)
    max_grad_norm: float = key(1.0, "gradients are scaled down to this norm")
    save_steps: int = key(50, "steps between two checkpoints")
    reward: Literal["environment", "random"] = key("environment", "random: the control")
    correction: Literal[
        "token_truncate",
        "token_mask",
        "sequence_truncate",
        "sequence_mask",
        "geometric_truncate",
        "geometric_mask",
        "none",
    ] = key("token_truncate", "of importance, where other weights or a server sampled")
    micro_batch: int | None = key(None, "rows in one forward pass of a process", positive=True)
    micro_batch_tokens: int | None = key(None, "or so many tokens, padding included", positive=True)
    accumulation: int | None = key(None, "micro-batches of one optimizer step", positive=True)
    gradient_checkpointing: bool = key(False, "recompute activations: less memory, more time")
    fp32_masters: bool = key(True, "trained weights are float32; else policy.dtype")
    dynamic: float = key(
        1.0, "groups all alike are replaced, playing up to so many times the episodes; 1: never"
    )
    trl: dict[str, Any] = key(dict, "any field of TRL's GRPOConfig that has no key here")

    def __post_init__(self) -> None:
        rules.check_grpo(self)

    def rows(self, world: int) -> int:
        """Return the rows of a micro-batch of one of `world` processes.

        Raises `UsageError` if its episodes cannot be cut into such, or accumulated as asked.
        """
        own = self.episodes // world
        if self.micro_batch_tokens is not None:
            most = self.micro_batch_tokens // self.context
            rows = max(n for n in range(1, min(most, own) + 1) if own % n == 0)
        else:
            rows = own if self.micro_batch is None else self.micro_batch
        if own % rows:
            raise UsageError(
                f"grpo.micro_batch: {rows}; expected a divisor of the {own} episodes of a process"
            )
        if self.accumulation is not None and (own // rows) % self.accumulation:
            raise UsageError(
                f"grpo.accumulation: {self.accumulation}; expected a divisor of the {own // rows}"
                " micro-batches of a process"
            )
        return rows


@dataclass(frozen=True, slots=True)
class RolloutRecipe:
    """How episodes are played, in training and in evaluation.

    `concurrency` bounds the episodes that a process has in progress, `attempts` how often one is
    tried when our machinery fails. `batch_seconds` is the wall time for the episodes of one
    training step, at most a week: what still runs then is truncated, what has not begun is masked.
    Several processes wait for each other half an hour longer than that; evaluation has no such
    bound. `thinking` "keep" leaves earlier thinking in the context, "strip" takes it out as QwQ's
    chat template does (one row a turn; not for the dialects that feed tools back inside a turn).

    `store` says of which episodes `episodes.jsonl` has text and tokens: "all", of a "sample" (of
    each step and process the first group, of an evaluation the first `evaluation.samples`), or of
    "none". Their outcomes, rewards and times are there of all.
    """

    concurrency: int = key(1024, "episodes in progress, of one process", positive=True)
    attempts: int = key(3, "tries of an episode that our machinery lost", positive=True)
    batch_seconds: float = key(1200.0, "wall time of the episodes of a step", positive=True)
    thinking: Literal["keep", "strip"] = key("keep", "earlier thinking in the context")
    staleness: int = key(0, "steps that the sampler's weights lie behind the trainer's")
    store: Literal["all", "sample", "none"] = key("all", "whose text and tokens are stored")

    def __post_init__(self) -> None:
        rules.check_batch_seconds("rollout.batch_seconds", self.batch_seconds)


@dataclass(frozen=True, slots=True)
class LimitsRecipe:
    """Seconds of wall time, in one place: episode < batch < request < ddp.

    What is unsaid follows: `episode` from `environment.seconds`, `batch` from
    `rollout.batch_seconds`, a request may outlive its batch by 5 minutes, and processes wait for
    each other half an hour longer than any batch takes, for the weights that travel as well.
    """

    episode: float | None = key(None, "of an episode, which is lost then", positive=True)
    batch: float | None = key(None, "of the episodes of a step", positive=True)
    request: float | None = key(None, "of one turn on a server", positive=True)
    ddp: float | None = key(None, "that processes wait for each other", positive=True)


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """How many held-out `tasks` are played before and after, and episodes printed at the end.

    While it trains they are played `every` so many steps; what comes of it is in `summary.json` and
    `curve.png`, and is what the gates of a stage look at.
    """

    tasks: int = key(256, "held-out tasks of an evaluation", positive=True)
    samples: int = key(10, "episodes printed at the end")
    every: int = key(0, "steps between two evaluations while it trains; 0: none")


@dataclass(frozen=True, slots=True)
class GateRecipe:
    """What a stage may cost: a held-out accuracy that falls by more than `fall` stops it."""

    member: str = key("all", "of the mixture, or all of it together")
    fall: float = key(0.03, "the most that its accuracy may fall below the stage's beginning")


@dataclass(frozen=True, slots=True)
class RewardModelRecipe:
    """A reward model that is trained as a stage begins, and pays the episodes of one member then.

    The policy that the stage starts from plays `episodes` of the member's training tasks, the
    member's own rubric says which are right, and a classifier that starts from the policy's weights
    learns to tell. The member's environment takes its folder as `reward_model`. Evaluation goes on
    by the rubric.
    """

    member: str = key("", "of the mixture; its environment takes a reward_model")
    checkpoint: str | None = key(None, "what it starts from; unsaid: the stage's own policy")
    episodes: int = key(2048, "episodes that it is trained on", positive=True)
    steps: int = key(300, "supervised steps", positive=True)
    batch: int = key(64, "answers a step", positive=True)
    learning_rate: float = key(1e-3, "the highest learning rate", positive=True)
    heldout: float = key(0.125, "share of the tasks that it is only tested on")


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """A part of a run: it reads one sealed policy and writes one, in a folder of its own.

    Its recipe is the whole one with what stands here in place of it. `source` is "policy" (what
    `policy` says, cold start and all), a stage before, or the folder of a sealed policy or of a
    checkpoint. Cold start and evaluation are in all members of the `environment`; `mixture` says
    which of them are trained on, by share. It may bring members of its own
    (`{id: ..., weight: ...}`), which then belong to all.
    """

    name: str = key("", "its folder below stages/")
    source: str | None = key(None, "unsaid: the stage before it, and for the first the policy")
    steps: int | None = key(None, "optimizer steps; unsaid: grpo.steps", positive=True)
    mixture: dict[str, Any] | None = key(None, "members to train on, and the share of each")
    curriculum: dict[str, Any] | None = key(None, "when members of several difficulties go up")
    dynamic: float | None = key(None, "as grpo.dynamic")
    evaluation: dict[str, Any] = key(dict, "keys of evaluation, such as {every: 20}")
    gates: list[GateRecipe] = key(list, "what ends it with an error")
    reward_model: RewardModelRecipe | None = key(None, "trained first, and paid by then")
    overrides: dict[str, Any] = key(dict, "any other keys, such as {grpo: {learning_rate: 1e-4}}")

    def __post_init__(self) -> None:
        rules.check_name("recipe: stages: name", self.name, "policy")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run; `name` is its folder below `runs/`."""

    name: str = key("tiny", "the run's folder below runs/")
    seed: int = key(0, "of everything that is drawn")
    threads: int = key(1, "of torch, in each process", positive=True)
    environment: EnvironmentRecipe = key(EnvironmentRecipe, "")
    policy: PolicyRecipe = key(PolicyRecipe, "")
    cluster: ClusterRecipe = key(ClusterRecipe, "")
    cold_start: ColdStartRecipe = key(ColdStartRecipe, "")
    grpo: GrpoRecipe = key(GrpoRecipe, "")
    rollout: RolloutRecipe = key(RolloutRecipe, "")
    limits: LimitsRecipe = key(LimitsRecipe, "")
    evaluation: EvaluationRecipe = key(EvaluationRecipe, "")
    stages: list[StageRecipe] = key(list, "parts of the run, one after the other; none: it is one")
    report_to: list[str] = key(list, "trackers: trackio, wandb, tensorboard")

    def __post_init__(self) -> None:
        rules.check_whole(self)

    @property
    def cold_steps(self) -> int:
        """How many supervised steps there are, said or not."""
        said = self.cold_start.steps
        return said if said is not None else _TINY_COLD_STEPS * (self.policy.checkpoint == "tiny")
