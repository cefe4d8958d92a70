"""The golden ids: which texts were encoded how, and reading them back."""

from __future__ import annotations

import array
import dataclasses
import lzma
import pathlib
import sys
from collections.abc import Iterator

from tokenizer_texts import make_texts

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "golden" / "tokenizers"
N_TEXTS = 2000

# The names under which a byte-level vocabulary was encoded: the first name of every row of the table, and
# those that an outsider may ask for by another.
BPE_ROWS: dict[str, list[str | None]] = {
    "bpe": [
        "default", "llama-bpe", "dbrx", "chatglm-bpe", "glm4", "jais-2", "qwen2", "qwen35", "ufakzeka",
        "laguna", "minicpm5", "bailingmoe", "seed-coder", "gpt-2", "jina-v2-es", "starcoder", "falcon",
        "deepseek-llm", "deepseek-coder", "deepseek-v3", "spark2_5", "youtu", "tekken", "gpt-4o",
        "granite-embed-multi-97m", "poro-chat", "viking", "refact", "command-r", "smollm", "olmo", "mpt",
        "stablelm2", "llama4", "bloom",
    ],
    "holes": ["default", "llama-bpe", "qwen2"],
}  # fmt: skip
GOLDEN = ("bpe", "holes", "raw", "spm", "spm-flat", "spm-phi3")


@dataclasses.dataclass(frozen=True)
class Case:
    """A text and how it is encoded."""

    text: str
    add_special: bool
    parse_special: bool


def cases() -> list[Case]:
    """All texts, every third without BOS and EOS, every second with control tokens parsed."""
    texts = make_texts(N_TEXTS, seed=20)
    return [Case(t, add_special=i % 3 != 0, parse_special=i % 2 == 0) for i, t in enumerate(texts)]


def rows(name: str) -> list[str | None]:
    """The pre-tokenizers that a golden file holds ids for; None is the vocabulary's own."""
    return BPE_ROWS.get(name, [None])


def read_ids(name: str) -> Iterator[list[list[int]]]:
    """For each case, the ids of each row."""
    ids = array.array("H", lzma.decompress((FOLDER / f"{name}.ids.xz").read_bytes()))
    if sys.byteorder == "big":
        ids.byteswap()
    at = 0
    for _ in range(N_TEXTS):
        case = []
        for _ in rows(name):
            n = ids[at]
            case.append(list(ids[at + 1 : at + 1 + n]))
            at += 1 + n
        yield case
