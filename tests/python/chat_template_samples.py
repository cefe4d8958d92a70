"""Chat templates in the styles of real models, and conversations to render with them."""

from __future__ import annotations

from typing import Any

CHATML = """{%- for message in messages %}
    {%- if loop.first and messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "You have access to the following functions.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- This block checks for alternating user/assistant messages, skipping tool calling messages #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
            {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + "}[/TOOL_RESULTS]" }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

PHI3 = """{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

COMMAND_R = """{{ bos_token }}{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "List[" +  json_to_python_type(json_spec["items"]) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "Dict[str, " + json_to_python_type(json_spec.additionalProperties) + ']'}}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}
        {{- "," }}
    {%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
{{- 'def ' + tool.function.name + '(' }}
    {%- for param_name, param_fields in tool.function.parameters.properties|items %}
        {%- if loop.index0 != 0 %}
            {{- ', '}}
        {%- endif %}
        {{- param_name + ": " }}
        {%- if param_name in tool.function.parameters.required %}
            {{- json_to_python_type(param_fields) }}
        {%- else %}
            {{- 'Optional[' + json_to_python_type(param_fields) + '] = None'}}
        {%- endif %}
    {%- endfor %}
{{- ') -> List[Dict]:\\n    \\"\\"\\"'}}
{{- tool.function.description }}
{{- '\\"\\"\\"\\n    pass\\n' }}
{%- endfor %}
{%- for message in messages -%}
{%- set content = message.content or '' -%}
{{ '<|START_OF_TURN_TOKEN|><|' ~ message.role|upper ~ '_TOKEN|>' ~ content.strip() ~ '<|END_OF_TURN_TOKEN|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif -%}
"""

DEEPSEEK = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<｜Assistant｜><｜tool▁calls▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['function']['name']}}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{'<｜tool▁output▁begin｜>' + message['content']|string + '<｜tool▁output▁end｜>'}}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}"""

QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

# Types written as TypeScript by a macro that calls itself.
GPT_OSS = """{%- macro render_type(spec, is_required=true) -%}
    {%- if spec.type == "array" -%}
        {%- if spec['items'] -%}{{- render_type(spec['items']) + "[]" }}{%- else -%}{{- "any[]" }}{%- endif -%}
    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string and spec.type is not mapping and spec.type[0] is defined -%}
        {%- if spec.type | length > 1 -%}{{- spec.type | join(" | ") }}{%- else -%}{{- spec.type[0] }}{%- endif -%}
    {%- elif spec.enum is defined -%}
        {{- '"' + spec.enum|join('" | "') + '"' -}}
    {%- elif spec.type == "object" -%}
        {{- "{\\n" }}
        {%- for name, inner in (spec.properties or {}).items() -%}
            {{- name -}}{%- if name not in (spec.required or []) -%}{{- "?" }}{%- endif -%}{{- ": " }}{{ render_type(inner, is_required=name in (spec.required or [])) }}
            {%- if not loop.last -%}{{-", " }}{%- endif -%}
        {%- endfor -%}
        {{- "}" }}
    {%- elif spec.type in ["number", "integer"] -%}number
    {%- else -%}{{- spec.type or "any" }}{%- endif -%}
{%- endmacro -%}
<|start|>system<|message|>{{ "Knowledge cutoff: 2024-06\\n" }}{% if reasoning_effort is not defined %}{% set reasoning_effort = "medium" %}{% endif %}Reasoning: {{ reasoning_effort }}<|end|>
{%- if tools %}
{{- "# Tools\\n\\nnamespace functions {\\n\\n" }}
{%- for tool in tools %}{% set tool = tool.function %}
// {{ tool.description | replace("\\n", "\\n// ") }}
type {{ tool.name }} = (_: {{ render_type(tool.parameters) }}) => any;
{%- endfor %}
{%- endif %}
{%- for message in messages recursive %}
{%- if message.children is defined %}{{ loop(message.children) }}{% endif %}
<|start|>{{ message.role }}<|message|>{{ message.content | default('', true) }}<|end|>
{%- endfor %}
"""

# Loop controls, generation blocks, filter blocks, call blocks and set blocks.
SMOLLM3 = """{%- set today = strftime_now("%Y") -%}
{%- if today | length != 4 %}{{ raise_exception("no year") }}{% endif -%}
{%- macro wrapped() %}[{{ caller('x') if caller else '' }}]{% endmacro %}
{%- call(tag) wrapped() %}{{ tag }}!{% endcall %}
{%- set header %}System ({{ messages | length }}){% endset %}
{{ header | upper }}
{% filter indent(2, true) %}
{% for message in messages %}
{% if message.role == 'tool' %}{% continue %}{% endif %}
{% if loop.index > 3 %}{% break %}{% endif %}
{% if message.role == 'assistant' %}
{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}

