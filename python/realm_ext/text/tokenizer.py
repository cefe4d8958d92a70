"""Text to token ids and back, with the vocabulary of a GGUF file.

The ids are those of llama.cpp, exactly, for every vocabulary and pre-tokenizer that is supported.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, overload

from realm_ext._core import SentencePieceEncoder, StreamDecoder, Vocabulary
from realm_ext.errors import FormatError, InvalidRequest
from realm_ext.text.bpe import BpeEncoder
from realm_ext.text.chat_template import ChatTemplate, Message

Errors = Literal["replace", "surrogateescape", "strict", "ignore", "backslashreplace"]


class _Encoder(Protocol):
    def encode(self, text: str, parse_special: bool) -> list[int]: ...


class Tokenizer:
    """Encodes and decodes with one vocabulary; safe to share between threads.

    What encoding needs beyond the vocabulary is built when it is first used.

    Args:
        vocabulary: What the ids mean.

    Raises:
        FormatError: The vocabulary names a pre-tokenizer that is not known.

    Example:
        >>> from realm_ext import Tokenizer
        >>> tokenizer = Tokenizer.from_gguf("tests/golden/tokenizers/spm.gguf")
        >>> tokenizer.decode(tokenizer.encode("Hello world"))
        'Hello world'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Make a tokenizer of a vocabulary."""
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._encoder: _Encoder | None = None
        self._templates: dict[str, ChatTemplate] = {}
        if vocabulary.kind != "sentencepiece" and vocabulary.pre_tokenizer is None:
            raise FormatError(
                f"tokenizer.ggml.pre = {vocabulary.pre_tokenizer_name!r} is no known pre-tokenizer;"
                ' choose one with pre="..."'
            )

    @classmethod
    def from_gguf(
        cls, source: str | os.PathLike[str] | bytes, *, pre: str | None = None
    ) -> Tokenizer:
        """Read the vocabulary of any GGUF file, also of one that has nothing else.

        Args:
            source: A path, or the file's contents.
            pre: The name of a pre-tokenizer to use in place of the one the file names.

        Raises:
            FormatError: The file has no vocabulary that can be used.

        Example:
            >>> from realm_ext import Tokenizer
            >>> Tokenizer.from_gguf("tests/golden/tokenizers/bpe.gguf", pre="qwen2").vocab_size
            1484
        """
        return cls(Vocabulary(source, pre))

    @property
    def vocab(self) -> Vocabulary:
        """What the ids mean."""
        return self._vocabulary

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return len(self._vocabulary)

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text."""
        return self._vocabulary.bos_id

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text; `vocab.end_tokens` has all that end generation."""
        return self._vocabulary.eos_id

    @property
    def add_bos(self) -> bool:
        """Whether `encode` puts `bos_id` before a text."""
        return self._vocabulary.add_bos

    @property
    def add_eos(self) -> bool:
        """Whether `encode` puts `eos_id` after a text."""
        return self._vocabulary.add_eos

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Encode text.

        Args:
            text: Any str. Bytes that are not UTF-8 may stand in it as surrogateescape has them:
                a sentencepiece vocabulary encodes them as they are, others as U+FFFD each.
            add_special: Whether to add BOS and EOS, if the vocabulary asks for them.
            parse_special: Whether the texts of control tokens, such as "<|im_start|>", become those
                tokens. Never do this with text from strangers.

        Raises:
            InvalidRequest: The text is too long.

        Example:
            >>> from realm_ext import Tokenizer
            >>> tokenizer = Tokenizer.from_gguf("tests/golden/tokenizers/bpe.gguf")
            >>> tokenizer.encode("<|im_end|>", add_special=False, parse_special=True)
            [1474]
        """
        ids = self._encoding().encode(text, parse_special)
        if add_special and self.add_bos and self.bos_id is not None:
            ids.insert(0, self.bos_id)
        if add_special and self.add_eos and self.eos_id is not None:
            ids.append(self.eos_id)
        return ids

    def decode(
        self, ids: Sequence[int], skip_special: bool = True, errors: Errors = "replace"
    ) -> str:
        """Decode a whole text; `decode(encode(text)) == text` unless special tokens are in it.

        Args:
            ids: Ids of the vocabulary.
            skip_special: Whether control tokens are left out.
            errors: What becomes of bytes that are not UTF-8, as for `bytes.decode`: "replace" makes
                them U+FFFD, "surrogateescape" keeps them. `vocab.decode` has the bytes.

        Raises:
            InvalidRequest: An id is not in the vocabulary.

        Example:
            >>> from realm_ext import Tokenizer
            >>> Tokenizer.from_gguf("tests/golden/tokenizers/bpe.gguf").decode([39, 72])
            'Hi'
        """
        return self._vocabulary.decode(ids, skip_special).decode("utf-8", errors)

    def stream_decoder(
        self, *, skip_special: bool = True, errors: Errors = "replace"
    ) -> StreamDecoder:
        """Make a decoder for tokens that come one after another; it gives whole characters only.

        Example:
            >>> from realm_ext import Tokenizer
            >>> tokenizer = Tokenizer.from_gguf("tests/golden/tokenizers/bpe.gguf")
            >>> decoder = tokenizer.stream_decoder()
            >>> [decoder.push(token) for token in tokenizer.encode("é", add_special=False)]
            ['é']
        """
        return StreamDecoder(self._vocabulary, skip_special=skip_special, errors=errors)

    @property
    def chat_templates(self) -> Mapping[str, str]:
        """The file's chat templates by name; the default one has the empty name."""
        return self._vocabulary.chat_templates

    @overload
    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tokenize: Literal[True] = True,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        template: str | None = None,
        **variables: Any,
    ) -> list[int]: ...

    @overload
    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tokenize: Literal[False],
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        template: str | None = None,
        **variables: Any,
    ) -> str: ...

    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        template: str | None = None,
        **variables: Any,
    ) -> list[int] | str:
        r"""Write a conversation as the model was trained to read it.

        Args:
            messages: What was said, each a mapping with "role" and mostly "content".
            tokenize: Whether to give ids. Control tokens that the template wrote become those
                tokens; BOS comes first if the vocabulary asks for it, and never twice; EOS is not
                added.
            add_generation_prompt: Whether to end with what begins the model's answer.
            tools: Functions the model may call, as JSON schemas.
            documents: Texts the model may cite.
            template: A template, or the name of one of the file's; by default the file's default.
            **variables: What else the template reads.

        Raises:
            InvalidRequest: There is no template, or it refuses these messages.
            FormatError: The template is wrong, or does too much.

        Example:
            >>> from realm_ext import Tokenizer
            >>> tokenizer = Tokenizer.from_gguf("tests/golden/tokenizers/bpe.gguf")
            >>> hello = [{"role": "user", "content": "Hi"}]
            >>> chatty = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
            >>> tokenizer.apply_chat_template(hello, template=chatty, tokenize=False)
            'user: Hi\n'
        """
        text = self._template(template).render(
            messages,
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            **{**self._special_texts(), **variables},
        )
        return self._encode_rendered(text) if tokenize else text

    def _encode_rendered(self, text: str) -> list[int]:
        ids = self.encode(text, add_special=False, parse_special=True)
        if self.bos_id is None:
            return ids
        n_bos = 0
        while n_bos < len(ids) and ids[n_bos] == self.bos_id:
            n_bos += 1
        return [self.bos_id] * (self.add_bos or n_bos > 0) + ids[n_bos:]

    def _special_texts(self) -> dict[str, str]:
        """What templates call bos_token, eos_token, ..."""
        special = self._vocabulary.special
        roles = ("bos", "eos", "unk", "sep", "pad", "mask")
        return {f"{r}_token": self._vocabulary.text(special[r]) for r in roles if r in special}

    def _template(self, name_or_text: str | None) -> ChatTemplate:
        name = name_or_text or ""
        text = self._vocabulary.chat_templates.get(name, name)
        if not text:
            raise InvalidRequest("the model has no chat template; pass one as template=...")
        with self._lock:
            found = self._templates.get(text)
        if found is None:
            found = ChatTemplate(text)
            with self._lock:
                if len(self._templates) >= 8:
                    self._templates.clear()
                self._templates[text] = found
        return found

    def _encoding(self) -> _Encoder:
        with self._lock:
            if self._encoder is None:
                self._encoder = _make_encoder(self._vocabulary)
            return self._encoder


def _make_encoder(vocabulary: Vocabulary) -> _Encoder:
    row = vocabulary.pre_tokenizer
    return SentencePieceEncoder(vocabulary) if row is None else BpeEncoder(vocabulary, row)
