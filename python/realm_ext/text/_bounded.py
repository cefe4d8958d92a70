"""What a chat template may call: filters, methods and functions, each with a bound on what it makes.

Every function here accounts for its arguments and its result with the current budget, and those that can
make much from little compute the size first. What is not listed cannot be called.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import filters, tests
from jinja2.utils import pass_eval_context

from realm_ext.text._budget import Budget, TemplateLimitError, current

_WIDEST = 1000
_DIGITS = re.compile(r"\d{4}|\*")
_NESTED_FIELD = re.compile(r"\{[^{}]*\{")


class TemplateRefusalError(jinja2.TemplateError):
    """A template called raise_exception: it refuses the messages."""


# ---- Bounds. Each takes the budget, the value a filter or method works on, and its arguments.


def _narrow(budget: Budget, value: Any, *numbers: Any, **named: Any) -> None:
    for number in (*numbers, *named.values()):
        if isinstance(number, (int, float)) and abs(number) > _WIDEST:
            raise TemplateLimitError(f"{number} is more than {_WIDEST}")


def _bound_indent(
    budget: Budget, value: str, width: int | str = 4, first: bool = False, blank: bool = False
) -> None:
    _narrow(budget, value, width)
    each = len(width) if isinstance(width, str) else width
    budget.reserve(len(value) + (1 + len(str(value).splitlines())) * each)


def _bound_replace(budget: Budget, value: Any, old: Any, new: Any, count: Any = None) -> None:
    text, old, new = str(value), str(old), str(new)
    hits = text.count(old) if old else len(text) + 1
    budget.reserve(len(text) + hits * max(0, len(new) - len(old)))


def _bound_join(budget: Budget, separator: Any, values: Iterable[Any]) -> list[Any]:
    """Give the values as a list, whose join is not too long."""
    items = list(budget.counted(values))
    budget.reserve(budget.use(items) + len(items) * len(str(separator)))
    return items


def _bound_percent(budget: Budget, template: str, values: Any) -> None:
    if len(template) > _WIDEST or _DIGITS.search(template):
        raise TemplateLimitError("its format is too wide")
    budget.reserve(len(template) + template.count("%") * (_WIDEST + _printed(budget, values)))


def _bound_braces(budget: Budget, template: str, values: Any) -> None:
    if len(template) > _WIDEST or _DIGITS.search(template) or _NESTED_FIELD.search(template):
        raise TemplateLimitError("its format is too wide")
    budget.reserve(len(template) + template.count("{") * (_WIDEST + _printed(budget, values)))


def _bound_search(budget: Budget, value: str, needle: Any = None, *_: Any) -> None:
    """Searching from the right takes time in proportion to both lengths."""
    if isinstance(needle, str):
        budget.charge(len(value) * min(len(needle), len(value)) // 64)
        if len(needle) > _WIDEST:
            raise TemplateLimitError(f"it searches for {len(needle)} characters")


def _bound_tabs(budget: Budget, value: str, tabsize: int = 8) -> None:
    _narrow(budget, value, tabsize)
    budget.reserve(len(value) + value.count("\t") * tabsize)


def _bound_sum(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, (int, float)):
        raise TemplateLimitError("it sums what are no numbers")


def _bound_int(budget: Budget, value: Any, default: Any = 0, base: int = 10) -> None:
    if isinstance(value, str):
        _narrow(budget, value, len(value))


def _printed(budget: Budget, value: Any) -> int:
    """A bound of the length of a value when printed; escapes make characters up to ten times as long."""
    return budget.use(value) * (1 if isinstance(value, str) else 10)


# ---- Filters


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    if indent is None:
        return encoder.encode(value)
    budget, parts, length = current(), [], 0
    for part in encoder.iterencode(value):
        length += len(part)
        budget.reserve(length)
        parts.append(part)
    return "".join(parts)


@pass_eval_context
def _join(context: Any, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    return filters.sync_do_join(context, _bound_join(current(), d, value), d, attribute)


_FILTER_BOUNDS: dict[str, Callable[..., Any]] = {
    "batch": _narrow,
    "center": _narrow,
    "format": lambda budget, value, *args, **named: _bound_percent(
        budget, str(value), [*args, named]
    ),
    "indent": _bound_indent,
    "int": _bound_int,
    "replace": _bound_replace,
    "round": _narrow,
    "slice": _narrow,
    "sum": _bound_sum,
    "tojson": _narrow,
}
# Filters and tests that look at no more of a value than its outside, and make nothing.
_CHEAP_FILTERS = frozenset("attr count d default first last length".split())
_CHEAP_TESTS = frozenset(
    "boolean callable defined false float integer iterable mapping none number sequence string true"
    " undefined".split()
)
# jinja2's own but for those that take quadratic time (striptags, urlize, wordwrap, pprint) or draw lots
# (random).
_FILTERS = (
    "abs attr batch capitalize center count d default dictsort e escape filesizeformat first float"
    " forceescape format groupby indent int items join last length list lower map max min reject"
    " rejectattr replace reverse round safe select selectattr slice sort string sum title tojson trim"
    " truncate unique upper urlencode wordcount xmlattr"
).split()


def bounded_filters() -> dict[str, Callable[..., Any]]:
    """Every filter that templates may use, by name."""
    own: dict[str, Callable[..., Any]] = {"tojson": _tojson, "join": _join}
    return {name: _bounded(name, own.get(name, filters.FILTERS[name])) for name in _FILTERS}


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    bound = _FILTER_BOUNDS.get(name)
    n_context = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def checked(*args: Any, **named: Any) -> Any:
        budget = current()
        budget.charge(8)
        if name in _CHEAP_FILTERS:
            return function(*args, **named)
        for value in (*args[n_context:], *named.values()):
            budget.use(value)
        if bound:
            bound(budget, *args[n_context:], **named)
        return budget.made(function(*args, **named))

    return checked


def bounded_tests() -> dict[str, Callable[..., Any]]:
    """Every test (`is ...`) that templates may use, by name."""
    known = cast(Mapping[str, Callable[..., Any]], tests.TESTS)
    return {name: _bounded_test(name, function) for name, function in known.items()}


def _bounded_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def checked(*args: Any) -> Any:
        budget = current()
        budget.charge(8)
        for value in () if name in _CHEAP_TESTS else args:
            budget.use(value)
        return function(*args)

    return checked


# ---- Methods of values


_STR_BOUNDS: dict[str, Callable[..., None]] = {
    "center": _narrow,
    "expandtabs": _bound_tabs,
    "ljust": _narrow,
    "replace": _bound_replace,
    "rfind": _bound_search,
    "rindex": _bound_search,
    "rjust": _narrow,
    "rpartition": _bound_search,
    "rsplit": _bound_search,
    "zfill": _narrow,
}
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        "capitalize casefold center count endswith expandtabs find index isalnum isalpha isascii"
        " isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join"
        " ljust lower lstrip partition removeprefix removesuffix replace rfind rindex rjust rpartition"
        " rsplit rstrip split splitlines startswith strip swapcase title upper zfill".split()
    ),
    dict: frozenset("copy get items keys values".split()),
    list: frozenset("copy count index".split()),
    tuple: frozenset("count index".split()),
    int: frozenset(("bit_length",)),
    float: frozenset(("is_integer",)),
}


def check_method(
    budget: Budget, method: Any, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, ...]:
    """Refuse a method of a built-in value that is not listed or would make too much.

    Returns:
        The positional arguments to call it with.
    """
    value, name = method.__self__, method.__name__
    kind = next((k for k in _METHODS if isinstance(value, k)), None)
    if kind is None or name not in _METHODS[kind]:
        raise TemplateLimitError(f"it calls {type(value).__name__}.{name}")
    if kind is not str:
        budget.charge(len(value) if hasattr(value, "__len__") and name != "get" else 1)
        return args
    budget.use(value)
    if name == "join" and args:
        return (_bound_join(budget, value, args[0]),)
    if name in _STR_BOUNDS:
        _STR_BOUNDS[name](budget, value, *args, **named)
    return args


class BoundedFormat:
    """`str.format` of one template, as an object that knows its bound."""

    def __init__(self, template: str, function: Callable[..., str]) -> None:
        """Hold the sandbox's own implementation."""
        self._template, self._function = template, function

    def __call__(self, *args: Any, **named: Any) -> str:
        """Format, if the result is small enough."""
        _bound_braces(current(), self._template, [*args, named])
        return self._function(*args, **named)


# ---- Operators


def bounded_operation(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result is too large, before it is computed."""
    budget.charge(4)
    if operator == "*":
        _bound_product(budget, left, right)
    elif operator == "**":
        _bound_power(left, right)
    elif operator == "%" and isinstance(left, str):
        _bound_percent(budget, left, right)
    elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        budget.reserve(len(left) + len(right))


def _bound_product(budget: Budget, left: Any, right: Any) -> None:
    for sequence, times in ((left, right), (right, left)):
        if hasattr(sequence, "__len__") and isinstance(times, int):
            budget.reserve(len(sequence) * max(0, times))


def _bound_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and right > _WIDEST:
        raise TemplateLimitError(f"it raises to the power {right}")


# ---- Functions


def raise_exception(message: str) -> NoReturn:
    """Refuse the messages; templates call it."""
    raise TemplateRefusalError(message)


def strftime_now(layout: str) -> str:
    """Write the present time; templates call it."""
    _narrow(current(), layout, len(layout))
    return datetime.datetime.now().strftime(layout)
