# SPDX-License-Identifier: MIT
"""Chat templates and what jinja2 makes of conversations with them: prints the lines of renderings.jsonl.

    python3 tests/golden/templates/make.py > tests/golden/templates/renderings.jsonl        # needs the Python package jinja2

The templates are written for this project after the formats that the models' cards describe; none is a copy. jinja2 is set up as
transformers does it: trim_blocks, lstrip_blocks, break and continue, raise_exception, tojson without HTML escapes.
"""
import json
import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
env.globals['raise_exception'] = raise_exception
env.filters['tojson'] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)

CHATML = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
SMOLLM2 = """{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
LLAMA2 = """{% if messages[0]['role'] == 'system' %}
{%   set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
{%   set turns = messages[1:] %}
{% else %}
{%   set system = '' %}
{%   set turns = messages %}
{% endif %}
{% for message in turns %}
{%   if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must alternate user/assistant/user/assistant/...') }}
{%   endif %}
{%   set content = system + message['content'] if loop.index0 == 0 else message['content'] %}
{%   if message['role'] == 'user' %}
{{-     bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
{%-  elif message['role'] == 'assistant' %}
{{-     ' ' + content.strip() + ' ' + eos_token }}
{%-  endif %}
{%- endfor %}
"""
LLAMA3 = """{% set loop_messages = messages %}
{%- for message in loop_messages %}
    {%- set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}
    {%- if loop.index0 == 0 %}
        {%- set content = bos_token + content %}
    {%- endif %}
    {{- content }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{#- The system message comes out, so that it can be put into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif message.role == "tool" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
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
QWEN = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and loop.last %}
            {{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
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
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = namespace(count=0) %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] not in ["user", "assistant"] %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- set user_messages.count = user_messages.count + 1 %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""
PHI = """{% for message in messages %}{% if (message['role'] in ['system', 'user', 'assistant']) and message['content'] %}\
{{'<|' + message['role'] + '|>' + '\\n' + message['content'] + '<|end|>' + '\\n'}}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""
VICUNA = """{%- for message in messages -%}
{%- if message.role == 'system' %}{{ message.content }}{{ '\\n\\n' }}
{%- else %}{{ message.role | upper }}: {{ message.content | trim }}{{ ' ' if message.role == 'user' else '</s>' }}{% endif -%}
{%- endfor -%}
{{ 'ASSISTANT:' if add_generation_prompt }}"""

CONVERSATIONS = [
    [('user', 'Hello!')],
    [('system', ' You are terse.\n'), ('user', 'What is 1+1?')],
    [('user', '  Hi \n'), ('assistant', '\tHello. How are you?\u00a0'), ('user', 'Fine — "thanks" & <b>you</b>? 日本')],
    [('system', 'S'), ('user', 'a'), ('assistant', '<think>\nhm\n</think>\n\nb'), ('user', 'c'), ('assistant', 'd'), ('user', '')],
    [('user', 'a'), ('user', 'b')],
    [('user', '<tool>x</tool>'), ('assistant', 'y'), ('tool', 'z'), ('tool', 'w')],
    [],
]
TEMPLATES = dict(chatml=CHATML, smollm2=SMOLLM2, llama2=LLAMA2, llama3=LLAMA3, llama31=LLAMA31, qwen=QWEN, zephyr=ZEPHYR, mistral=MISTRAL,
    gemma=GEMMA, phi=PHI, vicuna=VICUNA)

# Single constructs: name of the line, template; variables are those of the second conversation.
PIECES = """
{{ 1 + 2 * 3 - 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ - 3 }}
{{ 'a' ~ 1 ~ none ~ true ~ nothing }}|{{ "x\\ty\\u00e9\\x41\\d" }}|{{ 'a' 'b' }}
{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'aéc'[1:] }}{{ 'abc'[:-1] }}{{ 'abc'[5:] }}{{ 'abc'[9] }}{{ 'abc'[2:1] }}
{{ [1,2,3][::-1] | join(',') }} {{ [1,2,3,4][1::2] | join('-') }} {{ [1,2,3][-2:] | join }} {{ [1,2,3,4][3:0:-2] | join }}
{{ 'a' in 'cat' }} {{ 'x' not in ['x'] }} {{ 'k' in {'k': 1} }} {{ 1 in (2, 1) }}
{{ not true or true and false }} {{ 'yes' if 1 == 1 else 'no' }} {{ 'no' if false }}| {{ 1 == true }} {{ none == nothing }}
{{ 'b' > 'a' }} {{ 2 <= 2 }} {{ 'Z' < 'a' }} {{ 3 != 4 }} {{ 'a' == "a" }}
{{ nothing is defined }} {{ nothing is not defined }} {{ messages is iterable }} {{ none is none }} {{ 4 is divisibleby(2) }} {{ 3 is odd }}
{{ 'x' is string }} {{ 1 is number }} {{ true is boolean }} {{ {} is mapping }} {{ [] is sequence }} {{ true is integer }} {{ 1 is eq(1) }}
{{ nothing | default('d') }} {{ '' | default('d') }} {{ '' | default('d', true) }} {{ none | d('d') }} {{ nothing | length }}
{{ {'a': [1, 'é"\\n\\u001f', none, true], 'b': {}} | tojson }} {{ [] | tojson }} {{ {'a': [1], 'b': []} | tojson(indent=2) }}
{{ '  a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,,c'.split(',') | join('|') }}|{{ ' a  b '.split() | join('|') }}|{{ 'a.b.c'.split('.', 1) | join('|') }}
{{ 'aXbX'.replace('X', '--') }} {{ 'Ab'.upper() }} {{ 'Ab'.lower() }} {{ 'aBC'.capitalize() }} {{ 'ab'.startswith('a') }} {{ 'ab'.endswith('ab') }}
{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }}{{ ', ' if not loop.last }}{% endfor %} {{ {'x': 1}.get('x') }} {{ {'x': 1}.get('y', 'z') }} {{ {'x': 1}.get('q') }}
{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{% else %}none{% endfor %}{% for m in [] %}{% else %}empty{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{{ loop.revindex0 }}{% endfor %} {{ range(2, 9, 3) | join(' ') }}
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}
{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.found = m.role == 'user' %}{% endfor %}{{ ns.n }} {{ ns.found }} {{ ns.missing }}
a {%- if true -%} b {%- endif +%} c {# note -#}   d{{- ' e ' -}} f {%+ if true %} g{% endif %}
{{ messages | length }} {{ messages[-1].content | trim | upper }} {{ (messages | first).role }} {{ messages | last | length }} {{ 'abc' | last }}
{{ messages[0]['missing'] }}{{ messages[7] }}{{ messages[0].content[0:4] }}{{ '%' ~ '}' ~ "}}" ~ '{%' }} {{ {'a': {'b': 1}}['a']['b'] }}
{{ loop is defined }}{% for a in [[1, 2], [3, 4]] %}{% for b in a %}{{ loop.index }}{% endfor %}{{ loop.index0 }}{{ loop.previtem is defined }}{% endfor %}
{% for x, y in [[1, 2]] %}{{ x ~ y }}{% endfor %}{% for c in {'b': 1, 'a': 2} %}{{ c }}{% endfor %} {{ ([1] + [2, 3]) | length }}
{% if false %}a{% elif nothing %}b{% elif 1 %}c{% else %}d{% endif %} {{ '' or 'x' }} {{ 0 and 1 }} {{ [] or none }} {{ not '' }}
""".strip().split('\n')
PIECES += ["  {% if true %}  \n   x\n  {% endif %}\n  {{ 1 }}\n  {# c #}\n y \n\n", "a\r\nb\r{% if true %}\r\nc{% endif %}\r\n", "x\n", "\n\n", "{{ 'a\n b' }}"]


def line(name, source, variables):
    out = dict(name=name, template=source, variables=variables)
    try:
        out['expected'] = env.from_string(source).render(**variables)
    except Refused as refused:
        out['refused'] = str(refused)
    except jinja2.exceptions.UndefinedError:
        out['refused'] = 'undefined'
    print(json.dumps(out, ensure_ascii=False))


for name, source in TEMPLATES.items():
    for turns in CONVERSATIONS:
        for prompt in (True, False):
            messages = [dict(role=role, content=content) for role, content in turns]
            line(name, source, dict(messages=messages, bos_token='<s>', eos_token='</s>', add_generation_prompt=prompt))
for source in PIECES:
    messages = [dict(role=role, content=content) for role, content in CONVERSATIONS[1]]
    line('piece', source, dict(messages=messages, bos_token='<s>', eos_token='</s>', add_generation_prompt=True))
