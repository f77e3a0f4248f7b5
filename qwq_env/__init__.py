"""qwq-env: tool-use environments for reasoning models."""
