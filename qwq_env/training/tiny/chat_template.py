"""The chat template that says what `QwqDialect.render` says, for tools that want a template.

An episode never needs it; TRL, Transformers and inference servers do. The words around the tools
are taken from the dialect, so the two cannot drift apart.
"""

from __future__ import annotations

import json

from qwq_env.dialect.base import text_of
from qwq_env.dialect.qwq import QwqDialect

_TEMPLATE = r"""
{%- set has_system = messages and messages[0].role == 'system' -%}
{%- if tools -%}
  {{- '<|im_start|>system\n' + ((messages[0].content or '') if has_system else '') -}}
  {{- @head@ -}}
  {%- for tool in tools -%}
    {{- '\n' + (tool | tojson) -}}
  {%- endfor -%}
  {{- @tail@ -}}
{%- elif has_system -%}
  {{- '<|im_start|>system\n' + (messages[0].content or '') + '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
  {%- set content = message.content or '' -%}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) -%}
    {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' -}}
  {%- elif message.role == 'assistant' -%}
    {{- '<|im_start|>assistant' -}}
    {%- if content or not message.tool_calls -%}
      {{- '\n' + (content if loop.last else content.split('</think>')[-1].lstrip('\n')) -}}
    {%- endif -%}
    {%- for call in message.tool_calls or [] -%}
      {%- set function = call.function if call.function is defined else call -%}
      {{- '\n<tool_call>\n{"name": "' + function.name + '", "arguments": ' -}}
      {{- (function.arguments | tojson) + '}\n</tool_call>' -}}
    {%- endfor -%}
    {{- '<|im_end|>\n' -}}
  {%- elif message.role == 'tool' -%}
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}
      {{- '<|im_start|>user' -}}
    {%- endif -%}
    {{- '\n<tool_response>\n' + content + '\n</tool_response>' -}}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
      {{- '<|im_end|>\n' -}}
    {%- endif -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n<think>\n' -}}
{%- endif -%}
"""


def qwq_chat_template() -> str:
    """Return a Jinja template equal in effect to the dialect `qwq`."""
    schema = {"type": "function"}
    system = text_of(QwqDialect().render([], [schema], add_generation_prompt=False))
    head, tail = system.split("\n" + json.dumps(schema))
    head = head.removeprefix("<|im_start|>system\n")
    return _TEMPLATE.replace("@head@", json.dumps(head)).replace("@tail@", json.dumps(tail))
