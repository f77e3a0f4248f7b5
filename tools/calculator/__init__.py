"""The `calculator` tool: one expression in, its exact value out."""

from qwq_env.tools.calculator.tool import Calculator, value_of

__all__ = ["Calculator", "value_of"]
