"""What `ToolGRPOTrainer` makes of the data: weights of rows, padding, and what it logs."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from trl import GRPOTrainer

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.grading.score import Score
from qwq_env.outcome import Outcome
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.training.micro_batches import left_aligned
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.trl_data import to_trl
from qwq_env.trajectory import TrainingRow, Trajectory

from .stock_trainer import Recorder, ToolRecorder, stock_trainer, train
from .test_rollouts import answer_at_once, environment, scripted
from .watched_step import answering, flat, watched_model

ROWS = [(2, 1.0), (1, 0.0), (3, 1.0), (1, 0.0), (2, None)]
"""Rows and reward of each episode of a group; the last is lost."""
LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]


class Given(Rollouts):
    """Gives the trajectories that a test sets."""

    def __call__(self, prompts, trainer):
        self.last = self.given
        return to_trl(self.last, self.codec)


def episode(number: int, rows: int, reward: float | None) -> Trajectory:
    drawn = random.Random(number)

    def row() -> TrainingRow:
        prompt, length = drawn.randint(2, 6), drawn.randint(1, 9)
        ids = [drawn.randint(10, 200) for _ in range(prompt + length)]
        mask = [1, *(drawn.randint(0, 1) for _ in range(length - 1))]
        return TrainingRow(ids, prompt, mask, [0.0] * length)

    *earlier, last = [row() for _ in range(rows)]
    outcome = Outcome.answered() if reward is not None else Outcome.lost("infrastructure")
    return Trajectory("t0", f"{number}", 0, *last, [], outcome, reward, earlier=earlier)


def all_draws(episodes: list[Trajectory]):
    """Yield the episodes with seeds by which each combination of their rows is drawn once."""
    ways = [range(len(each.rows)) for each in episodes]
    for chosen in itertools.product(*ways):
        yield [
            replace(each, seed=next(
                seed for seed in itertools.count() if random.Random(seed).choice(way) == row
            ))
            for each, way, row in zip(episodes, ways, chosen, strict=True)
        ]  # fmt: skip


def all_rows(episodes: list[Trajectory], advantages: list[float]) -> dict[str, torch.Tensor]:
    """Return the batch of every row of the episodes that are not lost, each with its advantage."""
    rows = [
        (row, advantage)
        for each, advantage in zip(episodes, advantages, strict=True)
        for row in each.rows
        if each.reward is not None
    ]
    prompt = max(row.prompt_length for row, _ in rows)
    completion = max(len(row.mask) for row, _ in rows)

    def padded(values, left=0):
        return torch.tensor([
            [0] * max(0, left - len(v)) + v + [0] * max(0, completion - len(v)) * (not left)
            for v in values
        ])  # fmt: skip

    mask = padded([row.mask for row, _ in rows])
    return {
        "prompt_ids": padded([row.prompt_ids for row, _ in rows], prompt),
        "prompt_mask": padded([[1] * row.prompt_length for row, _ in rows], prompt),
        "completion_ids": padded([row.completion_ids for row, _ in rows]),
        "completion_mask": padded([[1] * len(row.mask) for row, _ in rows]),
        "tool_mask": mask,
        "advantages": torch.tensor([advantage for _, advantage in rows]),
        "num_items_in_batch": mask.sum(),
    }


def gradient(trainer, batch) -> torch.Tensor:
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, batch).backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()]).double()


@pytest.fixture(scope="module")
def given_trainer(tokenizer, tmp_path_factory):
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    rollouts = Given(environment(), tokenizer)
    rollouts.given = [episode(number, *row) for number, row in enumerate(ROWS)]
    trainer = stock_trainer(
        model, tokenizer, tmp_path_factory.mktemp("given"), rollouts, kind=ToolRecorder,
        per_device_train_batch_size=len(ROWS), num_generations=len(ROWS),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


@pytest.mark.parametrize("loss", LOSSES)
def test_the_expected_gradient_of_a_draw_is_that_of_all_rows(given_trainer, loss):
    """Summed over every draw there is, so exactly; and what was lost takes nothing of it."""
    trainer, rollouts = given_trainer, given_trainer.rollout_func
    trainer.loss_type = loss
    trainer.importance_sampling_level = "sequence" if loss == "luspo" else "token"
    given = rollouts.given
    prompts = [dict(rollouts.dataset[0]) for _ in given]
    stock = GRPOTrainer._generate_and_score_completions(trainer, prompts)["advantages"].tolist()
    gradients = []
    for rollouts.given in all_draws(given):
        batch = trainer._generate_and_score_completions([dict(prompt) for prompt in prompts])
        gradients.append(gradient(trainer, batch))
    rollouts.given = given
    drawn = torch.stack(gradients).mean(0)
    whole = gradient(trainer, all_rows(given, stock))

    assert torch.cosine_similarity(drawn, whole, dim=0) >= 0.999
    assert drawn.norm() / whole.norm() == pytest.approx(1.0, abs=0.01)
    assert len(gradients) == 2 * 3 * 2


@pytest.fixture
def rows_read(given_trainer):
    """How many rows each forward pass takes."""
    read: list[int] = []
    hook = given_trainer.model.register_forward_pre_hook(
        lambda module, args, named: read.append(len(named["input_ids"])), with_kwargs=True
    )
    yield read
    hook.remove()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("idle", "is_old"),
    [((), False), ((0, 3), False), ((1, 2, 4, 5), True), (range(6), False), (range(6), True)],
)
def test_rows_without_an_advantage_cost_nothing_and_change_nothing(
    given_trainer, rows_read, monkeypatch, loss, idle, is_old
):
    """The gradient is that of all rows, to rounding, whatever the loss divides by."""
    trainer = given_trainer
    monkeypatch.setattr(trainer, "loss_type", loss)
    monkeypatch.setattr(
        trainer, "importance_sampling_level", "sequence" if loss == "luspo" else "token"
    )
    episodes = [episode(number, 1, 1.0) for number in range(6)]
    batch = all_rows(episodes, [0.0 if row in idle else 0.5 - row for row in range(6)])
    if is_old:
        # Far off, as it may be for a row that nobody looks at: its ratio would be infinite.
        batch["old_per_token_logps"] = torch.full(batch["completion_ids"].shape, -5.0)
        batch["old_per_token_logps"][list(idle)] = -200.0
    ours = gradient(trainer, batch)
    with monkeypatch.context() as stock:
        stock.setattr(trainer, "_needs_all_rows", lambda: True)
        if is_old:
            batch["old_per_token_logps"][list(idle)] = -5.0
        whole = gradient(trainer, batch)

    assert (ours - whole).norm() <= 1e-5 * whole.norm()
    assert ours.isfinite().all() and (whole.abs().max() > 0) == (len(idle) < 6)
    assert rows_read == [max(1, 6 - len(idle)), 6]


def test_a_term_of_the_micro_batch_takes_all_rows(given_trainer, rows_read, monkeypatch):
    trainer = given_trainer
    monkeypatch.setattr(trainer, "loss_type", "dapo")
    batch = all_rows([episode(number, 1, 1.0) for number in range(3)], [0.0, 1.0, 0.0])
    gradient(trainer, batch)
    monkeypatch.setattr(trainer, "top_entropy_quantile", 0.5)
    gradient(trainer, batch)

    assert rows_read == [1, 3]


ONE_TEACHES = ["1" * 300, "1", "0" * 200, "0", "0" * 300, "00", "0" * 250, "00"]


@pytest.mark.parametrize("rows", [8, 4, 2, 1])
def test_the_entropy_that_is_logged_is_of_all_tokens_that_teach(tokenizer, tmp_path, rows):
    """However the rows of a step are spread over micro-batches, half of them of what is idle."""
    rollouts = answering(tokenizer, ONE_TEACHES)
    torch.manual_seed(0)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)  # so that one token's entropy is not another's
    trainer = train(
        model, tokenizer, tmp_path, rollouts, kind=ToolRecorder, per_device_train_batch_size=rows,
        gradient_accumulation_steps=8 // rows, learning_rate=0.0,
    )  # fmt: skip
    batch, every = trainer.batch, []
    for row in batch["advantages"].nonzero().flatten().tolist():
        prompt, spoken = (batch[f"{part}_mask"][row].bool() for part in ("prompt", "completion"))
        ids = torch.cat([batch["prompt_ids"][row][prompt], batch["completion_ids"][row][spoken]])
        logits = model(ids[None]).logits[0, prompt.sum() - 1 : -1].log_softmax(-1)
        every.append(-(logits.exp() * logits).sum(-1)[batch["tool_mask"][row][spoken].bool()])

    assert len(every) == 4
    assert torch.cat(every).std() > 0.01
    assert trainer.state.log_history[0]["entropy"] == pytest.approx(
        torch.cat(every).mean().item(), abs=1e-4
    )


def test_where_nothing_teaches_the_entropy_is_of_what_was_sampled(given_trainer):
    """The shortest row is of an episode that was lost: none of its tokens is in the loss."""
    trainer = given_trainer
    batch = all_rows([episode(number, 1, 1.0) for number in range(3)], [0.0] * 3)
    batch["tool_mask"][batch["completion_mask"].sum(1).argmin()] = 0
    batch["prompt_mask"][batch["completion_mask"].sum(1).argmin()] = 0
    trainer._entropies = None
    gradient(trainer, batch)
    (_, taught), (total, alone) = trainer._entropies.tolist()

    assert taught == 0
    assert total / alone > 1


def test_rows_of_whole_episodes_are_left_as_they_are(tokenizer, tmp_path):
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    answers = itertools.cycle("10")
    rollouts = scripted(tokenizer, lambda context: f"</think>{next(answers)}<|im_end|>")
    batch = train(model, tokenizer, tmp_path, rollouts, kind=ToolRecorder).batch

    assert sorted(set(batch["advantages"].tolist())) == pytest.approx([-0.866, 0.866], abs=1e-3)


@pytest.mark.parametrize("corrects", [False, True])
def test_padding_is_cut_off_and_the_weights_are_the_same(tokenizer, tmp_path, corrects):
    """One episode in eight is long; in micro-batches of one the others need not be."""

    class Elsewhere(ScriptedPolicy):
        elsewhere = corrects

    def trained(kind):
        texts = itertools.cycle(["1" * 300, "1", "0", "11", "1", "0", "01", "0"])
        policy = Elsewhere(TokenCodec(tokenizer), lambda _: f"</think>{next(texts)}<|im_end|>")
        env = ToolEnv(environment().tasks, [], environment().settings.rubric)
        rollouts = Rollouts(env, tokenizer, policy=lambda trainer: policy, context=4000)
        torch.manual_seed(0)
        model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
        before, read = flat(model), []
        model.register_forward_pre_hook(
            lambda module, args, named: read.append(named["input_ids"].numel()), with_kwargs=True
        )
        train(
            model, tokenizer, tmp_path, rollouts, kind=kind, per_device_train_batch_size=1,
            gradient_accumulation_steps=8, learning_rate=0.1, optim="sgd",
        )  # fmt: skip
        return flat(model) - before, sum(read)

    stock, whole = trained(Recorder)
    ours, cut = trained(ToolRecorder)

    assert torch.allclose(stock, ours, atol=1e-6)
    assert stock.abs().max() > 1e-3
    assert cut < whole / 2


TWO_GROUPS = ["1" * 300, "1", "0" * 200, "0", "1" * 300, "1", "1" * 200, "1"]
SORTED = [(2, 329), (2, 229), (2, 30), (2, 30)]


@pytest.mark.parametrize(
    ("texts", "settings", "shapes"),
    [
        *((TWO_GROUPS, {"loss_type": loss}, SORTED) for loss in LOSSES if loss != "bnpo"),
        # Where nothing is to be learned, one row is read for the others' sake.
        (ONE_TEACHES, {"loss_type": "dapo"}, [(2, 329), (2, 30), (1, 279), (1, 31)]),
        # What is a mean, or a quantile, of a micro-batch: a row must stay in its own.
        (TWO_GROUPS, {"loss_type": "bnpo"}, None),
        (TWO_GROUPS, {"entropy_coef": 0.5}, None),
        (TWO_GROUPS, {"top_entropy_quantile": 0.5}, None),
    ],
)
def test_rows_of_like_length_lie_in_a_micro_batch_and_the_weights_are_the_same(
    tokenizer, tmp_path, texts, settings, shapes
):
    def trained(kind):
        model, before, read = watched_model(tokenizer)
        train(
            model, tokenizer, tmp_path, answering(tokenizer, texts), kind=kind,
            per_device_train_batch_size=2, gradient_accumulation_steps=4, learning_rate=0.1,
            optim="sgd", **settings,
        )  # fmt: skip
        return flat(model) - before, read

    stock, whole = trained(Recorder)
    ours, cut = trained(ToolRecorder)

    assert torch.allclose(stock, ours, atol=1e-6)
    assert stock.abs().max() > 1e-3
    assert whole == [(2, 329)] * 4
    assert (cut == SORTED) == (shapes == SORTED)
    assert shapes is None or cut == shapes


@pytest.mark.parametrize(
    ("rows", "completion", "multiple", "width", "kept"),
    [
        (["0011100", "0111000"], 4, 1, 3, 2),
        (["1111"], 2, 1, 4, 2),
        (["0010000", "0010000"], 4, 1, 2, 1),  # nothing but prompts
        (["00001111000000"], 8, 4, 4, 2),
        (["0001111000"], 6, 4, 4, 3),
        (["0001111100"], 6, 4, 8, 7),
        (["0000000", "0011100"], 4, 1, 3, 2),  # a row that is not there
        (["0000110", "0011100"], 4, 1, 3, 2),  # a completion without a prompt
    ],
)
def test_rows_begin_in_the_first_column(rows, completion, multiple, width, kept):
    mask = torch.tensor([[int(bit) for bit in row] for row in rows])
    ids = torch.arange(1, mask.numel() + 1).view_as(mask)

    batch = left_aligned(ids, mask, completion, multiple)

    assert batch.ids.shape == batch.mask.shape == (len(rows), width)
    assert batch.kept == kept
    for row, read, aligned, still_read in zip(ids, mask, batch.ids, batch.mask, strict=True):
        count = int(read.sum())
        assert aligned[:count].tolist() == row[read.bool()].tolist()
        assert still_read.tolist() == [1] * count + [0] * (width - count)
    whole = (ids * mask)[:, -completion:]
    alone = mask[:, :-completion].sum(1) == 0
    whole[alone, whole[alone].bool().long().argmax(1)] = 0  # nothing is before it
    assert torch.equal(batch.spread(batch.ids[:, -kept:]), whole)


@pytest.mark.parametrize("size", [None, 2])
def test_padding_does_not_change_where_a_token_stands(tokenizer, tmp_path, size):
    """Of a model with learned positions: moved by its padding, a row would be another one."""
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 4096}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape)).eval()
    trainer = stock_trainer(
        model, tokenizer, tmp_path, Rollouts(environment(), tokenizer), kind=ToolRecorder
    )
    batch = all_rows([episode(number, 1, 1.0) for number in range(5)], [1.0] * 5)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)

    found, entropy, _ = trainer._get_per_token_logps_and_entropies(
        model, ids, mask, batch["completion_ids"].size(1), batch_size=size, compute_entropy=True
    )

    assert len({int(prompt) for prompt in batch["prompt_mask"].sum(1)}) > 2
    for row, (given, read) in enumerate(zip(ids, mask.bool(), strict=True)):
        alone = given[read][None]
        expected = model(alone).logits[0, :-1].log_softmax(-1)
        spoken, length = batch["completion_mask"][row].bool(), batch["completion_mask"][row].sum()
        own = expected.gather(1, alone[0, 1:, None])[-length:, 0]
        spread = -(expected.exp() * expected).sum(-1)[-length:]
        assert torch.allclose(found[row][spoken], own, atol=1e-5)
        assert torch.allclose(entropy[row][spoken], spread, atol=1e-5)
        assert not found[row][~spoken].any() and not entropy[row][~spoken].any()


@pytest.mark.parametrize("masked", [False, True])
def test_no_prompt_is_scored_and_attention_gets_no_mask_that_hides_padding(
    tokenizer, tmp_path, monkeypatch, masked
):
    torch.manual_seed(0)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2).eval()
    trainer = stock_trainer(
        model, tokenizer, tmp_path, Rollouts(environment(), tokenizer), kind=ToolRecorder
    )
    batch = all_rows([episode(number, 1, 1.0) for number in range(5)], [1.0] * 5)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    monkeypatch.setattr(trainer, "_skips_padding", lambda: masked)
    told = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **named: told.append(named) or forward(**named))

    trainer._get_per_token_logps_and_entropies(model, ids, mask, batch["completion_ids"].size(1))

    assert (told[0]["labels"] != -100).sum() == batch["completion_mask"].sum()
    assert told[0]["attention_mask"].sum() == (mask.sum() if masked else told[0]["labels"].numel())
    assert not model._forward_pre_hooks


class OnServer(ScriptedPolicy):
    """Says that its log-probabilities are another machine's, and gives them as it likes."""

    elsewhere = True

    async def generate(self, request):
        generation = await super().generate(request)
        return generation._replace(logprobs=[-5.0 - i % 3 for i in range(len(generation.ids))])


