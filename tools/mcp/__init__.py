"""Tools of MCP servers (Model Context Protocol), as tools of an environment."""

from qwq_env.tools.mcp.server import McpServer, McpTool

__all__ = ["McpServer", "McpTool"]
