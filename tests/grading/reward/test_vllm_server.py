"""A real vLLM server on CPU gives the logits that Transformers gives."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.grading.reward import Candidate
from qwq_env.grading.reward.classifier import SequenceClassifier
from qwq_env.grading.reward.pooling import VllmPooling


@pytest.mark.slow
def test_a_real_server_gives_the_same_logits(cpu_servers, reward_checkpoint, encoder):
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

    with cpu_servers.serve(reward_checkpoint, context=512) as url:
        served, local = asyncio.run(main(url))

    expected = [score.value for score in local]
    assert [score.value for score in served] == pytest.approx(expected, abs=2e-3)
    assert len({round(value, 2) for value in expected}) == len(answers)