@pytest.mark.parametrize("correction", ["token_truncate", "sequence_mask", "geometric_mask", None])
def test_what_a_server_samples_is_corrected_by_token(tokenizer, tmp_path, correction):
    policy = OnServer(TokenCodec(tokenizer), answer_at_once)
    rollouts = Rollouts(
        environment(), tokenizer, context=4000, policy=lambda trainer: policy,
        correction=correction,
    )  # fmt: skip
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    trainer = train(model, tokenizer, tmp_path, rollouts, kind=ToolRecorder)
    logs, batch = trainer.state.log_history[0], trainer.batch

    if correction is None:
        assert "importance_sampling_ratio" not in batch
        assert "sampling/effective_share" not in logs
        return
    mask = (batch["completion_mask"] * batch["tool_mask"]).bool()
    by_token = correction == "token_truncate"
    ratio = batch["importance_sampling_ratio"]
    weights = ratio[mask] if by_token else ratio.flatten()
    assert ratio.shape[1] == (mask.shape[1] if by_token else 1)
    if by_token:
        share = weights.sum() ** 2 / (len(weights) * (weights**2).sum())
        assert logs["sampling/effective_share"] == pytest.approx(share.item(), rel=1e-4)
        assert logs["sampling/bounded_share"] == pytest.approx(
            (weights >= 3.0).float().mean().item()
        )
        assert 0 < share < 1


