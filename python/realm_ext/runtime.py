"""Many tenants on shared models."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from realm_ext import _core
from realm_ext._serving import close_at_exit
from realm_ext.adapters import adapter_config
from realm_ext.errors import InvalidRequest
from realm_ext.tenant import Tenant
from realm_ext.text import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from realm_ext.adapters import AdapterConfig, AdapterLike


class Runtime:
    """Holds models, their drafts and adapters by id, one copy each, and serves tenants on them.

    Each tenant has a quota, a fair share by weight, an adapter, and a prompt cache of its own;
    nothing of one tenant reaches another. All methods may be called from any thread; what fails
    leaves everything as it was. See docs/tenancy.md.

    Example:
        >>> import realm_ext
        >>> params = realm_ext.SamplingParams(temperature=0, max_tokens=3)
        >>> with realm_ext.Runtime() as runtime:
        ...     runtime.load_model(realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")))
        ...     acme = runtime.get_or_create("acme", "demo", sampling=params)
        ...     acme.generate("The capital of France is").text.strip()
        'Paris'

    Args:
        max_sequences: As for `Engine`; all options are those of each model's engine.
        max_step_tokens: As for `Engine`.
        kv_bytes: As for `Engine`: memory for keys and values of each model.
        kv_dtype: As for `Engine`.
        prefix_cache: As for `Engine`; a tenant finds its own prompts again, nobody else's.
        draft_kv_bytes: As for `Engine`.
        device: As for `Model`, and so are the others.
        threads: As for `Model`.
        weights: As for `Model`.
    """

    def __init__(
        self,
        *,
        max_sequences: int = 32,
        max_step_tokens: int = 512,
        kv_bytes: int | None = None,
        kv_dtype: Literal["f32", "f16", "bf16", "q8_0"] = "f16",
        prefix_cache: bool = True,
        draft_kv_bytes: int | None = None,
        device: str = "auto",
        threads: int | None = None,
        weights: Literal["packed", "mapped"] = "packed",
    ) -> None:
        """See the class."""
        self._core = _core.Runtime(
            max_sequences=max_sequences,
            max_step_tokens=max_step_tokens,
            kv_bytes=kv_bytes,
            kv_dtype=kv_dtype,
            prefix_cache=prefix_cache,
            draft_kv_bytes=draft_kv_bytes,
            device=device,
            threads=threads,
            weights=weights,
        )
        self._lock = threading.Lock()
        self._texts: dict[str, tuple[_core.Vocabulary, Tokenizer]] = {}
        close_at_exit(self)

    @property
    def core(self) -> _core.Runtime:
        """The compiled object behind this one."""
        return self._core

    # ---- models

    def load_model(self, spec: _core.ModelSpec) -> None:
        """Loads a model, and its draft if the spec names one that is not there yet.

        Raises:
            AdapterError: An adapter that was loaded for it does not fit.
            FormatError: A file is not a model that can be computed.
            InvalidRequest: The id is taken, the draft is not there, or its tokens are not the
                model's.
            OutOfMemoryError: The weights do not fit.
        """
        self._core.load_model(spec)

    def store_model(self, data: Buffer, model_id: str) -> None:
        """As `load_model`, from the contents of a file, which are held and not copied.

        Its draft is the one that `store_draft_model` gave it, before or after, if any.
        """
        self._core.store_model(data, model_id)

    def store_draft_model(self, data: Buffer, model_id: str) -> None:
        """Loads what guesses ahead for a model, under the id ``"{model_id}_draft"``.

        It may come before the model or after, but before its first tenant.
        """
        self._core.store_draft_model(data, model_id)

    def unload_model(self, model_id: str) -> None:
        """Cancels the requests on a model, releases its tenants, and lets go of what is its own.

        That is its weights, its adapters, and a draft that no other model has.
        """
        self._core.unload_model(model_id)
        with self._lock:
            self._texts.pop(model_id, None)

    def list_models(self) -> dict[str, _core.LoadedModel]:
        """The models that are loaded, by id, drafts included."""
        return {one.id: one for one in self._core.list_models()}

    # ---- adapters

    def load_lora_adapter(
        self,
        adapter_id: str,
        source: AdapterLike,
        model_id: str,
        strict: bool = True,
        *,
        config: AdapterConfig | None = None,
    ) -> _core.AdapterReport | None:
        """Loads a LoRA adapter for a model, as `Model.load_adapter` does.

        The model may come later: the adapter is fitted when it does, and this returns None.

        Raises:
            AdapterError: The message lists every tensor that does not fit, and why.
            InvalidRequest: The id is taken by an adapter of another model.
        """
        text = adapter_config(config)
        return self._core.load_lora_adapter(
            adapter_id, source, model_id, strict=strict, config=text
        )

    def unload_lora_adapter(self, adapter_id: str) -> None:
        """Takes an adapter away; its memory goes when the last request with it ends.

        Requests of tenants that still have it set fail, until they get another.
        """
        self._core.unload_lora_adapter(adapter_id)

    def list_adapters(self) -> dict[str, _core.RuntimeAdapter]:
        """The adapters that are loaded, by id."""
        return {one.id: one for one in self._core.list_adapters()}

    def set_tenant_lora_adapter(self, tenant_id: str, adapter_id: str | None) -> None:
        """Gives a tenant an adapter from its next request on; None: the base.

        The tenant and the model may come later.

        Raises:
            InvalidRequest: There is no such adapter.
            QuotaExceeded: It is above the tenant's `adapter_bytes`.
        """
        self._core.set_tenant_lora_adapter(tenant_id, adapter_id)

    # ---- tenants

    def get_or_create(
        self,
        tenant_id: str,
        model_id: str,
        quota: _core.Quota | None = None,
        weight: float | None = None,
        sampling: _core.SamplingParams | None = None,
    ) -> Tenant:
        """The tenant on a model, made if it is not there.

        Args:
            tenant_id: 3 to 64 of A-Z, a-z, 0-9, _ and -.
            model_id: A model that is loaded. A tenant may be on several; quota and counters are
                those of each.
            quota: What it may take; by default no limits. None leaves a living tenant its own.
            weight: Its fair share in proportion to the others', by default 1; None as above.
            sampling: The parameters of requests that bring none; None as above.

        Raises:
            InvalidRequest: The tenant lives with another quota, weight or sampling; or there is no
                such model.
        """
        core = self._core.get_or_create(
            tenant_id, model_id, quota=quota, weight=weight, sampling=sampling
        )
        return self._tenant(core)

    def release(self, tenant_id: str) -> None:
        """Cancels a tenant's requests on all models, and forgets it."""
        self._core.release(tenant_id)

    def tenants(self) -> list[Tenant]:
        """Those that live, by id and model."""
        return [self._tenant(core) for core in self._core.tenants()]

    # ---- figures

    def metrics(self) -> str:
        """All figures as Prometheus reads them (text format 0.0.4)."""
        return self._core.metrics()

    def stats(self) -> dict[str, dict[str, Any]]:
        """The same as a dict: by name, with ``"type"``, ``"help"`` and ``"samples"``.

        A sample is a pair of its labels and its value; the value of a histogram is a dict of
        ``"buckets"`` (bounds with cumulative counts), ``"count"`` and ``"sum"``.
        """
        return self._core.figures()

    def close(self) -> None:
        """Cancels every request and lets go of everything. From any thread; again: nothing."""
        self._core.close()
        with self._lock:
            self._texts.clear()

    def __enter__(self) -> Self:
        """The runtime itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the runtime."""
        self.close()

    def _tenant(self, core: _core.Tenant) -> Tenant:
        return Tenant(core, lambda: self._text(core.model_id))

    def _text(self, model_id: str) -> Tokenizer:
        """One tokenizer for all tenants of a model."""
        vocabulary = self._core.model(model_id).vocabulary
        if vocabulary is None:
            raise InvalidRequest("this model's file has no vocabulary")
        with self._lock:
            known = self._texts.get(model_id)
        if known and known[0] is vocabulary:
            return known[1]
        text = Tokenizer(vocabulary)
        with self._lock:
            self._texts[model_id] = vocabulary, text
        return text
