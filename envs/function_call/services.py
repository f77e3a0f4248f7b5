"""Services of our own."""

from qwq_env.grading.calls.backends import Service

OWN: dict[str, type[Service]] = {}
