"""The library seen from elsewhere: its tools and environments behind other projects' interfaces.

| module | is | needs |
|---|---|---|
| `mcp_server` | tools and tool sets as a server of the Model Context Protocol | `qwq-env[mcp]` |
| `openenv_server` | any environment as an OpenEnv server | `qwq-env[openenv]` |
| `trl_factory` | an environment in the form of TRL's `environment_factory` | `qwq-env[train]` |
| `verifiers_taskset` | any environment as a taskset of verifiers | `qwq-env[verifiers]` |
| `inspect_tools`, `inspect_task` | tools and environments in Inspect | `qwq-env[inspect]` |

Each is a thin face on `Toolbox`, `ToolEnv.begin` and `Episode`: what bounds a call, what an
episode is paid and why it ends is decided there, and is the same through every one of them. They
are imported by their full names, for each needs a package that the others may not live beside:
OpenEnv wants an older `mcp` than verifiers does, and both are choosy about the rest.
"""
