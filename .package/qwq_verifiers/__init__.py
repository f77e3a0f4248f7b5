"""What verifiers finds under the name `qwq-verifiers`; see `qwq_env.interop.verifiers_taskset`."""

from qwq_env.interop.verifiers_taskset import EnvironmentTaskset, EpisodeHarness

__all__ = ["EnvironmentTaskset", "EpisodeHarness"]
