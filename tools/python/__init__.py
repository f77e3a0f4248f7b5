"""The `python` tool: an interpreter for the episode, whose variables live from call to call."""

from qwq_env.tools.python.tool import Backend, PythonTool

__all__ = ["Backend", "PythonTool"]
