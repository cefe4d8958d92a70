"""LoRA adapters: the forms in which they are given, and merging them into a model's file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from realm_ext import _core
from realm_ext.errors import InvalidRequest

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    AdapterLike: TypeAlias = str | os.PathLike[str] | Buffer | Mapping[str, NDArray[Any]]
    """A PEFT directory, a safetensors file or a GGUF adapter; its bytes; or arrays by name."""

    ScaledAdapter: TypeAlias = AdapterLike | tuple[AdapterLike, float]

    AdapterChoice: TypeAlias = str | Sequence[tuple[str, float]] | None
    """What a request computes with: None, a loaded adapter's name, or names with scales."""

    AdapterConfig: TypeAlias = str | Mapping[str, Any]


def merge_adapter(
    base: str | os.PathLike[str] | Buffer,
    adapters: ScaledAdapter | Iterable[ScaledAdapter],
    out_path: str | os.PathLike[str],
    dtype: str | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> _core.MergeReport:
    """Writes a model again with adapters in its weights.

    The change is added in float32 to the decoded weights, which are then encoded again. Tensors
    that no adapter touches are copied byte for byte. On any failure, and on Ctrl-C, the output is
    as it was before.

    Args:
        base: A GGUF model; of a split one, the first part.
        adapters: One adapter, or several; a pair gives an adapter its scale, which is 1 otherwise.
        out_path: Where to write; an existing file is replaced.
        dtype: The format of the matrices that change; by default each keeps its own.
        threads: Default: one per processor that this process may use.
        progress: Called with the bytes of input done and in all.

    Returns:
        Which tensors changed, and what encoding them cost.

    Raises:
        AdapterError: An adapter does not fit, whole; the message lists every tensor that does not.
            Or a weight would become infinite or NaN.
        FormatError: A file is damaged, or a value beyond what the format can hold.
        InvalidRequest: A tensor cannot be written in the format it should have.

    Example:
        >>> import realm_ext, tempfile, pathlib
        >>> out = pathlib.Path(tempfile.mkdtemp()) / "pirate.gguf"
        >>> base, adapter = realm_ext.demo_path("target.gguf"), realm_ext.demo_path("adapter")
        >>> report = realm_ext.merge_adapter(base, adapter, out)
        >>> len(report.tensors), max(t.relative_error for t in report.tensors) < 0.01
        (28, True)
    """
    return _core.merge_adapter(
        base, scaled(adapters), out_path, dtype=dtype, threads=threads, progress=progress
    )


def scaled(
    adapters: ScaledAdapter | Iterable[ScaledAdapter],
) -> list[tuple[AdapterLike, float]]:
    """Adapters as pairs with their scales, whichever of the accepted forms they came in."""
    if _is_adapter(adapters) or _is_pair(adapters):
        adapters = [cast("ScaledAdapter", adapters)]
    pairs = cast("Iterable[ScaledAdapter]", adapters)
    return [
        cast("tuple[AdapterLike, float]", one) if _is_pair(one) else (cast("AdapterLike", one), 1.0)
        for one in pairs
    ]


def chosen(adapters: AdapterChoice) -> list[tuple[str, float]]:
    """A request's adapters as names with scales.

    Raises:
        InvalidRequest: It is nothing of the kind.
    """
    if adapters is None:
        return []
    if isinstance(adapters, str):
        return [(adapters, 1.0)]
    try:
        return [(str(name), float(scale)) for name, scale in adapters]
    except (TypeError, ValueError):
        wanted = "None, a name, or pairs of a name and a scale"
        raise InvalidRequest(f"adapter is {adapters!r}; must be {wanted}") from None


def adapter_config(config: AdapterConfig | None) -> str | None:
    """A configuration as the text of an `adapter_config.json`."""
    return config if config is None or isinstance(config, str) else json.dumps(dict(config))


def _is_adapter(value: object) -> bool:
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, Mapping))


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], (int, float))
