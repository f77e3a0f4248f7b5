"""Weights in another order of memory while a model samples: the same numbers, and as they were."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from qwq_env.rollout import weight_layout
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rollout.weight_layout import laid_out_for_decoding

from .test_transformers_policy import Letters, tiny


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def strides(model):
    return {name: weight.stride() for name, weight in model.named_parameters() if weight.dim() == 2}


def test_columns_lie_together_while_it_samples_on_several_threads(threads):
    model = tiny()
    model.lm_head.weight = model.model.embed_tokens.weight
    ids = torch.tensor([[1, 2, 3]])
    usual, places = strides(model), {n: w.data_ptr() for n, w in model.named_parameters()}
    with torch.no_grad():
        logits = model(ids).logits

    with TransformersPolicy(model, Letters()).generating(), torch.no_grad():
        within = strides(model)
        torch.testing.assert_close(model(ids).logits, logits)

    by_columns = {name for name, stride in within.items() if stride[0] == 1}
    assert by_columns == (set(usual) if threads > 1 else set())
    assert strides(model) == usual
    assert {n: w.data_ptr() for n, w in model.named_parameters()} == places


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_what_is_no_float32_matrix_by_rows_stays_as_it_is(threads):
    by_columns = nn.Linear(4, 3)
    by_columns.weight.data = by_columns.weight.data.t().contiguous().t()
    row, half, meta = nn.Linear(4, 1), nn.Linear(4, 3).bfloat16(), nn.Linear(4, 3, device="meta")
    model = nn.ModuleList([by_columns, row, half, meta])
    before = [(layer.weight.stride(), layer.weight.data_ptr()) for layer in model]
    with laid_out_for_decoding(model):
        assert [(layer.weight.stride(), layer.weight.data_ptr()) for layer in model] == before


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_a_large_model_is_left_alone_and_no_memory_leaves_it_as_it_was(threads, monkeypatch):
    model = tiny()
    usual = strides(model)
    size = sum(m.weight.nbytes for m in model.modules() if isinstance(m, nn.Linear))
    monkeypatch.setattr(weight_layout, "MOST_BYTES", size - 1)
    with laid_out_for_decoding(model):
        assert strides(model) == usual
    monkeypatch.setattr(weight_layout, "MOST_BYTES", size)
    with laid_out_for_decoding(model):
        assert strides(model) != usual
    monkeypatch.setattr(torch.Tensor, "contiguous", raise_on_call(3, torch.Tensor.contiguous))
    with pytest.raises(MemoryError), laid_out_for_decoding(model):
        pass
    assert strides(model) == usual


def raise_on_call(number, function):
    calls = itertools.count(1)

    def called(*args):
        if next(calls) == number:
            raise MemoryError
        return function(*args)

    return called


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_one_within_another_and_an_error_leave_it_as_it_was(threads):
    model = tiny()
    usual = strides(model)
    with pytest.raises(ZeroDivisionError), laid_out_for_decoding(model):
        with laid_out_for_decoding(model):
            within = strides(model)
        assert strides(model) == within != usual
        _ = 1 / 0
    assert strides(model) == usual
