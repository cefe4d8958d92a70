"""What requests give back: whole answers, pieces of answers, and how they went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from realm_ext._core import SpeculationReport
from realm_ext.errors import RealmError

FinishReason = Literal["stop", "length", "cancelled", "deadline", "error"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely the model found a token, before penalties, temperature and filters.

    Attributes:
        token: The token that was chosen.
        logprob: Its log-probability.
        top: The most likely tokens with theirs, most likely first.
    """

    token: int
    logprob: float
    top: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a request took.

    Attributes:
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the answer.
        cached_tokens: Tokens of the prompt whose keys and values were still there from an earlier
            request.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds since the request was submitted.

    Attributes:
        started: Until its first step; None if it had none.
        first_token: Until its first token; None if it has none.
        finished: Until its end.
    """

    started: float | None
    first_token: float | None
    finished: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer, of one or more tokens.

    Attributes:
        text: What it adds to the text, in whole characters. Text that could begin a stop string is
            held back until that is decided, so it may trail the tokens.
        tokens: The tokens.
        logprobs: One for each token, if the request asked for them.
        finish_reason: Why the answer ended, in its last chunk.
    """

    text: str
    tokens: list[int]
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    Attributes:
        text: The text.
        tokens: The tokens that the model gave, without the one that ended it.
        finish_reason: ``"stop"`` (the model ended, or a stop condition held), ``"length"``
            (`max_tokens` or the context is used up), ``"cancelled"``, ``"deadline"``, ``"error"``.
        stop_reason: The stop string or the token that ended the answer.
        error: Why it failed, when the reason is ``"error"``.
        seed: The seed of its draws: the same request with this seed gives this answer again. None
            for a request that was refused before it began.
        logprobs: One for each token, if the request asked for them.
        usage: Tokens that it took.
        timings: How long it took.
        speculation: What guessing ahead did for it; its `status` is ``"off"`` if nobody asked for
            any. None for a request that was refused before it began.
    """

    text: str
    tokens: list[int]
    finish_reason: FinishReason
    stop_reason: str | int | None
    error: RealmError | None
    seed: int | None
    logprobs: list[TokenLogprob] | None = field(repr=False)
    usage: Usage
    timings: Timings
    speculation: SpeculationReport | None