def test_a_correction_that_is_switched_off_by_name_stays_off(tokenizer, tmp_path):
    policy = OnServer(TokenCodec(tokenizer), answer_at_once)
    rollouts = Rollouts(environment(), tokenizer, context=4000, policy=lambda trainer: policy)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    trainer = train(
        model, tokenizer, tmp_path, rollouts, kind=ToolRecorder,
        vllm_importance_sampling_correction=False,
    )  # fmt: skip

    assert "importance_sampling_ratio" not in trainer.batch


def test_the_log_says_how_the_episodes_ended(tokenizer, tmp_path, caplog):
    """By their outcomes, and without the prompt and completion of one that was lost."""
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    turns = itertools.cycle(["</think>1<|im_end|>", "</think>000", "x" * 500,
                             "</think>?<|im_end|>"])  # fmt: skip
    lost = Score.undecided("timeout")
    rubric = Rubric([Component("match", lambda f: lost if f.answer == "?" else f.answer == "1")])
    env = ToolEnv(environment().tasks, [], rubric)
    rollouts = scripted(tokenizer, lambda context: next(turns), env)
    logs = train(
        model, tokenizer, tmp_path, rollouts, kind=ToolRecorder, max_completion_length=100
    ).state.log_history[0]

    assert logs["episode/truncated/tokens"] == logs["completions/clipped_ratio"] == 0.25
    assert logs["episode/lost/undecided"] == 0.25
    assert logs["episode/tokens/right"] < logs["episode/tokens/wrong"]
    assert logs["episode/right"] == pytest.approx(1 / 3)
    assert logs["rollout/seconds"] > 0 <= logs["weights/seconds"]
    assert "All reward functions returned None" not in caplog.text
    assert "stock GRPOTrainer" not in caplog.text


def test_a_stock_trainer_says_once_what_it_lacks(tokenizer, tmp_path, caplog):
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    policy = ScriptedPolicy(TokenCodec(tokenizer), answer_at_once)
    rollouts = Rollouts(
        environment(), tokenizer, context=4000, policy=lambda trainer: policy, thinking="strip"
    )
    train(model, tokenizer, tmp_path, rollouts, max_steps=2, loss_type="grpo")

    [told] = [r.getMessage() for r in caplog.records if "stock GRPOTrainer" in r.getMessage()]
    assert all(word in told for word in ("longest", "not their sum", "'grpo'", "ToolGRPOTrainer"))
    assert not math.isnan(rollouts.last[0].reward)
