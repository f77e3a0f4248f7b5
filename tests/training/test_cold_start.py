import pytest
import torch

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.envs.arithmetic import ArithmeticTaskSet
from qwq_env.errors import UsageError
from qwq_env.tools.calculator import Calculator
from qwq_env.training.cold_policy import freeze
from qwq_env.training.cold_start import _parts, cold_start
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.tiny.teacher import Teacher
from qwq_env.training.tiny.tokenizer import build_tiny_tokenizer
from qwq_env.training.transcript import Part, Transcript

LESSONS = Teacher(ArithmeticTaskSet(), [Calculator()], QwqDialect()).transcripts(64)
TOKENIZER = build_tiny_tokenizer(LESSONS)
CODEC = TokenCodec(TOKENIZER)


def test_the_mask_is_one_exactly_where_the_model_wrote() -> None:
    for lesson in LESSONS:
        ids, mask = lesson.encode(CODEC)
        said = CODEC.decode([token for token, own in zip(ids, mask, strict=True) if own])
        turns = [
            piece.text for part in lesson.parts if part.author == "model" for piece in part.pieces
        ]

        assert said == "".join(turns)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_the_loss_falls(optimizer: str) -> None:
    model = build_tiny_model(TOKENIZER)
    losses = cold_start(model, CODEC, LESSONS, steps=25, batch=16, optimizer=optimizer)

    assert len(losses) == 25
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert not model.training


def test_the_first_loss_is_the_models_own_of_the_tokens_that_it_wrote() -> None:
    """Logits are computed where they are read only; the loss is that of all of them."""
    model = build_tiny_model(TOKENIZER)
    alone = LESSONS[:1]
    ids, mask = alone[0].encode(CODEC)
    labels = [token if own else -100 for token, own in zip(ids, mask, strict=True)]
    with torch.no_grad():
        expected = model(torch.tensor([ids]), labels=torch.tensor([labels])).loss
    [first] = cold_start(model, CODEC, alone, steps=1, batch=3)

    assert first == pytest.approx(float(expected), rel=1e-5)


def test_the_same_seed_learns_the_same() -> None:
    runs = [
        cold_start(build_tiny_model(TOKENIZER), CODEC, LESSONS, steps=3, batch=8, seed=seed)
        for seed in (1, 1, 2)
    ]

    assert runs[0] == runs[1] != runs[2]


def test_only_the_models_own_tokens_are_learnt() -> None:
    def lesson(prompt: str) -> Transcript:
        task = Part((Piece(prompt),), "task")
        return Transcript((task, Part((Piece("yes<|im_end|>", control=True),), "model")))

    model = build_tiny_model(TOKENIZER)
    cold_start(model, CODEC, [lesson("what what what")], steps=30, batch=2)
    ids, mask = lesson("what what what").encode(CODEC)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1]
    best = logits.argmax(-1).tolist()
    own = mask.index(1)

    assert best[own - 1 :] == ids[own:]
    assert best[: own - 1] != ids[1:own]


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int]] = []
    losses = cold_start(
        build_tiny_model(TOKENIZER),
        CODEC,
        LESSONS,
        steps=3,
        batch=4,
        progress=lambda step, total, loss: told.append((step, total)),
    )

    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(losses) == 3


def test_the_rest_of_the_process_keeps_its_threads_and_chances() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    cold_start(build_tiny_model(TOKENIZER), CODEC, LESSONS, steps=1, batch=2)

    assert torch.get_num_threads() == threads
    assert torch.rand(1) == expected


def test_bad_settings_are_named() -> None:
    model = build_tiny_model(TOKENIZER)
    with pytest.raises(UsageError, match="expected at least one"):
        cold_start(model, CODEC, [])
    with pytest.raises(UsageError, match="did you mean 'adamw'"):
        cold_start(model, CODEC, LESSONS, optimizer="adam")
    with pytest.raises(UsageError, match="-1 steps of 64"):
        cold_start(model, CODEC, LESSONS, steps=-1)


def flat(model) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def learned(**settings) -> tuple[torch.Tensor, list[float]]:
    model = build_tiny_model(TOKENIZER)
    losses = cold_start(model, CODEC, LESSONS, steps=3, batch=8, optimizer="adamw", **settings)
    return flat(model), losses


def test_a_batch_in_parts_is_the_batch() -> None:
    """However many tokens are in each: the mean is that of all tokens, not of the parts'."""
    start = flat(build_tiny_model(TOKENIZER))
    whole, losses = learned()
    parts, same = learned(micro_batch_tokens=150)

    # All of them together: Adam makes a step of what rounding leaves of a gradient that is zero.
    assert (whole - parts).norm() < 1e-3 * (whole - start).norm()
    assert losses == pytest.approx(same, rel=1e-4)


@pytest.mark.parametrize("tokens", [1, 150, 10_000, None])
def test_a_part_holds_so_many_tokens_or_one_transcript(tokens: int | None) -> None:
    examples = [lesson.encode(CODEC) for lesson in LESSONS]
    parts = list(_parts(examples, tokens))

    assert sorted(each.ids for part in parts for each in part) == sorted(e.ids for e in examples)
    for part in parts:
        padded = len(part) * max(len(each.ids) for each in part)
        assert len(part) == 1 or tokens is None or padded <= tokens


def test_bfloat16_is_computed_in_and_the_weights_stay_float32() -> None:
    whole, losses = learned()
    rounded, close = learned(bfloat16=True)

    assert rounded.dtype == torch.float32
    assert not torch.equal(whole, rounded)
    assert losses == pytest.approx(close, rel=0.02)
    assert close[-1] < close[0]


def test_what_is_frozen_stays_and_the_rest_learns() -> None:
    model = build_tiny_model(TOKENIZER)
    before = {name: value.clone() for name, value in model.named_parameters()}
    freeze(model, 1)
    cold_start(model, CODEC, LESSONS, steps=2, batch=4, optimizer="adamw")
    moved = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }

    assert any(name.startswith("model.layers.1.") for name in moved)
    assert not any(name.startswith("model.layers.0.") or "embed" in name for name in moved)
    with pytest.raises(UsageError, match="frozen_layers: 2; expected fewer than the 2"):
        freeze(model, 2)
