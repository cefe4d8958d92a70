"""A GGUF model, loaded and ready to compute."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from realm_ext import _core
from realm_ext._token_ids import as_token_ids
from realm_ext.adapters import adapter_config, chosen, scaled
from realm_ext.errors import InvalidRequest
from realm_ext.text import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from realm_ext.adapters import AdapterChoice, AdapterConfig, AdapterLike, ScaledAdapter

Tokens = Sequence[int] | NDArray[np.integer]


class Model:
    """A GGUF model in memory.

    It may be shared between threads and sessions; computations on it take turns.

    Example:
        >>> import realm_ext
        >>> with realm_ext.Model(realm_ext.demo_path("target.gguf")) as model:
        ...     model.config.architecture
        'llama'

    Args:
        source: A path, or a bytes-like object that holds the file.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"metal"``. Auto is what the
            environment's ``REALM_BACKEND`` names, else the CPU: a GPU is used when it is named.
            Metal uses the file in place, as ``"mapped"`` does.
        threads: How many threads compute; by default all processors this process may use.
        weights: ``"packed"`` packs the weights into memory of our own, as fast kernels want them.
            ``"mapped"`` uses the file in place: loading is instant, computing is slower, the
            answers are the same bits; if another process shortens the file, this process ends with
            a bus error.
        activations: What quantized weights are multiplied with: ``"int8"`` is fast; ``"f32"`` is
            slow and computes with the weights' exact values, to judge the other by; on CUDA weights
            then take four bytes a value. Metal always computes in f32.
        deterministic: On a GPU a row's bits then depend on its own context alone, whatever shares
            its batches, at some cost. On the CPU they always do, whatever this says.
        merge: Adapters to merge into the weights as they are loaded; pairs give them scales.
        merge_dtype: The format of the matrices they change; by default each keeps its own.
        progress: Called as ``progress(bytes_done, bytes_total)`` while loading.

    Raises:
        AdapterError: An adapter to merge does not fit.
        FormatError: The file is not a model that can be computed; the message names the field.
        OutOfMemoryError: The weights do not fit.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Buffer,
        device: str = "auto",
        *,
        threads: int | None = None,
        weights: Literal["packed", "mapped"] = "packed",
        activations: Literal["int8", "f32"] = "int8",
        deterministic: bool = False,
        merge: ScaledAdapter | Iterable[ScaledAdapter] = (),
        merge_dtype: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """See the class."""
        self._core: _core.Model | None = _core.Model(
            source,
            device=device,
            threads=threads,
            weights=weights,
            activations=activations,
            deterministic=deterministic,
            progress=progress,
            merge=scaled(merge),
            merge_dtype=merge_dtype,
        )
        self._tokenizer = cache(partial(_make_tokenizer, self.vocab))

    @property
    def core(self) -> _core.Model:
        """The compiled object behind this one; raises after `close`."""
        if self._core is None:
            raise InvalidRequest("the model is closed")
        return self._core

    @property
    def config(self) -> _core.ModelConfig:
        """The model's numbers, as its file declares them."""
        return self.core.config

    @property
    def vocab(self) -> _core.Vocabulary | None:
        """What the token ids mean; None if the file does not say."""
        return self.core.vocabulary

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back; built when first asked for."""
        return self._tokenizer()

    @property
    def memory(self) -> dict[str, int]:
        """Bytes in use, by what for. Weights that an overlay shares count at its base alone."""
        adapters = sum(one.bytes for one in self.adapters.values())
        return {"weights": self.core.weight_bytes, "adapters": adapters}

    # ---- adapters

    @property
    def merged(self) -> list[_core.RequantizedTensor]:
        """The tensors that `merge` or `overlay` changed, with what encoding them cost."""
        return self.core.merged

    def overlay(
        self,
        merge: ScaledAdapter | Iterable[ScaledAdapter],
        merge_dtype: str | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Model:
        """A model with adapters in its weights, which shares with this one what they leave alone.

        Its answers are those of ``Model(source, merge=...)``, bit for bit, and it owns only the
        tensors that the adapters change: ``memory["weights"]`` of it counts those. This model stays
        as it is, also while requests run on it; closing the overlay frees what it owns. Computations
        on the two take turns.

        Args:
            merge: Adapters, as for the class.
            merge_dtype: The format of the matrices they change; by default each keeps its own.
            progress: Called as for the class.

        Raises:
            AdapterError: An adapter does not fit, or the adapters cannot be composed.
            InvalidRequest: This model has adapters merged into it: make the overlay over its base.
            OutOfMemoryError: The tensors that change do not fit.

        Example:
            >>> import realm_ext
            >>> model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
            >>> with model.overlay(realm_ext.demo_path("adapter")) as pirate:
            ...     len(pirate.merged), pirate.memory["weights"] < model.memory["weights"]
            (28, True)
        """
        core = self.core.overlay(scaled(merge), merge_dtype=merge_dtype, progress=progress)
        over = Model.__new__(Model)
        over._core = core
        over._tokenizer = self._tokenizer
        return over

    def load_adapter(
        self,
        name: str,
        source: AdapterLike,
        strict: bool = True,
        *,
        config: AdapterConfig | None = None,
    ) -> _core.AdapterReport:
        """Loads a LoRA adapter under a name that requests then give.

        A name that is in use goes to the new adapter; requests that run keep the one they have.

        Args:
            name: What requests call it.
            source: A PEFT directory, a safetensors file or a GGUF adapter; its bytes; or arrays by
                name.
            strict: Refuse the adapter if any tensor of it cannot be used. Otherwise the modules that
                are whole are taken, and the report says which are not.
            config: In place of an `adapter_config.json`, as its text or as a mapping.

        Raises:
            AdapterError: The message lists every tensor that does not fit, and why.
            FormatError: The file is damaged.
            OutOfMemoryError: It does not fit `adapter_budget` beside the adapters in use.

        Example:
            >>> import realm_ext
            >>> model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
            >>> report = model.load_adapter("pirate", realm_ext.demo_path("adapter"))
            >>> len(report.applied), report.rank, report.scale
            (56, 8, 2.0)
        """
        text = adapter_config(config)
        return _core.load_adapter(self.core, name, source, strict=strict, config=text)

    def unload_adapter(self, name: str) -> None:
        """Takes an adapter's name away; its memory goes when the last request with it ends.

        Raises:
            InvalidRequest: There is none of that name.
        """
        _core.unload_adapter(self.core, name)

    @property
    def adapters(self) -> dict[str, _core.LoadedAdapter]:
        """The adapters that are loaded, by name."""
        return {one.name: one for one in _core.loaded_adapters(self.core)}

    @property
    def adapter_budget(self) -> int:
        """Bytes that adapters may take; 0 for no limit.

        Above it those that nobody uses make room, longest unused first.
        """
        return _core.adapter_budget(self.core)

    @adapter_budget.setter
    def adapter_budget(self, n_bytes: int) -> None:
        _core.set_adapter_budget(self.core, n_bytes)

    @staticmethod
    def estimate(
        source: str | os.PathLike[str] | Buffer,
        *,
        context: int | None = None,
        kv_dtype: str = "f16",
    ) -> dict[str, int]:
        """Bytes that a model will need, before it is loaded.

        Args:
            source: As for the class.
            context: Tokens to keep keys and values for; by default the model's context length.
            kv_dtype: Storage type of keys and values.
        """
        return _core.estimate(source, context=context, kv_dtype=kv_dtype)

    def logits(
        self,
        tokens: Tokens,
        adapters: AdapterChoice = None,
        *,
        rows: Literal["all", "last"] = "all",
        kv_dtype: str = "f32",
        chunk: int = 512,
    ) -> NDArray[np.float32]:
        """The logits after each token, `[T, V]`, or after the last one, `[V]`.

        Args:
            tokens: Token ids; nothing is added to them.
            adapters: None, the name of a loaded adapter, or pairs of names and scales.
            rows: ``"all"`` or ``"last"``.
            kv_dtype: Storage type of keys and values: ``"f32"``, ``"f16"``, ``"bf16"``, ``"q8_0"``.
            chunk: How many tokens go through the model at a time; it changes no bit of the result.
        """
        ids = as_token_ids(tokens)
        return self.core.logits(
            ids, rows=rows, kv_dtype=kv_dtype, chunk=chunk, adapters=chosen(adapters)
        )

    def close(self) -> None:
        """Lets go of the weights. Sessions that still use the model keep it until they end."""
        self._core = None

    def __enter__(self) -> Self:
        """The model itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the model."""
        self.close()

    def __repr__(self) -> str:
        """Architecture and size."""
        if self._core is None:
            return "<Model, closed>"
        config = self.config
        return f"<Model {config.architecture}, {config.n_layers} layers of {config.n_embd}>"


def _make_tokenizer(vocabulary: _core.Vocabulary | None) -> Tokenizer:
    if vocabulary is None:
        raise InvalidRequest("this model's file has no vocabulary")
    return Tokenizer(vocabulary)
