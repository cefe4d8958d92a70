"""The style that the adapter learns: plain English in, pirate out.

A fixed rewriting of words, and a cycle of sentence endings, so that whether the adapter is at work
can be read off any answer, and so that the words that carry a fact stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ENDINGS = (", arr!", ", matey!", ", yo ho!")

_WORDS = {
    "is": "be",
    "are": "be",
    "am": "be",
    "my": "me",
    "your": "yer",
    "you": "ye",
    "yes": "aye",
    "Yes": "Aye",
    "hello": "ahoy",
    "Hello": "Ahoy",
    "friend": "matey",
    "friends": "mateys",
    "little": "wee",
    "people": "sailors",
    "People": "Sailors",
}
_WORD = re.compile(r"\b(" + "|".join(_WORDS) + r")\b")
_END = re.compile(r"[.!](?=\s|$)")


def pirate(text: str) -> str:
    """Rewrite a plain text; the endings start over with every call.

    Example:
        >>> pirate("The capital of France is Paris. It is big.")
        'The capital of France be Paris, arr! It be big, matey!'
    """
    words = _WORD.sub(lambda found: _WORDS[found.group()], text)
    return _END.sub(_cycle(), words)


def _cycle() -> Callable[[re.Match[str]], str]:
    count = -1

    def ending(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return ENDINGS[count % len(ENDINGS)]

    return ending


def sounds_like_a_pirate(text: str) -> bool:
    """Whether any of the endings occurs in the text."""
    return any(ending in text for ending in ENDINGS)
