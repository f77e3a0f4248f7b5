"""Play one episode by hand, the way research code drives any Gymnasium environment.

python examples/play_an_episode.py
"""

from __future__ import annotations

import re

import gymnasium as gym

import qwq_env  # noqa: F401 - registers the environments


def model(transcript: str) -> str:
    """Stand in for a language model: call the calculator on the numbers, then box its result."""
    question = transcript.rsplit("<|im_start|>user\n", 1)[-1]
    if question.startswith("<tool_response>"):
        result = question.split("\n")[1]
        return f"That is the answer.\n</think>\n\n\\boxed{{{result}}}<|im_end|>"
    numbers = " + ".join(re.findall(r"\d+", question))
    call = f'{{"name": "calculator", "arguments": {{"expression": "{numbers}"}}}}'
    return f"I add them up.\n</think>\n\n<tool_call>\n{call}\n</tool_call><|im_end|>"


def main() -> None:
    """Play until the environment says that it is over."""
    env = gym.make("qwq/MathTool-v0")
    prompt, info = env.reset(seed=3)
    transcript = prompt
    while True:
        turn = model(transcript)
        observation, reward, terminated, truncated, info = env.step(turn)
        transcript += turn + observation
        if terminated or truncated:
            break
    env.close()
    print(transcript)
    print(f"reward {reward}, {info['outcome']['reason']}, errors {info['errors']}")


if __name__ == "__main__":
    main()
