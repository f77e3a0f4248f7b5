"""What one layer of a decoder keeps for its backward pass, by arithmetic."""

from __future__ import annotations

from qwq_env.training.shapes import Shape


def layer_bytes(shape: Shape, number: int) -> float:
    """Return the bytes that a token leaves in one layer; `number` is the size of what is computed.

    Attention is a kernel that keeps no matrix of scores (sdpa, flash). Kept are: of each of the two
    norms its input in float32, what is normed, and what it puts out; the rotated queries and keys,
    the values, the attention's output and its log-sum-exp; of the feed-forward part the gate before
    and after its activation, the other half, and their product.
    """
    norms = 2 * (4 + 2 * number) * shape.hidden
    attention = (2 * shape.queries + 2 * shape.keys) * number + 4 * shape.heads
    if shape.kind == "qwen3":
        # Queries and keys are normed, head by head, before they are rotated.
        attention += (shape.queries + shape.keys) * (4 + number)
    return norms + attention + 4 * number * shape.intermediate


def gradient_bytes(shape: Shape, number: int) -> int:
    """Return the bytes of a token's gradients at the widest place of a layer's backward pass.

    There the product's gradient becomes those of the gate and of the other half, while the product
    itself, which stood among what the layer keeps, is free again.
    """
    return number * (2 * shape.intermediate + shape.hidden)
