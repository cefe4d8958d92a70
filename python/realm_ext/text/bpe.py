"""Byte-pair encoding of plain text on Hugging Face `tokenizers`, from a GGUF file's own vocabulary.

An encoder never changes once made; use it from any thread. Long texts are encoded in parts, between which
other Python threads run: `tokenizers` holds the GIL while it encodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import tokenizers
from tokenizers import models, pre_tokenizers

from realm_ext._core import PreTokenizer, SpecialSplitter, Vocabulary
from realm_ext.errors import FormatError, InvalidRequest
from realm_ext.text.unicode_classes import expand_categories

# About ten milliseconds of encoding.
_PART_CHARACTERS = 1 << 13
# A part without a place to cut it; above, `tokenizers` would abandon its regular expression.
_LONGEST_PART = 1 << 22
# Longer parts are encoded without the GIL. Shorter ones not, because that starts threads.
_LONGEST_PART_WITH_GIL = 1 << 16

# No row with `breaks_at_words` has a word that spans one of these places.
_WORD_BREAK = re.compile(r"(?<=\S)(?= [A-Za-z])|(?<=\S\n)(?=[A-Za-z])")
_LINE_BREAK = re.compile(r"(?<=\n)(?=[^\n])")
_NEWLINES = re.compile(r"(\n+)")


class BpeEncoder:
    """Encodes by the merges of a byte-level or raw-text vocabulary.

    Args:
        vocabulary: What to encode with.
        row: How its text falls into words.
    """

    def __init__(self, vocabulary: Vocabulary, row: PreTokenizer) -> None:
        """Build what `tokenizers` needs; half a second for 256 k tokens."""
        self._row = row
        self._n_tokens = len(vocabulary)
        self._splitter = SpecialSplitter(vocabulary)
        ids, merges = vocabulary._bpe_tables()
        self._newlines = _newline_tokens(ids) if row.newline_tokens else {}
        self._has_barriers = not row.raw and _add_barriers(ids, self._n_tokens)
        if row.raw:
            _check_bytes(ids)
        model = models.BPE(ids, merges, ignore_merges=row.ignore_merges, byte_fallback=row.raw)
        self._tokenizer = tokenizers.Tokenizer(model)
        self._tokenizer.pre_tokenizer = _words(row)

    def encode(self, text: str, parse_special: bool) -> list[int]:
        """Encode text, without BOS and EOS."""
        ids: list[int] = []
        place = _WORD_BREAK if self._row.breaks_at_words else _LINE_BREAK
        for piece in self._splitter.split(text, parse_special):
            if isinstance(piece, int):
                ids.append(piece)
                continue
            for part in _parts(piece, place):
                ids += self._encode_lines(part) if self._newlines else self._encode_part(part)
        return ids

    def _encode_lines(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in filter(None, _NEWLINES.split(text)):
            token = self._newlines.get(piece)
            ids += self._encode_part(piece) if token is None else [token]
        return ids

    def _encode_part(self, text: str) -> list[int]:
        if self._row.raw:
            text = text.replace(" ", "▁")
        if len(text) <= _LONGEST_PART_WITH_GIL:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        else:
            encoding = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]
        ids: list[int] = encoding.ids
        return [i for i in ids if i < self._n_tokens] if self._has_barriers else ids


def _words(row: PreTokenizer) -> pre_tokenizers.PreTokenizer:
    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(tokenizers.Regex(expand_categories(pattern)), "isolated")
        for pattern in row.patterns
    ]
    if not row.raw:
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)


def _parts(text: str, place: re.Pattern[str]) -> Iterator[str]:
    """Cut a text into parts that encode independently of each other."""
    start = 0
    while start < len(text):
        found = place.search(text, start + _PART_CHARACTERS)
        end = found.start() if found else len(text)
        if end - start > _LONGEST_PART:
            raise InvalidRequest(
                f"a run of {end - start} characters without a space between words is too long to encode;"
                f" at most {_LONGEST_PART} are possible"
            )
        yield text[start:end]
        start = end


def _newline_tokens(ids: dict[str, int]) -> dict[str, int]:
    return {text: token for text, token in ids.items() if not text.strip("\n")}


def _add_barriers(ids: dict[str, int], n_tokens: int) -> bool:
    """Stand in for bytes without a token, so that what is left and right of them does not join."""
    missing = [c for c in pre_tokenizers.ByteLevel.alphabet() if c not in ids]
    for i, character in enumerate(missing):
        ids[character] = n_tokens + i
    return bool(missing)


def _check_bytes(ids: dict[str, int]) -> None:
    for byte in range(256):
        if f"<0x{byte:02X}>" not in ids:
            raise FormatError(f"tokenizer.ggml.tokens has no token <0x{byte:02X}>")
