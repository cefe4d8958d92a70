"""A small llama in torch: RMSNorm, rotary positions, grouped-query attention, SwiGLU, and LoRA.

Names and row order are those of Hugging Face's llama, so that adapters can be written as they are
trained; `export.py` renames and reorders for GGUF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as ops
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The hyper-parameters of one model."""

    name: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    tied: bool
    context: int = 512
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head_width(self) -> int:
        """The width of one attention head."""
        return self.width // self.heads


class Part(nn.Module):
    """A module whose call is known to return a tensor."""

    __call__: Callable[..., Tensor]


class Linear(Part):
    """A matrix, and beside it a low-rank update that is absent until `adapt` makes one."""

    lora_A: Tensor | None
    lora_B: Tensor | None

    def __init__(self, n_in: int, n_out: int) -> None:
        """Start from small random weights."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * 0.02)
        self.register_parameter("lora_A", None)
        self.register_parameter("lora_B", None)
        self.scale = 0.0

    def adapt(self, rank: int, alpha: float) -> None:
        """Add an update that is zero until trained."""
        n_out, n_in = self.weight.shape
        self.lora_A = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)
        self.lora_B = nn.Parameter(torch.zeros(n_out, rank))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """W x + scale B A x."""
        y = ops.linear(x, self.weight)
        if self.lora_A is not None and self.lora_B is not None:
            y = y + self.scale * ops.linear(ops.linear(x, self.lora_A), self.lora_B)
        return y


class Norm(Part):
    """RMSNorm."""

    def __init__(self, width: int, eps: float) -> None:
        """Start from ones."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Scale each row to unit mean square, then by the weight."""
        return ops.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(Part):
    """Causal grouped-query attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        """Make the four projections."""
        super().__init__()
        self.heads, self.kv_heads = shape.heads, shape.kv_heads
        self.head_width = shape.head_width
        self.q_proj = Linear(shape.width, shape.heads * self.head_width)
        self.k_proj = Linear(shape.width, shape.kv_heads * self.head_width)
        self.v_proj = Linear(shape.width, shape.kv_heads * self.head_width)
        self.o_proj = Linear(shape.heads * self.head_width, shape.width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """x: [S, T, E]."""
        q = rotate(self._split(self.q_proj(x), self.heads), turn)
        k = rotate(self._split(self.k_proj(x), self.kv_heads), turn)
        v = self._split(self.v_proj(x), self.kv_heads)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = ops.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(*x.shape[:2], heads, self.head_width).transpose(1, 2)


class FeedForward(Part):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        """Make the three projections."""
        super().__init__()
        self.gate_proj = Linear(shape.width, shape.feed_forward)
        self.up_proj = Linear(shape.width, shape.feed_forward)
        self.down_proj = Linear(shape.feed_forward, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """x: [S, T, E]."""
        return self.down_proj(ops.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(Part):
    """One block: attention and feed-forward, each behind its norm."""

    def __init__(self, shape: Shape) -> None:
        """Make the parts."""
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = FeedForward(shape)
        self.input_layernorm = Norm(shape.width, shape.eps)
        self.post_attention_layernorm = Norm(shape.width, shape.eps)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """x: [S, T, E]."""
        x = x + self.self_attn(self.input_layernorm(x), turn)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(Part):
    """The whole model: token ids [S, T] to logits [S, T, V]."""

    def __init__(self, shape: Shape) -> None:
        """Make all parts with random weights."""
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.eps)
        self.lm_head = None if shape.tied else Linear(shape.width, shape.vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits for every position."""
        turn = angles(self.shape, ids.shape[1])
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, turn)
        x = self.norm(x)
        if self.lm_head is not None:
            return self.lm_head(x)
        return ops.linear(x, self.embed_tokens.weight)

    def projections(self) -> Iterator[tuple[str, Linear]]:
        """The matrices an adapter may touch, by name."""
        for name, part in self.named_modules():
            if isinstance(part, Linear) and name != "lm_head":
                yield name, part


def angles(shape: Shape, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [T, D], for positions from 0."""
    half = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
    speed = 1.0 / shape.rope_base**half
    angle = torch.outer(torch.arange(n_tokens, dtype=torch.float32), speed)
    both = torch.cat((angle, angle), dim=-1)
    return both.cos(), both.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: dimension i is paired with i + D/2."""
    cos, sin = turn
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin
