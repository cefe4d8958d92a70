"""How little a model's forward can cost: what a speed is measured against.

Lower bounds, from what the file holds: every matrix is read once for a step, however many tokens
are in it, and multiplied once for each token. Attention's products, norms and the like come on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from realm_ext._core import Ceilings, GGUFFile, ModelConfig, TensorInfo

_FLOATS = ("F64", "F32", "F16", "BF16")  # weights that are multiplied as floats
_KV_ELEMENT_BYTES = 2  # f16


@dataclass(frozen=True)
class Work:
    """The matrices of a model: bytes to read, multiply-accumulates to do."""

    bytes_per_step: float
    int8_macs_per_token: float
    f32_macs_per_token: float
    head_macs: float  # for each row of logits
    head_is_float: bool
    kv_bytes_per_token: int
    window: int

    @staticmethod
    def of(file: GGUFFile, config: ModelConfig) -> Work:
        """Of a model's file and what it declares."""
        used = config.n_experts_used / config.n_experts if config.n_experts else 1.0
        matrices = [t for t in file.tensors.values() if len(t.shape) > 1]
        head = _head(file)
        body = [t for t in matrices if t.name not in ("token_embd.weight", "output.weight")]

        def macs(is_float: bool) -> float:
            chosen = [t for t in body if (t.dtype in _FLOATS) == is_float]
            return sum(prod(t.shape) * _share(t, used) for t in chosen)

        return Work(
            bytes_per_step=sum(t.nbytes * _share(t, used) for t in [*body, head]),
            int8_macs_per_token=macs(False),
            f32_macs_per_token=macs(True),
            head_macs=prod(head.shape),
            head_is_float=head.dtype in _FLOATS,
            kv_bytes_per_token=2
            * config.n_layers
            * config.n_kv_heads
            * config.head_width
            * _KV_ELEMENT_BYTES,
            window=config.window,
        )

    def prefill_seconds(self, n_tokens: int, ceilings: Ceilings) -> float:
        """For one prompt with logits of its last token, at the peak of the multipliers."""
        return self._multiply_seconds(n_tokens, 1, ceilings)

    def step(self, n_sequences: int, context: int, ceilings: Ceilings) -> tuple[float, str]:
        """Seconds for one token of each sequence, and what bounds them: "read" or "multiply".

        Each sequence has `context` tokens, whose keys and values are read in f16.
        """
        seen = min(context, self.window) if self.window else context
        n_bytes = self.bytes_per_step + n_sequences * seen * self.kv_bytes_per_token
        reading = n_bytes / ceilings.read_bytes_per_s
        multiplying = self._multiply_seconds(n_sequences, n_sequences, ceilings)
        return max((reading, "read"), (multiplying, "multiply"))

    def _multiply_seconds(self, n_tokens: int, n_logits: int, ceilings: Ceilings) -> float:
        head = n_logits * self.head_macs
        int8 = n_tokens * self.int8_macs_per_token + (0 if self.head_is_float else head)
        f32 = n_tokens * self.f32_macs_per_token + (head if self.head_is_float else 0)
        return int8 / ceilings.int8_macs_per_s + f32 / ceilings.f32_macs_per_s


def _head(file: GGUFFile) -> TensorInfo:
    return file.tensors.get("output.weight") or file.tensors["token_embd.weight"]


def _share(tensor: TensorInfo, used: float) -> float:
    """Of an expert tensor, the experts that one token uses; of others, all."""
    return used if "_exps." in tensor.name else 1.0
