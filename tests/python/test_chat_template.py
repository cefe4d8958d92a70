"""Chat templates: those of real models as plain jinja2 renders them, bombs refused at once."""

import functools
import json
import threading
import time
from datetime import datetime

import jinja2
import jinja2.ext
import pytest

from chat_template_samples import CONVERSATIONS, SNIPPETS, TEMPLATES, TOOLS
from realm_ext import FormatError, InvalidRequest
from realm_ext.text import ChatTemplate
from realm_ext.text._template_syntax import GenerationBlock

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def plain_render(text, messages, **variables):
    """What transformers does, without any bound."""

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[jinja2.ext.loopcontrols, GenerationBlock],
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    variables = {"add_generation_prompt": True, "tools": None, "documents": None, **variables}
    return environment.from_string(text).render(messages=messages, **TOKENS, **variables)


def outcome(render, text, messages, **variables):
    try:
        return render(text, messages, **variables)
    except Exception:
        return "refused"


compiled = functools.cache(ChatTemplate)


def our_render(text, messages, **variables):
    return compiled(text).render(messages, **TOKENS, **variables)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
@pytest.mark.parametrize("style", TEMPLATES, ids=str)
def test_templates_of_real_models_render_as_plain_jinja_does(style, conversation):
    messages = CONVERSATIONS[conversation]
    for variables in (
        {},
        {"tools": TOOLS},
        {"add_generation_prompt": False, "enable_thinking": False, "documents": [{"a": 1}]},
    ):
        wanted = outcome(plain_render, TEMPLATES[style], messages, **variables)
        assert outcome(our_render, TEMPLATES[style], messages, **variables) == wanted


def test_most_conversations_are_rendered_and_not_refused():
    rendered = [
        outcome(our_render, template, messages) != "refused"
        for template in TEMPLATES.values()
        for messages in CONVERSATIONS.values()
    ]
    assert sum(rendered) > 0.65 * len(rendered)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_every_feature_renders_as_plain_jinja_does(snippet):
    messages = CONVERSATIONS["turns"]
    wanted = outcome(plain_render, snippet, messages)
    got = outcome(our_render, snippet, messages)
    if " object at 0x" in wanted or "method" in wanted:
        wanted, got = wanted[:12], got[:12]
    assert got == wanted


def test_a_refusal_by_the_template_is_the_callers_fault():
    with pytest.raises(InvalidRequest, match="must alternate"):
        our_render(TEMPLATES["gemma"], CONVERSATIONS["out of order"])
    with pytest.raises(InvalidRequest, match="has no attribute 'content'"):
        our_render(TEMPLATES["chatml"], [{"role": "user"}])


def test_messages_without_a_role_are_refused():
    for wrong in ([{"content": "x"}], ["x"], [{"role": 1}]):
        with pytest.raises(InvalidRequest, match=r"messages\[0\]"):
            our_render("x", wrong)


def test_messages_that_contain_themselves_are_refused():
    message = {"role": "user"}
    message["content"] = [message]
    with pytest.raises(InvalidRequest, match="contain themselves"):
        our_render("{{ messages }}", [message])


def test_a_template_that_is_none_is_a_format_error():
    for text in (
        "{{ ",
        "{% for m in messages %}",
        "{% nothing %}",
        "{{ 1 + }}",
        "{{ 'a' | nothing }}",
    ):
        with pytest.raises(FormatError, match=r"tokenizer\.chat_template: "):
            ChatTemplate(text)


def test_long_conversations_are_no_bombs():
    text = "a sentence of an ordinary length, said for the sake of saying it. " * 40
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i in range(1000)]
    for style in ("qwen3", "llama3", "mistral", "deepseek"):
        assert our_render(TEMPLATES[style], messages).count("sentence") >= 1000


