"""One sequence, generated step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, cast

from realm_ext import _core
from realm_ext._draft import Draft, load_draft
from realm_ext._token_ids import as_token_ids
from realm_ext.adapters import chosen
from realm_ext.errors import InvalidRequest
from realm_ext.model import Model

if TYPE_CHECKING:
    from realm_ext.adapters import AdapterChoice

State = Literal["ready", "generating", "complete", "stopped"]


class InferenceSession:
    """One sequence over a model: a prompt in, then token after token out.

    For many requests at once, or for other threads, make more sessions: each belongs to one thread
    at a time.

    Example:
        >>> import realm_ext
        >>> model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
        >>> params = realm_ext.SamplingParams(max_tokens=3, temperature=0)
        >>> session = realm_ext.InferenceSession(model, params)
        >>> session.prefill("The capital of France is")
        >>> "".join(session.stream()).strip().startswith("Paris")
        True

    Args:
        model: The model.
        params: How to sample and when to end; the defaults of `SamplingParams` if None.
        draft: A smaller model with the same vocabulary, which guesses tokens ahead: a `Model`, or a
            path. A path that cannot be loaded leaves the session without speculation, and
            `speculation` says so.
        speculative: How tokens are guessed ahead; by default as `SpeculativeConfig()` does if there
            is a draft model, else not at all.
        kv_dtype: Storage type of keys and values.
        max_context: Tokens that prompts and answers may have together; by default the first prompt
            and its `max_tokens`. Several turns need it.
        adapter: None, the name of an adapter that the model has loaded, or pairs of names and
            scales. The session keeps them, whatever is loaded under their names later.
    """

    def __init__(
        self,
        model: Model,
        params: _core.SamplingParams | None = None,
        draft: Draft = None,
        speculative: _core.SpeculativeConfig | None = None,
        *,
        kv_dtype: str = "f16",
        max_context: int | None = None,
        adapter: AdapterChoice = None,
    ) -> None:
        """See the class."""
        self._model = model
        guesser, failure = load_draft(draft)
        if speculative is None and draft is not None:
            speculative = _core.SpeculativeConfig()
        self._session = _core.Session(
            model.core,
            _core.SamplingParams() if params is None else params,
            kv_dtype=kv_dtype,
            max_context=max_context or 0,
            adapters=chosen(adapter),
            draft=guesser.core if guesser else None,
            draft_failure=failure,
            speculative=speculative,
        )

    def prefill(self, prompt: str | Sequence[int]) -> None:
        """Appends a prompt: text, to which the tokenizer adds what the model wants, or token ids.

        Raises:
            InvalidRequest: The prompt is empty, above the context, or has ids that do not exist.
        """
        if isinstance(prompt, str):
            if not prompt:
                raise InvalidRequest("the prompt is empty")
            prompt = self._model.tokenizer.encode(prompt)
        self._session.prefill(as_token_ids(prompt))

    def next_token(self) -> int | None:
        """The next token; None once the answer has ended (`state` says how)."""
        return self._session.next_token()

    def stream(self) -> Iterator[str]:
        """The rest of the answer, in pieces of whole characters.

        Bytes of the answer that are no UTF-8 become U+FFFD.
        """
        while self.next_token() is not None:
            yield from self._new_text()
        yield from self._new_text()

    def _new_text(self) -> Iterator[str]:
        text = self._session.take_text().decode("utf-8", "replace")
        if text:
            yield text

    def reset(self) -> None:
        """Forgets the sequence; the next answer draws anew from the same seed."""
        self._session.reset()

    @property
    def state(self) -> State:
        """How far the answer is.

        ``"ready"`` before a prompt, ``"generating"``, ``"complete"`` when the model or a stop
        condition ended the answer, ``"stopped"`` when `max_tokens` or the context is used up.
        """
        return cast(State, self._session.state)

    @property
    def tokens(self) -> list[int]:
        """All tokens so far, prompts and answers."""
        return self._session.tokens

    @property
    def speculation(self) -> _core.SpeculationReport:
        """What guessing ahead did since the session was made or reset."""
        return self._session.speculation

    @property
    def seed(self) -> int:
        """The seed of the draws, also when `params` had none."""
        return self._session.seed

    @property
    def logprobs(self) -> tuple[float, list[tuple[int, float]]] | None:
        """Of the last token: its log-probability and the most likely tokens with theirs."""
        return self._session.logprobs
