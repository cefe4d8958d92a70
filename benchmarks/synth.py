"""Random models in the shape of real ones: their speed is that of the real ones, their text is noise.

    python benchmarks/synth.py SHAPE TYPE OUT.gguf [--seed N] [--layers N] [--chain SEED [--agree A]]

SHAPE is one of tinyllama-1.1b, llama-2-7b, llama-3-8b, llama-3.2-1b, qwen2.5-0.5b, llama-160m, tiny. TYPE is a
weight format for every matrix (Q4_K, Q8_0, F16, ...), or Q4_K_M or Q5_K_M: mixed as llama.cpp mixes.
The same arguments give the same file. Needs numpy and gguf.

--chain SEED makes a model whose greedy next token is a table drawn from SEED, whatever its shape:
each token's embedding is the output head's row of the token that follows, and the layers add nearly
nothing, at their full cost. --agree A leaves a share A of the table right: a target and a draft of
one SEED then agree on about A of the tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from synth_blocks import SUPPORTED, Bytes, fitting_type, random_matrix


@dataclass(frozen=True)
class Shape:
    """A model's sizes."""

    n_vocab: int
    n_embd: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    n_ff: int
    n_ctx: int = 4096
    rope_base: float = 10000.0
    architecture: str = "llama"
    tied: bool = False  # the embedding is the output head too

    @property
    def head_width(self) -> int:
        """Of q, k and v."""
        return self.n_embd // self.n_heads


SHAPES = {
    "tinyllama-1.1b": Shape(32000, 2048, 22, 32, 4, 5632),
    "llama-2-7b": Shape(32000, 4096, 32, 32, 32, 11008),
    "llama-3-8b": Shape(128256, 4096, 32, 32, 8, 14336, 8192, 500000.0),
    "llama-3.2-1b": Shape(128256, 2048, 16, 32, 8, 8192, 8192, 500000.0, tied=True),
    "qwen2.5-0.5b": Shape(151936, 896, 24, 14, 2, 4864, 8192, 1000000.0, "qwen2", tied=True),
    "llama-160m": Shape(32000, 768, 12, 12, 12, 3072),
    "tiny": Shape(512, 256, 4, 8, 2, 768, 1024),
}
MIXES = {"Q4_K_M": Type.Q4_K, "Q5_K_M": Type.Q5_K}  # and the format of a matrix no rule singles out

_QUIET = (
    1e-4  # weights of a chain's layers: too small to change a token, too large for a scale of 0
)
_FIRST_WORD = 259  # of the vocabulary: after three special tokens and 256 bytes


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file, made when it is written."""

    name: str
    kind: Type
    rows: int  # 0: a vector
    cols: int
    make: Callable[[], Bytes]

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy has it."""
        return (self.rows, self.cols) if self.rows else (self.cols,)

    @property
    def n_bytes(self) -> int:
        """In the file."""
        elements, size = gguf.GGML_QUANT_SIZES[self.kind]
        return max(1, self.rows) * self.cols // elements * size