DOUBLING = "{%% set ns = namespace(s=%s) %%}{%% for i in range(99) %%}{%% set ns.s = %s %%}{%% endfor %%}%s"
BIG = "{% set b = 'a' * 900000 %}"
FOREVER = "{%% for i in range(99999) %%}{%% for j in range(99999) %%}%s{%% endfor %%}{%% endfor %%}"
BOMBS = {
    "class walk": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('echo PWNED').read() }}",
    "globals of a function": "{{ raise_exception.__globals__ }}{{ raise_exception.__globals__.x }}",
    "format attributes": "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "huge range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": FOREVER % "x",
    "nested empty loops": "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "repeat": "{{ 'A' * (2**33) }}",
    "repeat list": "{{ [1] * 10**10 }}",
    "power": "{{ 9**(9**9) }}",
    "squaring": DOUBLING % ("3", "ns.s * ns.s", ""),
    "not closed": "{% for m in messages %}",
    "not closed expression": "{{ ",
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "deep ifs": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "many elifs": "{% if 0 %}" + "{% elif 0 %}" * 1000 + "{% endif %}",
    "deep nots": "{{ " + "not " * 4000 + "1 }}",
    "deep signs": "{{ " + "- " * 4000 + "1 }}",
    "deep inline ifs": "{{ " + "1 if 0 else " * 4000 + "1 }}",
    "wide sum": "{{ " + "1+" * 3000 + "1 }}",
    "wide attributes": "{{ a" + ".b" * 3000 + " }}",
    "wide filters": "{{ 'a'" + "|upper" * 3000 + " }}",
    "many tokens": "{{1}}" * 50000,
    "long": "x" * (1 << 20),
    "long integer": "{{ " + "9" * 100000 + " }}",
    "macro recursion": "{% macro f(n) %}{{ f(n+1) }}{% endmacro %}{{ f(0) }}",
    "block recursion": "{% block a %}{{ self.a() }}{% endblock %}",
    "loop recursion": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "wide loop recursion": "{% for x in [1] recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import '/etc/passwd' as p %}",
    "extends": "{% extends '/etc/passwd' %}",
    "division": "{{ 1 // 0 }}",
    "folded center": "{{ 'a' | center(1000000000) }}",
    "folded format": "{{ '%1000000000d' | format(1) }}",
    "percent width": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (10**9, 1) }}",
    "format width": "{{ '{:>1000000000}'.format(1) }}",
    "format of format": "{{ '{:>{}}'.format(1, 10**9) }}",
    "mapped center": "{{ ['x'] | map('center', 10**10) | list }}",
    "ljust": "{{ 'x'.ljust(10**10) }}",
    "expandtabs": "{{ '\\t'.expandtabs(10**9) }}",
    "to_bytes": "{{ (5).to_bytes(1000000000, 'big') }}",
    "fromkeys": "{{ {}.fromkeys(range(99999), 'x') | length }}",
    "round": "{{ 5 | round(-10**9) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list | length }}",
    "indent": "{{ ('a\n' * 90000) | indent(900) | length }}",
    "join": "{{ range(99999) | join('x' * 90000) | length }}",
    "join of a text": "{{ ('x' * 90000).join(['a'] * 90000) | length }}",
    "doubling": DOUBLING % ("'x'", "ns.s + ns.s", ""),
    "doubling by ~": DOUBLING % ("'x'", "ns.s ~ ns.s", ""),
    "doubling by replace": DOUBLING % ("'x'", "ns.s.replace('x', 'xx')", ""),
    "doubling by format": DOUBLING % ("'x'", "'%s%s' % (ns.s, ns.s)", ""),
    "list of itself twice": DOUBLING % ("[1]", "[ns.s, ns.s]", "{{ ns.s }}"),
    "tuple of itself twice": DOUBLING % ("(1,)", "(ns.s, ns.s)", "{{ {ns.s: 1} }}"),
    "namespace of itself twice": DOUBLING % ("1", "namespace(x=ns.s, y=ns.s)", "{{ ns.s }}"),
    "items of itself twice": DOUBLING % ("{}", "{'a': ns.s.items(), 'b': ns.s.items()}", "{{ ns.s }}"),
    "namespace in itself": "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
    "set block": BIG + "{% set t %}{% for i in range(99999) %}{{ b }}{% endfor %}{% endset %}",
    "set block of static text": "{% set t %}{% for i in range(99999) %}" + "y" * 60000 + "{% endfor %}{% endset %}",
    "macro of static text": "{% macro f() %}" + "y" * 60000 + "{% endmacro %}{% for i in range(99999) %}{% set a = f() %}{% endfor %}",
    "sort": "{% set l = ['x' * 900000] * 90000 %}{{ l | sort | length }}",
    "sum of lists": "{{ ([[1] * 100] * 9999) | sum(start=[]) | length }}",
    "slices": BIG + "{% for i in range(99999) %}{% set c = b[1:] %}{% endfor %}",
    "keeping": BIG + "{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = ns.l + [b ~ i] %}{% endfor %}",
    "search": BIG + FOREVER % "{% if 'aaab' in b %}{% endif %}",
    "search by a test": BIG + "{{ (['b' * 9] * 90000) | select('in', b) | list | length }}" * 900,
    "search from the right": BIG + "{{ b.rfind('b' + 'a' * 400000) }}",
    "equal lists": "{% set l = [[1] * 1000] * 90 %}" + FOREVER % "{% if l == [[1] * 1000] * 90 %}{% endif %}",
    "generators": "{% set ns = namespace(g=range(99999)) %}{% for i in range(500) %}{% set ns.g = ns.g | select('number') %}{% endfor %}{{ ns.g | list | length }}",
    "strftime": "{{ strftime_now('%Y' * 100000) }}",
    "cycler": "{% set c = cycler('a') %}" + FOREVER % "{{ c.next() }}",
}  # fmt: skip


