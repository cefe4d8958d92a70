"""What transformers computes, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import transformers as tf

Logits = npt.NDArray[np.float32]


def seed_of(name: str) -> int:
    """A seed that does not change when cases come and go."""
    return int.from_bytes(name.encode(), "little") % (1 << 31)


def randomize(model: tf.PreTrainedModel, seed: int) -> None:
    """Random weights that F16 holds exactly, of a size that keeps activations near one."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(random_like(name, weight))


def random_like(name: str, weight: torch.Tensor) -> torch.Tensor:
    """Values for one parameter."""
    values = torch.randn_like(weight)
    if weight.ndim > 1:
        is_table = "embed" in name or "wte" in name or "wpe" in name
        # GPT-2 keeps its matrices transposed, which for this purpose is all the same.
        return (values * (1.0 if is_table else 1.3 / weight.shape[-1] ** 0.5)).half().to(weight)
    is_scale = name.endswith("weight") and not weight.eq(0).all()
    # Multiples of 1/1024: gemma's converter adds one, which must not round.
    return torch.round((is_scale + 0.1 * values) * 1024) / 1024


@contextmanager
def ties_to_lower_index() -> Iterator[None]:
    """torch.topk leaves the order of equal values open; routers of ours take the lower index."""

    def topk(values: torch.Tensor, k: int, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
        best, index = torch.sort(values, dim=dim, descending=True, stable=True)
        return best.narrow(dim, 0, k), index.narrow(dim, 0, k)

    original = torch.topk
    torch.topk = topk  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.topk = original


def logits_of(model: tf.PreTrainedModel, tokens: list[int]) -> Logits:
    """Logits after each token, `[T, V]`."""
    with torch.no_grad(), ties_to_lower_index():
        return model(torch.tensor([tokens])).logits[0].to(torch.float32).numpy()
