"""A LoRA adapter on its way to servers: what is written, and what is asked."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.weights.adapter import AdapterWeightSync


def trainer(model, step: int = 4) -> SimpleNamespace:
    state = SimpleNamespace(global_step=step)
    return SimpleNamespace(
        accelerator=Accelerator(cpu=True), model=model, model_wrapped=model, state=state
    )


@pytest.fixture
def adapted(tokenizer):
    peft = pytest.importorskip("peft")
    model = build_tiny_model(tokenizer, hidden=16, heads=2, layers=1)
    return peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )


def test_folder_holds_the_adapter_and_nothing_else_and_the_server_is_told(
    adapted, tmp_path, weight_server
):
    sync = AdapterWeightSync(tmp_path / "adapters", weight_server.url)
    for step in (4, 5, 6):
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                weight += "lora" in name
        pushed = sync.push(trainer(adapted, step))

    version = tmp_path / "adapters" / "v000006"
    written = load_file(version / "adapter_model.safetensors")
    own = {n: w for n, w in adapted.named_parameters() if w.requires_grad}
    assert len(written) == len(own) == 2
    for name, weight in own.items():
        assert torch.equal(written[name.replace(".default", "")], weight)
    assert json.loads((version / "adapter_config.json").read_text())["r"] == 2
    assert sorted(path.name for path in version.parent.iterdir()) == ["v000005", "v000006"]
    assert (pushed.version, pushed.servers) == (6, (weight_server.url,))
    body = {"lora_name": "adapter", "lora_path": str(version.resolve())}
    asked = [(path, body) for path, body, _ in weight_server.seen[-2:]]
    assert asked == [("/v1/load_lora_adapter", body), ("/reset_prefix_cache", None)]


class Adapted(torch.nn.Linear):
    """As much of an adapted model as a push looks at, for where PEFT is not installed."""

    def __init__(self, kind: str = "LORA") -> None:
        super().__init__(1, 1)
        self.bias.requires_grad = False
        self.peft_config = {"default": SimpleNamespace(peft_type=kind)}
        self.active_adapter = "default"

    def save_pretrained(self, folder, *, state_dict, selected_adapters, save_embedding_layers):
        assert (selected_adapters, save_embedding_layers) == (["default"], False)
        (folder / "adapter.txt").write_text(" ".join(state_dict))


def test_adapter_is_loaded_in_the_place_of_the_one_before(tmp_path, weight_server):
    sync = AdapterWeightSync(tmp_path / "adapters", weight_server.url, name="mine")
    sync.push(trainer(Adapted(), 1))
    sync.push(trainer(Adapted(), 2))

    version = tmp_path / "adapters" / "v000002"
    assert (version / "adapter.txt").read_text() == "weight"
    body = {"lora_name": "mine", "lora_path": str(version.resolve())}
    assert weight_server.seen[-3:-1] == [
        ("/v1/unload_lora_adapter", {"lora_name": "mine"}, None),
        ("/v1/load_lora_adapter", body, None),
    ]


def test_a_version_that_was_pushed_is_brought_again(tmp_path, weight_server):
    sync = AdapterWeightSync(tmp_path / "adapters", weight_server.url)
    sync.push(trainer(Adapted(), 2))
    asked = list(weight_server.seen)
    weight_server.seen.clear()

    assert sync.bring(2) == (weight_server.url,)
    assert weight_server.seen == asked
    with pytest.raises(UsageError, match=r"v000003 is not there"):
        sync.bring(3)


def test_server_that_takes_no_adapters_is_named(tmp_path, weight_server):
    del weight_server.answers["/v1/load_lora_adapter"]
    with pytest.raises(InfrastructureError, match="expected vLLM with --enable-lora, VLLM_ALL"):
        AdapterWeightSync(tmp_path, weight_server.url).push(trainer(Adapted()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (torch.nn.Linear(1, 1), r"no adapter; expected one with LoRA \(pip install peft"),
        (Adapted("IA3"), "adapter 'default' is IA3; expected LORA"),
    ],
)
def test_model_without_an_adapter_that_can_be_served(tmp_path, model, message):
    with pytest.raises(UsageError, match=message):
        AdapterWeightSync(tmp_path, "http://host").push(trainer(model))
