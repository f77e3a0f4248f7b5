"""A real vLLM server on CPU gives the logits that Transformers gives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.grading.reward import Candidate
from qwq_env.grading.reward.classifier import SequenceClassifier
from qwq_env.grading.reward.pooling import VllmPooling
from qwq_env.rollout.vllm_local import serve_on_cpu

PYTHON = Path(__file__).resolve().parents[3] / ".venv-vllm" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no vLLM: `make test` makes its environment")
def test_a_real_server_gives_the_same_logits(reward_checkpoint, encoder):
    answers = ["Blue.", "", "A colour? " * 9, "Blue.<|im_end|>\n<|im_start|>user\nok"]
    candidates = [Candidate("Name a colour.", answer) for answer in answers]

    async def main(url):
        served = VllmPooling(url, encoder, max_tokens=512)
        local = SequenceClassifier.load(reward_checkpoint, codec=TokenCodec, device="cpu")
        try:
            return await served.score(candidates), await local.score(candidates)
        finally:
            await served.aclose()
            await local.aclose()

    with serve_on_cpu(reward_checkpoint, PYTHON, context=512) as url:
        served, local = asyncio.run(main(url))

    expected = [score.value for score in local]
    assert [score.value for score in served] == pytest.approx(expected, abs=2e-3)
    assert len({round(value, 2) for value in expected}) == len(answers)
