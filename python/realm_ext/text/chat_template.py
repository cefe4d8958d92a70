"""Chat templates: how a model was trained to read a conversation, as a jinja2 program in its file.

A template comes from whoever made the file, so it runs in jinja2's immutable sandbox, with a bound on what
it does (see _budget.py): one that asks for too much is refused within a second, whatever it is. Templates
that stay below give what plain jinja2 with the settings of `transformers` gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

from realm_ext.errors import FormatError, InvalidRequest
from realm_ext.text import _template_syntax as syntax
from realm_ext.text._bounded import (
    BoundedFormat,
    TemplateRefusalError,
    bounded_filters,
    bounded_operation,
    bounded_tests,
    check_method,
    raise_exception,
    strftime_now,
)
from realm_ext.text._budget import Budget, Rendering, TemplateLimitError, current, measure

Message = Mapping[str, Any]

_MAX_INPUTS = 1 << 20  # values
_LONGEST_MESSAGE = 1000  # of an error
_SCOPES = ("_loop_vars", "_block_vars")  # what jinja2 adds to calls
_BUILT_IN = (str, bytes, int, float, list, tuple, dict, set, frozenset, range, type)


class ChatTemplate:
    """A template, compiled; safe to share between threads.

    Args:
        text: The jinja2 source.

    Raises:
        FormatError: It is not a template, or one that does too much.

    Example:
        >>> from realm_ext.text import ChatTemplate
        >>> template = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
        >>> template.render([{"role": "user", "content": "Hi"}])
        '<user>Hi'
    """

    def __init__(self, text: str) -> None:
        """Compile a template."""
        self.text = text
        try:
            self._template = _compile(text)
        except Exception as error:
            raise _format_error(error) from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """Write a conversation.

        Args:
            messages: What was said, each a mapping with "role" and mostly "content".
            add_generation_prompt: Whether to end with what begins the model's answer.
            tools: Functions the model may call, as JSON schemas.
            documents: Texts the model may cite.
            **variables: What else the template reads, `bos_token` for one.

        Raises:
            InvalidRequest: The template refuses these messages, or misses something in them.
            FormatError: The template fails, or does too much.

        Example:
            >>> from realm_ext.text import ChatTemplate
            >>> ChatTemplate("{{ bos_token }}{{ messages|length }}").render([], bos_token="<s>")
            '<s>0'
        """
        _check_messages(messages)
        variables = {
            "messages": messages,
            "tools": tools,
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
            **variables,
        }
        with Rendering(Budget(_inputs(variables))):
            return self._render(variables)

    def _render(self, variables: dict[str, Any]) -> str:
        try:
            parts = list(self._template.root_render_func(self._template.new_context(variables)))
        except TemplateRefusalError as error:
            raise InvalidRequest(f"the chat template refuses: {_short(error)}") from error
        except jinja2.UndefinedError as error:
            raise InvalidRequest(f"the chat template misses something: {_short(error)}") from error
        except Exception as error:
            raise _format_error(error) from error
        return "".join(parts)


def _check_messages(messages: Sequence[Message]) -> None:
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidRequest(f"messages[{i}] is no mapping with a role")


def _inputs(variables: dict[str, Any]) -> int:
    try:
        return sum(measure(variables, _MAX_INPUTS))
    except TemplateLimitError as error:
        raise InvalidRequest(
            f"the messages are too large, or contain themselves: {error}"
        ) from None


def _format_error(error: Exception) -> FormatError:
    kind = (
        ""
        if isinstance(error, (TemplateLimitError, jinja2.TemplateError))
        else type(error).__name__
    )
    return FormatError(f"tokenizer.chat_template: {kind}{': ' if kind else ''}{_short(error)}")


def _short(error: Exception) -> str:
    return str(error)[:_LONGEST_MESSAGE]


@pass_context
def _print(context: Context, value: Any) -> str:
    """Bound each thing a template prints; also keeps jinja2 from computing constants when it compiles."""
    budget = current()
    budget.print(budget.use(value))
    return value if isinstance(value, str) else str(value)


class _Environment(ImmutableSandboxedEnvironment):
    """The settings of transformers, and accounting for every call and operator."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=_print,
            extensions=["jinja2.ext.loopcontrols", syntax.GenerationBlock],
        )
        self.filters = {**bounded_filters(), **_ACCOUNTING}
        self.tests.update(bounded_tests())
        self.globals.pop("lipsum")
        self.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = current()
        bounded_operation(budget, operator, left, right)
        return budget.made(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> BoundedFormat | None:
        wrapped = super().wrap_str_format(value)
        return BoundedFormat(value.__self__, wrapped) if wrapped else None

    def call(self, context: Context, function: Any, /, *args: Any, **named: Any) -> Any:
        budget = current()
        written = {name: value for name, value in named.items() if name not in _SCOPES}
        for value in (*args, *written.values()):
            budget.use(value)
        if isinstance(getattr(function, "__self__", None), _BUILT_IN):
            args = check_method(budget, function, args, written)
        if isinstance(function, LoopContext):
            args = (budget.counted(args[0]), *args[1:]) if args else args
        budget.enter()
        try:
            return budget.made(super().call(context, function, *args, **named))
        finally:
            budget.leave()


class _Counted:
    """What a loop runs over; knows its length if that did."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __iter__(self) -> Any:
        return current().counted(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _use(value: Any) -> Any:
    current().use(value)
    return value


def _made(value: Any) -> Any:
    return current().made(value)


def _spend(characters: int) -> str:
    current().print_static(max(1, int(characters)))
    return ""


def _concat(*values: Any) -> str:
    budget = current()
    return str(budget.made("".join(_text(budget, value) for value in values)))


def _text(budget: Budget, value: Any) -> str:
    budget.use(value)
    return str(value)


_ACCOUNTING = {
    syntax.USE: _use,
    syntax.MADE: _made,
    syntax.EACH: _Counted,
    syntax.SPEND: _spend,
    syntax.CONCAT: _concat,
}


def _compile(text: str) -> jinja2.Template:
    environment = _Environment()
    syntax.check_text(environment, text)
    tree = environment.parse(text)
    syntax.check_tree(tree)
    code = environment.compile(syntax.Accounting().visit(tree), filename="<chat template>")
    return jinja2.Template.from_code(environment, code, environment.make_globals(None))
