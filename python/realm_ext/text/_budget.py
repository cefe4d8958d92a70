"""How much a chat template may do: operations, characters, time. One budget per rendering.

Templates are programs from strangers. Every loop iteration, call, filter and operator charges the
budget in proportion to what it handles, so that no single step is large, and the clock is read often
enough. Time is that of the thread, so that a busy machine refuses nothing. The limits grow with what
the caller handed in: a long conversation may be rendered, a short one cannot be made long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any

from jinja2.utils import Namespace

# Units are about a tenth of a microsecond.
_UNITS_PER_CLOCK = 4096
_CHARACTERS_PER_UNIT = 64
_INTEGER_BITS = 1 << 12


class TemplateLimitError(Exception):
    """A template does more than it may."""


class Budget:
    """What one rendering may use.

    Args:
        inputs: What the caller handed in, in characters and values together.
    """

    def __init__(self, inputs: int = 0) -> None:
        """Start the clock."""
        self.values = 100_000 + 2 * inputs  # in one list or dict, counting what is inside
        self.characters = 1_000_000 + 2 * inputs  # in one text, or in all texts of one list
        self._made_left = 16_000_000 + 64 * inputs  # characters of all texts
        self._printed_left = 8_000_000 + 16 * inputs  # also into macros and blocks
        self._static_left = 16_000_000 + 1000 * inputs  # the template's own text
        self._depth_left = 64
        self._units = 0
        self._deadline = time.thread_time() + 0.25 + 4e-6 * inputs

    def charge(self, units: int) -> None:
        """Account for work."""
        self._units += units
        if self._units >= _UNITS_PER_CLOCK:
            self._units = 0
            if time.thread_time() > self._deadline:
                raise TemplateLimitError("it takes too long")

    def reserve(self, characters: int) -> None:
        """Refuse text of this length before it is made."""
        if characters > self.characters:
            raise TemplateLimitError(f"it makes a text of {characters} characters")

    def use(self, value: Any) -> int:
        """Account for looking at all of a value; gives its length when printed, without escapes."""
        values, characters = measure(value, self.values)
        self.reserve(characters)
        self.charge(values + characters // _CHARACTERS_PER_UNIT)
        return characters

    def made(self, value: Any) -> Any:
        """Account for a new value, and give it back."""
        if isinstance(value, Iterator):
            return self.counted(value)
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            raise TemplateLimitError(f"it makes a number of {value.bit_length()} bits")
        characters = self.use(value)
        if isinstance(value, str):
            self._made_left -= characters
            if self._made_left < 0:
                raise TemplateLimitError("it makes too much text in all")
        return value

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """Iterate, charging for each value."""
        for value in values:
            self.charge(8)
            yield value

    def print(self, characters: int) -> None:
        """Account for an expression's output."""
        self._printed_left -= characters
        if self._printed_left < 0:
            raise TemplateLimitError("it writes too much")

    def print_static(self, characters: int) -> None:
        """Account for the template's own text in a body that may run many times."""
        self.charge(8)
        self._static_left -= characters
        if self._static_left < 0:
            raise TemplateLimitError("it writes too much")

    def enter(self) -> None:
        """Account for a call that has not ended."""
        self.charge(32)
        self._depth_left -= 1
        if self._depth_left < 0:
            raise TemplateLimitError("its calls are nested too deep")

    def leave(self) -> None:
        """End what `enter` began."""
        self._depth_left += 1


def measure(value: Any, limit: int) -> tuple[int, int]:
    """Count the values in a value and the characters of its texts, as printing it would meet them.

    A list that holds the same list twice counts it twice: what a template builds by doubling is
    small in memory and endless to walk.
    """
    if isinstance(value, str):
        return 1, len(value)
    values = characters = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        values += 1
        if values > limit:
            raise TemplateLimitError(f"it makes a value of more than {limit} parts")
        if isinstance(item, (str, bytes)):
            characters += len(item)
        elif isinstance(item, int):
            characters += 5 + item.bit_length() // 3
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, _COLLECTIONS):
            waiting.extend(item)
        elif isinstance(item, Namespace):
            waiting.append(object.__getattribute__(item, "_Namespace__attrs"))
    return values, characters + 4 * values


_COLLECTIONS = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)


class _Current(threading.local):
    budget: Budget | None = None


_current = _Current()


def current() -> Budget:
    """The budget of the rendering that runs in this thread."""
    if _current.budget is None:
        raise TemplateLimitError("it runs outside of a rendering")
    return _current.budget


class Rendering:
    """Makes a budget the current one: `with Rendering(budget): ...`."""

    def __init__(self, budget: Budget) -> None:
        """Prepare; nothing happens yet."""
        self._budget = budget

    def __enter__(self) -> Budget:
        """Begin, inside another rendering if a callback renders."""
        self._outer = _current.budget
        _current.budget = self._budget
        return self._budget

    def __exit__(self, *_: object) -> None:
        """Go back to the one before."""
        _current.budget = self._outer
