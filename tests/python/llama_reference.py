"""A llama in float64, from the decoded weights of its file: slow, obvious, and numpy's alone."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

import realm_ext

Array = npt.NDArray[np.float64]


class LlamaReference:
    """The forward of a llama file without scaling of RoPE. `weights` may be changed between calls."""

    def __init__(self, path: Path) -> None:
        file = realm_ext.GGUFFile(path)
        self.weights = {name: file.read(name).astype(np.float64) for name in file.tensors}
        key = {k.removeprefix("llama."): v for k, v in file.metadata.items()}
        self.n_layers, self.n_heads = key["block_count"], key["attention.head_count"]
        self.n_kv_heads = key["attention.head_count_kv"]
        self.eps = key["attention.layer_norm_rms_epsilon"]
        self.rope_base = key.get("rope.freq_base", 10000.0)

    def logits(self, tokens: npt.NDArray[np.int32]) -> Array:
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.n_layers):
            x = x + self.attention(layer, self.norm(x, f"blk.{layer}.attn_norm"))
            x = x + self.feed_forward(layer, self.norm(x, f"blk.{layer}.ffn_norm"))
        return self.product(self.norm(x, "output_norm"), "output")

    def product(self, x: Array, name: str) -> Array:
        # Not a BLAS product: those of small matrices wait for their threads for milliseconds here.
        return np.einsum("tk,nk->tn", x, self.weights[f"{name}.weight"])

    def norm(self, x: Array, name: str) -> Array:
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.eps)
        return x / scale * self.weights[f"{name}.weight"]

    def heads(self, layer: int, x: Array, leaf: str, n: int) -> Array:
        return self.product(x, f"blk.{layer}.{leaf}").reshape(len(x), n, -1).swapaxes(0, 1)

    def rotated(self, x: Array) -> Array:
        """Of [heads, T, width]: pairs that stand side by side are turned, as the file has them."""
        width = x.shape[-1]
        angles = np.outer(
            np.arange(x.shape[1]), self.rope_base ** (-np.arange(0, width, 2) / width)
        )
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    def attention(self, layer: int, x: Array) -> Array:
        q = self.rotated(self.heads(layer, x, "attn_q", self.n_heads))
        k = self.rotated(self.heads(layer, x, "attn_k", self.n_kv_heads))
        v = self.heads(layer, x, "attn_v", self.n_kv_heads)
        k, v = (one.repeat(self.n_heads // self.n_kv_heads, 0) for one in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
        scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v
        return self.product(mixed.swapaxes(0, 1).reshape(len(x), -1), f"blk.{layer}.attn_output")

    def feed_forward(self, layer: int, x: Array) -> Array:
        gate = self.product(x, f"blk.{layer}.ffn_gate")
        gated = gate / (1 + np.exp(-gate)) * self.product(x, f"blk.{layer}.ffn_up")
        return self.product(gated, f"blk.{layer}.ffn_down")