{% else %}
{{ loop.cycle('a', 'b') }} {{ message.role.title() }}: {{ message.content }}
{% endif %}
{% else %}
nothing
{% endfor %}
{% endfilter %}
"""

GRANITE = """{%- set ns = namespace(texts=[], n=0) %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set ns.texts = ns.texts + [message.content] %}
    {%- elif message.content is iterable and message.content is not none %}
        {%- for part in message.content if part.type == 'text' %}
            {%- set ns.texts = ns.texts + [part.text | trim] %}
        {%- endfor %}
    {%- endif %}
    {%- set ns.n = ns.n + (message.content | length if message.content else 0) %}
{%- endfor %}
{{- '<|start_of_role|>system<|end_of_role|>' ~ "%d texts, %s" % (ns.texts | length, ns.n) ~ '<|end_of_text|>\\n' }}
{%- for role, group in messages | groupby('role') %}
{{- role }}={{ group | map(attribute='content') | select('string') | map('upper') | join(';') }}
{% endfor %}
{%- for text in ns.texts | unique | sort(reverse=true) %}
{{- loop.index ~ '/' ~ loop.length ~ ': ' ~ text | truncate(40) ~ ' ' ~ text.replace('a', 'A') ~ '\\n' }}
{%- endfor %}
{{- documents | tojson(indent=2) if documents else 'no documents' }}
"""

TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "phi3": PHI3,
    "zephyr": ZEPHYR,
    "command-r": COMMAND_R,
    "deepseek": DEEPSEEK,
    "qwen3": QWEN3,
    "gpt-oss": GPT_OSS,
    "smollm3": SMOLLM3,
    "granite": GRANITE,
}

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather at a place.\nIn Celsius.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Größe <b> 'x' \"y\""},
                    "days": {"type": ["integer", "null"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "unit": {"enum": ["C", "F"]},
                    "at": {"type": "object", "properties": {"lat": {"type": "number"}}, "additionalProperties": {"type": "integer"}},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
]  # fmt: skip

USER = {"role": "user", "content": "  What is the capital of France? \n"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}}],
}  # fmt: skip

CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "one question": [USER],
    "system": [{"role": "system", "content": "Be brief."}, USER],
    "turns": [USER, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And\n\nItaly?"}],
    "thinking": [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nParis"}],
    "tool": [USER, CALL, {"role": "tool", "content": "22 °C"}, {"role": "assistant", "content": "Warm."}],
    "tool result": [USER, CALL, {"role": "tool", "content": {"content": [1, 2.5, None, True]}}],
    "out of order": [{"role": "assistant", "content": "Hi"}, USER, USER],
    "unicode": [{"role": "user", "content": "naïve 日本語 🦙 <|im_end|> \u2028 {{ 1 }} {% if %}"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "image"}]}],
    "unknown role": [{"role": "narrator", "content": "Once"}],
    "many": [{"role": ("user", "assistant")[i % 2], "content": f"message {i} " * 5} for i in range(60)],
}  # fmt: skip

# Expressions and statements, one feature each.
SNIPPETS = (
    "{{ 'a' ~ 1 ~ none ~ true }}", "{{ [1, 2] + [3] }}", "{{ (1, 2) * 2 }}", "{{ 'ab' * 3 }}", "{{ 7 // 2 }}{{ 7 % 4 }}{{ 7 / 2 }}",
    "{{ 2 ** 10 }}", "{{ -5 | abs }}", "{{ '%s-%05.1f' % ('x', 2.25) }}", "{{ '%s' | format(3) }}", "{{ '{} {a:>5}'.format(1, a='b') }}",
    "{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'[:2] }}{{ 'abc'[::-1] }}", "{{ {'a': 1}['a'] }}{{ {'a': 1}.a }}{{ {'a': 1}.get('b', 2) }}",
    "{{ {'b': 1, 'a': 2} | dictsort }}", "{{ {'a': [1, {'b': none}]} }}", "{{ {'a': 'é\"'} | tojson }}", "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
    "{{ [1, 2] | tojson(indent=2) }}", "{{ 'é<' | tojson(ensure_ascii=true) }}", "{{ [1, 2] | tojson(separators=(',', ':')) }}",
    "{{ x is defined }}{{ x is undefined }}{{ x }}{{ x | default('d') }}{{ x or 'y' }}", "{{ none | default('d') }}{{ none | default('d', true) }}",
    "{{ 1 if x else 2 }}{{ 1 if x }}", "{{ 1 < 2 <= 2 != 3 }}{{ 1 in [1] }}{{ 'a' not in 'abc' }}", "{{ not (true and false or x) }}",
    "{{ 1 is odd }}{{ 2 is even }}{{ 4 is divisibleby 2 }}{{ 1 is number }}{{ 'a' is string }}{{ [] is sequence }}{{ {} is mapping }}",
    "{{ 1 is eq(1) }}{{ 1 is sameas(1) }}{{ 'a' is in('ab') }}{{ 'a' is lower }}{{ none is none }}{{ true is boolean }}{{ 1.5 is float }}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ loop.index }}{{ a }}{{ b }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{% endfor %}",
    "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{% for c in 'ab' %}{{ c }}{% endfor %}{% for k in {'z': 1} %}{{ k }}{% endfor %}",
    "{% for x in [1, 2, 3] if x > 1 %}{{ loop.length }}{{ x }}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}", "{% for x in [] %}{% else %}none{% endfor %}",
    "{% for x in range(3) %}{{ x }}{% if x == 1 %}{% break %}{% endif %}{% endfor %}", "{% for x in y %}{{ x }}{% endfor %}",
    "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{{ loop.depth }}{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}", "{% set ns = namespace(a=1) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a %} x {% endset %}[{{ a }}]", "{% set a | upper %}x{% endset %}{{ a }}", "{% with a = 1 %}{{ a }}{% endwith %}{{ a }}",
    "{% macro f(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1) }}{{ f(1, 3, 4) }}{{ f(b=1, a=2, c=3) }}",
    "{% macro f(n) %}{{ n }}{{ f(n - 1) if n else '' }}{% endmacro %}{{ f(9) }}", "{% block a %}x{% endblock %}{{ self.a() }}", "{% raw %}{{ x }}{% endraw %}{# comment #}",
    "{{ ' a '.strip() }}{{ 'a,b'.split(',') }}{{ 'a\\nb'.splitlines() }}{{ 'abc'.startswith('a') }}{{ 'aXb'.lower() }}{{ 'a b'.title() }}",
    "{{ 'ab'.replace('a', 'x') }}{{ 'a'.center(5) }}{{ '7'.zfill(3) }}{{ 'a'.ljust(3) }}|{{ 'abc'.find('c') }}{{ 'a-b-c'.rsplit('-', 1) }}{{ 'abab'.count('a') }}",
    "{{ ', '.join(['a', 'b']) }}{{ ', '.join(['a'] | map('upper')) }}{{ 'x'.join('abc') }}{{ 'a-b'.partition('-') }}{{ 'abc'.removeprefix('a') }}{{ 'a\\tb'.expandtabs(4) }}",
    "{{ [3, 1, 2] | sort }}{{ [1, 2] | first }}{{ [1, 2] | last }}{{ [1, 2] | reverse | list }}{{ [1, 2] | sum }}{{ [1, 2] | max }}{{ [1, 1] | unique | list }}",
    "{{ [{'a': 1}, {'a': 2}] | selectattr('a', 'gt', 1) | list }}{{ [{'a': 1}] | map(attribute='a') | list }}{{ [0, 1] | select | list }}{{ [1, 2] | reject('odd') | list }}",
    "{{ [{'a': 1}, {}] | rejectattr('a') | list }}{{ [{'a': {'b': 1}}] | sum(attribute='a.b') }}{{ [1, 2, 3] | batch(2) | list }}{{ [1, 2, 3] | slice(2) | list }}",
    "{{ 'a b c' | wordcount }}{{ 'abc' | length }}{{ 'abc' | count }}{{ 'Ab' | capitalize }}{{ 'ab' | center(6) }}|{{ 'x' | indent }}{{ 'a\\nb' | indent(2) }}",
    "{{ '<a>' | e }}{{ '<a>' | safe }}{{ ('<a>' | escape) ~ '<b>' }}{{ '3.7' | float | int }}{{ '12' | int }}{{ 'x' | int(5) }}{{ 2.567 | round(1) }}{{ 1 | string }}",
    "{{ 'a' in {'a': 1} }}{{ messages[0].role }}{{ messages[0]['nothing'] }}{{ messages[99] }}{{ (messages | last).content }}", "{{ dict(a=1) }}{{ dict([('b', 2)]) }}",
    "{{ cycler('a', 'b').next() }}{% set j = joiner(', ') %}{{ j() }}x{{ j() }}y", "{{ 'abc' | list }}{{ 'a b' | urlencode }}{{ 1000000 | filesizeformat }}{{ 'a' | upper | lower }}",
    "{{ messages | map(attribute='role') | join(', ') }}{{ messages | groupby('role') | length }}{{ range(2, 8, 3) | list }}", "{{ [1, 2] == [1, 2] }}{{ {'a': 1} == {'a': 1} }}{{ (1, 2) == (1, 2) }}",
    "  {% if true %}  \n  x\n  {%- endif %}\n  {%+ if true %}y{% endif %}\n\n{{ 'z' -}}  \n w", "{{ 'a' if 'b' is defined and 'c' in 'cd' else 'e' }}", "{{ 1e3 }}{{ 0x1f }}{{ 1_000 }}",
    "{{ x.y }}", "{{ 1 + 'a' }}", "{{ undefined_function() }}", "{{ [] | first }}", "{{ 'a' | nothing }}", "{{ 1 / 0 }}", "{{ none.x }}", "{{ [1][5] }}", "{{ 'x' | attr('upper') }}",
)  # fmt: skip
