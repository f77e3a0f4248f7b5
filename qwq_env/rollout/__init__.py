"""Playing episodes: the engine, the policies that it asks, and the store of what was played."""

from typing import TYPE_CHECKING

from qwq_env._lazy import lazy_exports

if TYPE_CHECKING:
    from qwq_env.http.openai_chat import OpenAIChat as OpenAIChat
    from qwq_env.rollout.engine import Assignment as Assignment
    from qwq_env.rollout.engine import Engine as Engine
    from qwq_env.rollout.engine import EngineSettings as EngineSettings
    from qwq_env.rollout.play import PlaySettings as PlaySettings
    from qwq_env.rollout.policy import Generation as Generation
    from qwq_env.rollout.policy import GenerationRequest as GenerationRequest
    from qwq_env.rollout.policy import Policy as Policy
    from qwq_env.rollout.scripted import ScriptedPolicy as ScriptedPolicy
    from qwq_env.rollout.store import EpisodeStore as EpisodeStore
    from qwq_env.rollout.store import read_episodes as read_episodes
    from qwq_env.rollout.stored import StoredEpisode as StoredEpisode
    from qwq_env.rollout.stored import StoredRun as StoredRun
    from qwq_env.rollout.transformers_policy import TransformersPolicy as TransformersPolicy
    from qwq_env.rollout.vllm_policy import VllmPolicy as VllmPolicy
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "engine": "Engine EngineSettings Assignment",
            "play": "PlaySettings",
            "policy": "Policy GenerationRequest Generation",
            ".http.openai_chat": "OpenAIChat",
            "vllm_policy": "VllmPolicy",
            "transformers_policy": "TransformersPolicy",
            "scripted": "ScriptedPolicy",
            "store": "EpisodeStore read_episodes",
            "stored": "StoredRun StoredEpisode",
        },
    )