def seconds_to_refuse(text):
    """Processor time, so that a busy machine fails no test."""
    begin = time.thread_time()
    with pytest.raises(FormatError):
        ChatTemplate(text).render([{"role": "user", "content": "hi"}])
    return time.thread_time() - begin


@pytest.mark.parametrize("bomb", BOMBS, ids=str)
def test_a_bomb_is_a_format_error_within_a_second(bomb):
    assert seconds_to_refuse(BOMBS[bomb]) < 0.8


def test_bombs_are_refused_in_any_thread_also_in_several_at_once():
    seconds = []
    names = ("nested loops", "power", "macro recursion", "deep parentheses", "doubling", "cycler")
    threads = [
        threading.Thread(target=lambda n=name: seconds.append(seconds_to_refuse(BOMBS[n])))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seconds) == len(names)
    assert max(seconds) < 0.8


def test_bombs_leave_memory_alone():
    resource = pytest.importorskip(
        "resource", reason="this system does not say how much memory was used"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, bomb in BOMBS.items():
        if name.startswith(
            ("repeat", "doubling", "set block", "macro of", "sort", "slices", "keeping", "join")
        ):
            seconds_to_refuse(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ messages[-99999999999999999999] }}", ""),
        ("{{ ''|attr('__class__')|attr('__base__') }}", ""),
        ("{{ messages.append(1) }}", None),
        ("{{ messages[0].update({'role': 'x'}) }}", None),
        ("{{ ''.__class__ }}", ""),
    ],
)
def test_reaching_out_of_the_sandbox_gives_nothing(text, result):
    messages = [{"role": "user", "content": "hi"}]
    if result is None:
        with pytest.raises(FormatError):
            ChatTemplate(text).render(messages)
    else:
        assert ChatTemplate(text).render(messages) == result
    assert messages == [{"role": "user", "content": "hi"}]


def test_names_of_the_accounting_give_a_template_no_more_than_it_has():
    for name in ("spend it", "made it", "each of it", "use it"):
        text = "{{ [1] | map('" + name + "') | list | length }}"
        assert outcome(our_render, text, []) in ("1", "refused")
    text = "{% for i in range(99999) %}{{ [-10**9] | map('spend it') | list }}{% endfor %}" * 9
    assert seconds_to_refuse(text) < 0.8