class Recipe:
    """What a file holds, tensor by tensor, each with random numbers of its own."""

    def __init__(
        self, shape: Shape, kind: str, seed: int, chain: int | None = None, agree: float = 1.0
    ) -> None:
        """See the module."""
        self._shape = shape
        self._mixed = kind in MIXES
        self._base = MIXES[kind] if self._mixed else Type[kind]
        self._seed = seed
        self._chain = chain
        self._agree = agree

    def tensors(self) -> Iterator[Tensor]:
        """In the file's order."""
        s = self._shape
        head = Type.Q6_K if self._mixed else self._base
        if self._chain is not None:
            yield self._matrix("token_embd.weight", s.n_vocab, s.n_embd, head, make=self._followers)
            yield self._vector("output_norm.weight", s.n_embd, 1.0, spread=0.0)
            yield self._matrix("output.weight", s.n_vocab, s.n_embd, head, make=self._head)
        else:
            std = s.n_embd**-0.5 if s.tied else 1.0
            embedding = head if s.tied else self._base
            yield self._matrix("token_embd.weight", s.n_vocab, s.n_embd, embedding, std)
            yield self._vector("output_norm.weight", s.n_embd, 1.0)
            if not s.tied:
                yield self._matrix("output.weight", s.n_vocab, s.n_embd, head)
        for layer in range(s.n_layers):
            yield from self._layer(layer)

    def _layer(self, layer: int) -> Iterator[Tensor]:
        s, prefix = self._shape, f"blk.{layer}."
        large = Type.Q6_K if self._mixed and uses_more_bits(layer, s.n_layers) else self._base
        quiet = None if self._chain is None else _QUIET
        kv = s.n_kv_heads * s.head_width
        yield self._vector(prefix + "attn_norm.weight", s.n_embd, 1.0)
        yield self._matrix(prefix + "attn_q.weight", s.n_embd, s.n_embd)
        yield self._matrix(prefix + "attn_k.weight", kv, s.n_embd)
        yield self._matrix(prefix + "attn_v.weight", kv, s.n_embd, large)
        if s.architecture == "qwen2":
            for name, width in (("q", s.n_embd), ("k", kv), ("v", kv)):
                yield self._vector(f"{prefix}attn_{name}.bias", width, 0.0)
        yield self._matrix(prefix + "attn_output.weight", s.n_embd, s.n_embd, std=quiet)
        yield self._vector(prefix + "ffn_norm.weight", s.n_embd, 1.0)
        yield self._matrix(prefix + "ffn_gate.weight", s.n_ff, s.n_embd)
        yield self._matrix(prefix + "ffn_up.weight", s.n_ff, s.n_embd)
        yield self._matrix(prefix + "ffn_down.weight", s.n_embd, s.n_ff, large, quiet)

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, *name.encode()])

    def _matrix(
        self,
        name: str,
        rows: int,
        cols: int,
        kind: Type | None = None,
        std: float | None = None,
        make: Callable[[], Bytes] | None = None,
    ) -> Tensor:
        kind = fitting_type(self._base if kind is None else kind, cols)
        std = cols**-0.5 if std is None else std
        random = partial(random_matrix, self._rng(name), kind, rows, cols, std)
        return Tensor(name, kind, rows, cols, make or random)

    def _vector(self, name: str, n: int, mean: float, spread: float = 0.05) -> Tensor:
        values = mean + spread * self._rng(name).standard_normal(n, np.float32)
        return Tensor(name, Type.F32, 0, n, lambda: values.astype(np.float32).view(np.uint8))

    def _head(self) -> Bytes:
        kind = fitting_type(Type.Q6_K if self._mixed else self._base, self._shape.n_embd)
        rng = self._rng("output.weight")
        return random_matrix(rng, kind, self._shape.n_vocab, self._shape.n_embd, 1.0)

    def _followers(self) -> Bytes:
        """Of each token, the head's row of the next one."""
        n = self._shape.n_vocab
        table = np.random.default_rng(self._chain).permutation(n)
        rng = self._rng("followers")
        is_wrong = rng.random(n) > self._agree
        return self._head()[np.where(is_wrong, rng.integers(_FIRST_WORD, n, n), table)]


def uses_more_bits(layer: int, n_layers: int) -> bool:
    """Whether a mix spends more on a layer: the eighths at both ends and every third between."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def write_model(
    path: str | Path,
    shape: Shape | str,
    kind: str,
    seed: int = 1,
    chain: int | None = None,
    agree: float = 1.0,
) -> None:
    """Writes one model; the same arguments give the same bytes."""
    shape = SHAPES[shape] if isinstance(shape, str) else shape
    writer = gguf.GGUFWriter(path, shape.architecture)
    _add_metadata(writer, shape, kind)
    tensors = list(Recipe(shape, kind, seed, chain, agree).tensors())
    for t in tensors:
        writer.add_tensor_info(t.name, t.shape, np.dtype(np.float32), t.n_bytes, raw_dtype=t.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for t in tensors:
        writer.write_tensor_data(t.make())
    writer.close()


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape, kind: str) -> None:
    writer.add_name(f"random weights, {kind}")
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.n_vocab)
    _add_vocabulary(writer, shape.n_vocab)


def _add_vocabulary(writer: gguf.GGUFWriter, n_vocab: int) -> None:
    """Three special tokens, the bytes, and as many words as are missing: "▁" and a number each."""
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    words = [f"▁{i:x}" for i in range(n_vocab - _FIRST_WORD)]
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *bytes_, *words])
    writer.add_token_scores([-float(i) for i in range(n_vocab)])
    writer.add_token_types(
        [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
        + [kinds.BYTE] * len(bytes_)
        + [kinds.NORMAL] * len(words)
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def main() -> None:
    """Write the file that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("type", choices=(*MIXES, *SUPPORTED), metavar="TYPE")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, help="other than the shape's own")
    parser.add_argument("--chain", type=int, metavar="SEED")
    parser.add_argument("--agree", type=float, default=1.0)
    a = parser.parse_args()
    shape = SHAPES[a.shape]
    if a.layers is not None:
        shape = Shape(**{**vars(shape), "n_layers": a.layers})
    write_model(a.out, shape, a.type, a.seed, a.chain, a.agree)


if __name__ == "__main__":
    main()
