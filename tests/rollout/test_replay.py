"""Runs that were killed go on in mid-episode, and no effect happens twice; see `qwq_env.journal`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.journal import Journal
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.audit import RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.journaled import begun_tasks
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Tool, ToolResult, tool
from qwq_env.tool_set import ToolSet
from qwq_env.turn import ToolCall

from ..byte_tokenizer import byte_codec  # isort: skip
