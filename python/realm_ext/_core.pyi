# Written by tools/make_stubs.py from the compiled extension; do not edit.
"""
The compiled core of realm_ext; use realm_ext itself.
"""

from __future__ import annotations
import builtins
import collections.abc
import numpy
import numpy.typing
import os
import typing
import typing_extensions

__all__ = [
    "AdapterReport",
    "AppliedTensor",
    "BackendProbe",
    "BuildInfo",
    "CancelFlag",
    "Ceilings",
    "Device",
    "End",
    "Engine",
    "EngineStats",
    "Format",
    "GGUFFile",
    "Latency",
    "LayerSession",
    "LoadedAdapter",
    "LoadedModel",
    "Mailbox",
    "MergeReport",
    "Model",
    "ModelConfig",
    "ModelSpec",
    "Piece",
    "PreTokenizer",
    "Quota",
    "RefusedTensor",
    "RequantizeReport",
    "RequantizedTensor",
    "Request",
    "RequestReport",
    "Runtime",
    "RuntimeAdapter",
    "SamplingParams",
    "SentencePieceEncoder",
    "Session",
    "SpecialSplitter",
    "SpeculationReport",
    "SpeculativeConfig",
    "StreamDecoder",
    "Tenant",
    "TenantStats",
    "TensorInfo",
    "Vocabulary",
    "active_cpu_level",
    "adapter_budget",
    "build_info",
    "dequantize",
    "devices",
    "estimate",
    "formats",
    "load_adapter",
    "loaded_adapters",
    "measure_ceilings",
    "merge_adapter",
    "pre_tokenizers",
    "probe_backends",
    "quantize",
    "quantize_gguf",
    "quantize_mixes",
    "sample",
    "sampling_law",
    "set_adapter_budget",
    "tenant_layer_session",
    "token_logprobs",
    "token_noise",
    "unload_adapter",
    "usable_processors",
    "write_gguf",
]

class Device:
    """
    A processor that models can run on.
    """
    def __repr__(self) -> str: ...
    @property
    def features(self) -> list[str]:
        """
        Instruction sets or capabilities.
        """
    @property
    def index(self) -> int:
        """
        Position among the devices of its kind.
        """
    @property
    def kind(self) -> str:
        """
        "cpu", "cuda" or "metal".
        """
    @property
    def memory_bytes(self) -> int:
        """
        0 if not known.
        """
    @property
    def name(self) -> str:
        """
        As its driver or the operating system names it.
        """

class BackendProbe:
    """
    What one backend of this build found.
    """
    @property
    def available(self) -> bool: ...
    @property
    def devices(self) -> list[Device]: ...
    @property
    def kind(self) -> str: ...
    @property
    def reason(self) -> str:
        """
        Why it is not available, or a remark.
        """

class BuildInfo:
    """
    What this binary is.
    """
    @property
    def build_type(self) -> str: ...
    @property
    def compiler(self) -> str: ...
    @property
    def cuda(self) -> str:
        """
        Compiler of the CUDA backend, or empty.
        """
    @property
    def version(self) -> str: ...

class Ceilings:
    """
    The most that this machine's processors can do.
    """
    @property
    def clock_hz(self) -> float:
        """
        Of one thread, when it alone works.
        """
    @property
    def f32_macs_per_s(self) -> float:
        """
        Multiply-accumulates of floats, in registers.
        """
    @property
    def int8_macs_per_s(self) -> float:
        """
        Multiply-accumulates of bytes, in registers.
        """
    @property
    def level(self) -> str:
        """
        The instruction set measured.
        """
    @property
    def n_threads(self) -> int: ...
    @property
    def read_bytes_per_s(self) -> float:
        """
        Reading memory far larger than the caches.
        """

class Format:
    """
    A weight format: values are encoded in blocks of fixed size.
    """
    @property
    def block_bytes(self) -> int:
        """
        Bytes of one block.
        """
    @property
    def block_elements(self) -> int:
        """
        Values in one block.
        """
    @property
    def name(self) -> str: ...
    @property
    def writable(self) -> bool:
        """
        Whether quantize() can produce it.
        """

class TensorInfo:
    """
    Where a tensor lies in its file, and as what.
    """
    def __repr__(self) -> str: ...
    @property
    def dtype(self) -> str:
        """
        Name of its weight format.
        """
    @property
    def name(self) -> str: ...
    @property
    def nbytes(self) -> int:
        """
        Encoded size.
        """
    @property
    def offset(self) -> int:
        """
        Of its first byte, from the start of its file.
        """
    @property
    def part(self) -> int:
        """
        Which file of a split model, from 0.
        """
    @property
    def shape(self) -> tuple[int, ...]:
        """
        As numpy writes it: rows first.
        """

class GGUFFile:
    """
    A GGUF file, validated before anything of it is exposed.

    Safe to share between threads. Of a split model, open the first part.

    Args:
        source: A path, or a bytes-like object with the file's contents. The object is not
            copied; do not write to it while the file is in use.
    """
    def __init__(self, source: str | os.PathLike[str] | typing_extensions.Buffer) -> None: ...
    def __repr__(self) -> str: ...
    def raw(self, name: str) -> numpy.typing.NDArray[numpy.uint8]:
        """
        The tensor's encoded bytes, read-only and without a copy.

        The array keeps the file alive. It maps a file on disk: if another process shortens that
        file, touching the array ends this process. `read` has no such risk.
        """
    def read(self, name: str) -> numpy.typing.NDArray[numpy.float32]:
        """
        The tensor's values, decoded to float32.
        """
    @property
    def alignment(self) -> int: ...
    @property
    def file_bytes(self) -> int:
        """
        Size of all parts together.
        """
    @property
    def metadata(self) -> dict[str, typing.Any]:
        """
        Keys and values in file order.
        """
    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """
        TensorInfo by name, in file order.
        """
    @property
    def version(self) -> int: ...

class RequantizedTensor:
    """
    One tensor of a RequantizeReport.
    """
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def from_dtype(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def relative_error(self) -> float:
        """
        The same over the root mean square of the input.
        """
    @property
    def rms_error(self) -> float:
        """
        Root mean square of the change of the decoded values; 0 when copied.
        """
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def to_dtype(self) -> str: ...

class RequantizeReport:
    """
    What quantize_gguf did.
    """
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def tensors(self) -> list[RequantizedTensor]: ...

class SamplingParams:
    """
    How a request is sampled and when it ends. Immutable; see `replace`.

    The filters apply in this order: penalties, logit_bias, temperature, top_k, top_p, min_p. A draw
    depends only on the logits, these options, the seed and the position, never on other requests.

    Args:
        max_tokens: New tokens at most.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Keeps this many of the most likely tokens; 0 keeps all.
        top_p: Keeps the most likely tokens until their mass reaches this part; 1 keeps all.
        min_p: Keeps tokens at least this likely relative to the most likely one.
        repetition_penalty: For tokens of prompt and output: divides positive logits, multiplies
            negative ones.
        presence_penalty: Subtracted once from the logits of tokens that the output has.
        frequency_penalty: Subtracted as many times as the output has the token.
        seed: Decides every draw; without one each request gets a fresh one, which its result names.
        stop: The text ends before the first of these that appears.
        stop_token_ids: Tokens that end the request.
        ignore_eos: Generate on past the model's end-of-generation tokens.
        logprobs: Number of most likely alternatives to report per token; 0 reports the chosen
            token's alone. They are the model's own, before penalties, bias and temperature.
        logit_bias: Added to the logits of single tokens; minus infinity forbids one.
        grammar: Not available yet: anything but None is refused.

    Example:
        >>> import realm_ext
        >>> realm_ext.SamplingParams(temperature=0).replace(max_tokens=16).max_tokens
        16
    """

    __hash__: typing.ClassVar[None] = None  # type: ignore[assignment]
    def __eq__(self, arg0: object) -> bool: ...
    def __getstate__(self) -> dict[str, typing.Any]: ...
    def __init__(
        self,
        *,
        max_tokens: typing.SupportsInt | typing.SupportsIndex = 512,
        temperature: typing.SupportsFloat | typing.SupportsIndex = 0.7,
        top_k: typing.SupportsInt | typing.SupportsIndex = 40,
        top_p: typing.SupportsFloat | typing.SupportsIndex = 0.9,
        min_p: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        repetition_penalty: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        presence_penalty: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        frequency_penalty: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        seed: typing.SupportsIndex | None = None,
        stop: collections.abc.Sequence[str] = [],
        stop_token_ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
        ignore_eos: bool = False,
        logprobs: typing.SupportsInt | typing.SupportsIndex | None = None,
        logit_bias: collections.abc.Mapping[
            typing.SupportsInt | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex
        ] = {},
        grammar: str | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, arg0: dict[str, typing.Any]) -> None: ...
    def replace(self, **kwargs: typing.Any) -> SamplingParams:
        """
        The same options but for those named.
        """
    @property
    def frequency_penalty(self) -> float: ...
    @property
    def grammar(self) -> str | None: ...
    @property
    def ignore_eos(self) -> bool: ...
    @property
    def logit_bias(self) -> dict[int, float]:
        """
        A copy.
        """
    @property
    def logprobs(self) -> int | None: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def min_p(self) -> float: ...
    @property
    def presence_penalty(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def stop(self) -> list[str]:
        """
        A copy.
        """
    @property
    def stop_token_ids(self) -> list[int]:
        """
        A copy.
        """
    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...

class PreTokenizer:
    """
    How a byte-level BPE vocabulary splits text into words.
    """
    @property
    def breaks_at_words(self) -> bool: ...
    @property
    def ignore_merges(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def names(self) -> typing.Any:
        """
        Every name that means this one.
        """
    @property
    def newline_tokens(self) -> bool: ...
    @property
    def patterns(self) -> list[typing.Any]:
        """
        Regular expressions that split in turn.
        """
    @property
    def raw(self) -> bool: ...

class Vocabulary:
    """
    What the token ids of a model mean.

    Safe to share between threads.

    Args:
        source: A GGUF file with a vocabulary, as a path or a bytes-like object.
        pre: The name of a pre-tokenizer to use in place of the one the file names.
    """
    def __init__(
        self, source: str | os.PathLike[str] | typing_extensions.Buffer, pre: str | None = None
    ) -> None: ...
    def __len__(self) -> int: ...
    def _bpe_tables(self) -> tuple[dict[str, typing.Any], list[typing.Any]]: ...
    def bytes(self, id: typing.SupportsInt | typing.SupportsIndex) -> builtins.bytes:
        """
        What the token adds to an output.
        """
    def decode(
        self,
        ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        skip_special: bool = True,
    ) -> builtins.bytes:
        """
        The bytes of a whole text.
        """
    def difference(self, draft: Vocabulary) -> str:
        """
        Why another's ids do not mean the same; empty if they do.
        """
    def ends_generation(self, id: typing.SupportsInt | typing.SupportsIndex) -> bool: ...
    def find(self, text: str) -> int | None:
        """
        The id of the token that the file writes so, or None.
        """
    def kind_of(self, id: typing.SupportsInt | typing.SupportsIndex) -> str:
        """
        "normal", "unknown", "control", "user-defined", "unused" or "byte".
        """
    def text(self, id: typing.SupportsInt | typing.SupportsIndex) -> str:
        """
        The token as the file writes it.
        """
    @property
    def add_bos(self) -> bool:
        """
        Whether a text begins with bos_id.
        """
    @property
    def add_eos(self) -> bool:
        """
        Whether a text ends with eos_id.
        """
    @property
    def add_space_prefix(self) -> bool: ...
    @property
    def bos_id(self) -> int | None: ...
    @property
    def chat_templates(self) -> dict[str, typing.Any]:
        """
        Chat templates by name; the default one has the empty name.
        """
    @property
    def end_tokens(self) -> list[int]:
        """
        Every id that ends generation.
        """
    @property
    def eos_id(self) -> int | None: ...
    @property
    def kind(self) -> str:
        """
        "sentencepiece", "byte-level" or "raw-text".
        """
    @property
    def pre_tokenizer(self) -> PreTokenizer:
        """
        None if its name is not known, or there is none.
        """
    @property
    def pre_tokenizer_name(self) -> str: ...
    @property
    def special(self) -> dict[str, typing.Any]:
        """
        Ids by role: bos, eos, eot, eom, unk, pad, ...
        """

class SpecialSplitter:
    """
    Splits text at special tokens.
    """
    def __init__(self, vocabulary: Vocabulary) -> None: ...
    def split(self, text: str, parse_special: bool) -> list[typing.Any]:
        """
        Texts and ids of special tokens, in order; control tokens only if parse_special.
        """

class SentencePieceEncoder:
    """
    Text to ids by scores.
    """
    def __init__(self, vocabulary: Vocabulary) -> None: ...
    def encode(self, text: str, parse_special: bool) -> list[int]:
        """
        Ids without BOS and EOS.
        """

class StreamDecoder:
    """
    Turns tokens into text as they come, whole characters only.

    Args:
        vocabulary: What the ids mean.
        skip_special: Whether control tokens are left out.
        errors: What becomes of bytes that are not UTF-8, as for bytes.decode: "replace" makes them
            U+FFFD, "surrogateescape" keeps them.
    """
    def __init__(
        self, vocabulary: Vocabulary, *, skip_special: bool = True, errors: str = "replace"
    ) -> None: ...
    def finish(self) -> str:
        """
        What was waiting for the rest of a character.
        """
    @typing.overload
    def push(self, id: typing.SupportsInt | typing.SupportsIndex) -> str:
        """
        The text that is whole after this token.
        """
    @typing.overload
    def push(self, ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> str:
        """
        The text that is whole after these tokens.
        """
    @property
    def pending(self) -> int:
        """
        Bytes that wait.
        """

class MergeReport:
    """
    What merge_adapter did.
    """
    @property
    def n_copied(self) -> int:
        """
        How many tensors stayed as they were, byte for byte.
        """
    @property
    def tensors(self) -> list[RequantizedTensor]:
        """
        The tensors that changed. Their errors are what encoding them cost, against the merged values before.
        """

class ModelConfig:
    """
    A model's numbers, as its file declares them.
    """
    @property
    def architecture(self) -> str: ...
    @property
    def head_width(self) -> int: ...
    @property
    def n_ctx(self) -> int:
        """
        The context length the model was trained for.
        """
    @property
    def n_embd(self) -> int: ...
    @property
    def n_experts(self) -> int: ...
    @property
    def n_experts_used(self) -> int: ...
    @property
    def n_ff(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def n_kv_heads(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def window(self) -> int:
        """
        Width of the sliding window; 0 when there is none.
        """

class Model:
    def __init__(
        self,
        source: str | os.PathLike[str] | typing_extensions.Buffer,
        *,
        device: str = "auto",
        threads: typing.SupportsInt | typing.SupportsIndex | None = None,
        weights: str = "packed",
        activations: str = "int8",
        deterministic: bool = False,
        progress: collections.abc.Callable[[int, int], None] | None = None,
        merge: collections.abc.Sequence[
            tuple[
                str
                | os.PathLike[str]
                | typing_extensions.Buffer
                | collections.abc.Mapping[str, numpy.typing.NDArray[typing.Any]],
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ] = [],
        merge_dtype: str | None = None,
    ) -> None: ...
    def logits(
        self,
        tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        *,
        rows: str = "all",
        kv_dtype: str = "f32",
        chunk: typing.SupportsInt | typing.SupportsIndex = 512,
        adapters: collections.abc.Sequence[
            tuple[str, typing.SupportsFloat | typing.SupportsIndex]
        ] = [],
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        The logits after each token ("all": [T, V]) or after the last one ("last": [V]).

        `chunk` is how many tokens go through the model at a time; it changes no bit of the result.
        """
    def overlay(
        self,
        adapters: collections.abc.Sequence[
            tuple[
                str
                | os.PathLike[str]
                | typing_extensions.Buffer
                | collections.abc.Mapping[str, numpy.typing.NDArray[typing.Any]],
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ],
        *,
        merge_dtype: str | None = None,
        progress: collections.abc.Callable[[int, int], None] | None = None,
    ) -> Model: ...
    def path_counts(self) -> dict[str, typing.Any]:
        """
        Kernel calls of matrix products so far, by path.
        """
    @property
    def backend(self) -> str: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def merged(self) -> list[RequantizedTensor]: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def weight_bytes(self) -> int: ...

class AppliedTensor:
    """
    A tensor of an adapter, and where it went.
    """
    @property
    def base(self) -> str:
        """
        The tensor of the model that it changes.
        """
    @property
    def part(self) -> str:
        """
        "A", "B", "magnitude", "bias", "alpha", "weight", or "base copy".
        """
    @property
    def tensor(self) -> str:
        """
        Its name in the adapter.
        """

class RefusedTensor:
    """
    A tensor of an adapter that was not taken.
    """
    @property
    def reason(self) -> str: ...
    @property
    def tensor(self) -> str:
        """
        Its name in the adapter.
        """

class AdapterReport:
    """
    What became of an adapter's tensors.
    """
    @property
    def applied(self) -> list[AppliedTensor]: ...
    @property
    def content_hash(self) -> str:
        """
        SHA-256 of what it changes, in hexadecimal: its identity.
        """
    @property
    def rank(self) -> int:
        """
        The largest of its modules.
        """
    @property
    def refused(self) -> list[RefusedTensor]: ...
    @property
    def scale(self) -> float:
        """
        alpha / rank, as most of its modules have it.
        """

class LoadedAdapter:
    """
    An adapter that a model has loaded.
    """
    @property
    def bytes(self) -> int: ...
    @property
    def in_use(self) -> bool:
        """
        By a request or a session.
        """
    @property
    def name(self) -> str: ...
    @property
    def report(self) -> AdapterReport: ...

class SpeculativeConfig:
    """
    How tokens are guessed ahead and judged.

    A drafter guesses the next tokens cheaply, and one pass through the model judges all of them.

    Args:
        draft_k: Guesses per pass: at the start when adaptive, else always.
        max_draft_tokens: Upper limit of guesses per pass, at most 16.
        drafter: ``"model"``, the engine's draft model; ``"ngram"``, what followed the last tokens when
            the prompt or the answer had them before; or a function of (token ids so far, number wanted)
            that returns token ids, called on a thread of its own.
        adaptive: Chooses the number of guesses, 0 included, from measured acceptance and cost.
        method: ``"coupled"``: the answer is the one without speculation, whatever is guessed.
            ``"rejection"``: accepts more at high temperatures and is exact in law, but the text that a
            seed gives then depends on what was guessed.
        draft_adapter: The adapter of the draft model.
        draft_timeout_ms: A function that takes longer is given up, for the request that asked.

    Example:
        >>> import realm_ext
        >>> realm_ext.SpeculativeConfig(drafter="ngram").draft_k
        4
    """

    __hash__: typing.ClassVar[None] = None  # type: ignore[assignment]
    def __eq__(self, arg0: object) -> bool: ...
    def __init__(
        self,
        *,
        draft_k: typing.SupportsInt | typing.SupportsIndex = 4,
        max_draft_tokens: typing.SupportsInt | typing.SupportsIndex = 8,
        drafter: typing.Any = "model",
        adaptive: bool = True,
        method: str = "coupled",
        draft_adapter: str | None = None,
        draft_timeout_ms: typing.SupportsInt | typing.SupportsIndex = 100,
    ) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def adaptive(self) -> bool: ...
    @property
    def draft_adapter(self) -> str | None: ...
    @property
    def draft_k(self) -> int: ...
    @property
    def draft_timeout_ms(self) -> int: ...
    @property
    def drafter(self) -> typing.Any: ...
    @property
    def max_draft_tokens(self) -> int: ...
    @property
    def method(self) -> str: ...

class SpeculationReport:
    """
    What speculation did for a request.

    `status` is "off" where none was asked for, "on", or "failed: " and why; after "on: " stands why
    nothing is guessed at the moment. `drafted` guesses were verified in `verifications` passes, which
    gave `tokens`; `accepted` of them stand. `acceptance` has the share of judged guesses that stand, for
    each place in a pass; `k_history` the guesses asked for in the last steps. The seconds are the
    request's share.
    """
    def __repr__(self) -> str: ...
    @property
    def acceptance(self) -> list[float]: ...
    @property
    def accepted(self) -> int: ...
    @property
    def accepted_at(self) -> list[int]: ...
    @property
    def draft_seconds(self) -> float: ...
    @property
    def drafted(self) -> int: ...
    @property
    def judged_at(self) -> list[int]: ...
    @property
    def k_history(self) -> list[int]: ...
    @property
    def status(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def tokens_per_verification(self) -> float: ...
    @property
    def verifications(self) -> int: ...
    @property
    def verify_seconds(self) -> float: ...

class Session:
    def __init__(
        self,
        model: Model,
        params: SamplingParams,
        *,
        kv_dtype: str = "f16",
        max_context: typing.SupportsInt | typing.SupportsIndex = 0,
        adapters: collections.abc.Sequence[
            tuple[str, typing.SupportsFloat | typing.SupportsIndex]
        ] = [],
        draft: Model | None = None,
        draft_failure: str = "",
        speculative: SpeculativeConfig | None = None,
    ) -> None: ...
    def next_token(self) -> int | None: ...
    def prefill(self, tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32]) -> None: ...
    def reset(self) -> None: ...
    def take_text(self) -> builtins.bytes: ...
    @property
    def logprobs(self) -> tuple[float, list[tuple[int, float]]] | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def speculation(self) -> SpeculationReport: ...
    @property
    def state(self) -> str: ...
    @property
    def stop_index(self) -> int | None: ...
    @property
    def tokens(self) -> list[int]: ...

class Mailbox:
    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def take(self) -> list[int]:
        """
        Ids of the requests that have news since the last call.
        """

class RequestReport:
    @property
    def cached_tokens(self) -> int: ...
    @property
    def finished(self) -> float | None: ...
    @property
    def first_token(self) -> float | None: ...
    @property
    def generated_tokens(self) -> int: ...
    @property
    def preemptions(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def speculation(self) -> SpeculationReport: ...
    @property
    def started(self) -> float | None: ...
    @property
    def status(self) -> str: ...

class End:
    @property
    def error(self) -> typing.Any: ...
    @property
    def reason(self) -> str: ...
    @property
    def stop_reason(self) -> typing.Any: ...

class Piece:
    @property
    def end(self) -> End | None: ...
    @property
    def logprobs(self) -> list[tuple[float, list[tuple[int, float]]]] | None: ...
    @property
    def text(self) -> builtins.bytes: ...
    @property
    def tokens(self) -> list[int]: ...

class Request:
    def cancel(self) -> None: ...
    def report(self) -> RequestReport: ...
    def snapshot(self) -> builtins.bytes: ...
    def take(self) -> Piece | None:
        """
        What has come since the last call, if anything.
        """
    def wait(self, timeout: typing.SupportsFloat | typing.SupportsIndex | None = None) -> bool:
        """
        Until `take` has something; False if it came not.
        """
    def wait_end(self, timeout: typing.SupportsFloat | typing.SupportsIndex | None = None) -> bool:
        """
        Until the answer has ended; False if it has not.
        """
    @property
    def id(self) -> int: ...
    @property
    def seed(self) -> int: ...

class Latency:
    """
    Durations in seconds, each within 10 %.
    """
    def quantile(self, q: typing.SupportsFloat | typing.SupportsIndex) -> float:
        """
        What a part `q` of all durations stay at or below; 0 when there are none.
        """
    @property
    def count(self) -> int: ...
    @property
    def max(self) -> float: ...

class EngineStats:
    """
    What an engine has done since it was made, and what it does now.

    Requests: `total_requests` ever accepted, `active_requests` that have not ended, of them `waiting`
    and `running`; `preempted` counts how often one gave way, `cancelled` and `failed` how they ended.
    `refused` counts those above a limit. `average_sequence_length` is in tokens. Cache: `kv_blocks_used` and `kv_blocks_total`, and
    `kv_blocks_cached` that nobody uses, kept for prompts that begin alike; `prefix_hits` requests found
    `prefix_tokens` there. Work: `prompt_tokens`, `tokens_generated`, `tokens_per_second` of the last ten seconds, `steps`, of them `abandoned_steps`, `step_seconds`, `batch_widths`.
    Speculation: `draft_tokens` guessed and judged in `verifications`, `accepted_tokens` that stand,
    `draft_seconds`, and `draft_blocks_used` of `draft_blocks_total` in the draft model's cache. Latencies: `queue_wait`,
    `time_to_first_token`, `inter_token_latency`.
    """
    @property
    def abandoned_steps(self) -> int: ...
    @property
    def accepted_tokens(self) -> int: ...
    @property
    def active_requests(self) -> int: ...
    @property
    def average_sequence_length(self) -> float: ...
    @property
    def batch_widths(self) -> list[int]:
        """
        [n]: steps that served n requests.
        """
    @property
    def cancelled(self) -> int: ...
    @property
    def draft_blocks_total(self) -> int: ...
    @property
    def draft_blocks_used(self) -> int: ...
    @property
    def draft_seconds(self) -> float: ...
    @property
    def draft_tokens(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def inter_token_latency(self) -> Latency: ...
    @property
    def kv_blocks_cached(self) -> int: ...
    @property
    def kv_blocks_total(self) -> int: ...
    @property
    def kv_blocks_used(self) -> int: ...
    @property
    def preempted(self) -> int: ...
    @property
    def prefix_hits(self) -> int: ...
    @property
    def prefix_tokens(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def queue_wait(self) -> Latency: ...
    @property
    def refused(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def step_seconds(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def time_to_first_token(self) -> Latency: ...
    @property
    def tokens_generated(self) -> int: ...
    @property
    def tokens_per_second(self) -> float: ...
    @property
    def total_requests(self) -> int: ...
    @property
    def verifications(self) -> int: ...
    @property
    def waiting(self) -> int: ...

class Engine:
    def __init__(
        self,
        model: Model,
        *,
        max_sequences: typing.SupportsInt | typing.SupportsIndex,
        max_step_tokens: typing.SupportsInt | typing.SupportsIndex,
        kv_bytes: typing.SupportsInt | typing.SupportsIndex | None,
        kv_dtype: str,
        prefix_cache: bool,
        max_queue: typing.SupportsInt | typing.SupportsIndex | None,
        max_wait_ms: typing.SupportsInt | typing.SupportsIndex,
        draft: Model | None = None,
        draft_failure: str = "",
        draft_kv_bytes: typing.SupportsInt | typing.SupportsIndex | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def resume(
        self,
        snapshot: bytes,
        *,
        space: bytes = b"",
        deadline_ms: typing.SupportsFloat | typing.SupportsIndex | None = None,
        mailbox: Mailbox | None = None,
        speculative: SpeculativeConfig | None = None,
        adapters: collections.abc.Sequence[
            tuple[str, typing.SupportsFloat | typing.SupportsIndex]
        ] = [],
    ) -> Request: ...
    def stats(self) -> EngineStats: ...
    def submit(
        self,
        tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        params: SamplingParams,
        *,
        priority: typing.SupportsInt | typing.SupportsIndex = 0,
        deadline_ms: typing.SupportsFloat | typing.SupportsIndex | None = None,
        space: bytes = b"",
        mailbox: Mailbox | None = None,
        speculative: SpeculativeConfig | None = None,
        adapters: collections.abc.Sequence[
            tuple[str, typing.SupportsFloat | typing.SupportsIndex]
        ] = [],
    ) -> Request: ...

class ModelSpec:
    """
    A model to load into a `Runtime`, and what guesses ahead for it.

    Args:
        model_id: What tenants call it.
        model_path: Its file.
        draft_model_path: A smaller model with the same vocabulary, which guesses tokens ahead.
        draft_model_id: Its own id, by which several models can share one; by default
            ``"{model_id}_draft"``. A model that is there under this id is used as it is.
        speculative: How requests are speculated that do not say; by default as `SpeculativeConfig()`
            does if there is a draft, else not at all.

    Example:
        >>> import realm_ext
        >>> realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")).model_id
        'demo'
    """

    __hash__: typing.ClassVar[None] = None  # type: ignore[assignment]
    def __eq__(self, arg0: object) -> bool: ...
    def __init__(
        self,
        model_id: str,
        model_path: str | os.PathLike[str],
        draft_model_path: str | os.PathLike[str] | None = None,
        draft_model_id: str | None = None,
        speculative: SpeculativeConfig | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def draft_model_id(self) -> str | None: ...
    @property
    def draft_model_path(self) -> str | None: ...
    @property
    def model_id(self) -> str: ...
    @property
    def model_path(self) -> str: ...

class Quota:
    """
    What one tenant may take of a model. None: no limit.

    Args:
        concurrent_requests: Requests that run at once; more of them wait.
        queued_requests: Requests that may wait besides those that may run; one more is refused.
        kv_blocks: Blocks of the cache, of 16 tokens each, that running requests hold together; more of
            them wait. A request that could need more alone is refused.
        adapter_bytes: Memory of the adapters that a request computes with.
        tokens_per_minute: Tokens of prompts and answers within any 60 seconds. A request counts with
            its prompt and its `max_tokens` until it has ended, then for 60 seconds with what it took.
        max_tokens: The `max_tokens` that a request may ask for.

    What is refused raises `QuotaExceeded`.

    Example:
        >>> import realm_ext
        >>> realm_ext.Quota(concurrent_requests=2, tokens_per_minute=10_000)
        Quota(concurrent_requests=2, tokens_per_minute=10000)
    """

    __hash__: typing.ClassVar[None] = None  # type: ignore[assignment]
    def __eq__(self, arg0: object) -> bool: ...
    def __init__(
        self,
        *,
        concurrent_requests: typing.SupportsInt | typing.SupportsIndex | None = None,
        queued_requests: typing.SupportsInt | typing.SupportsIndex | None = None,
        kv_blocks: typing.SupportsInt | typing.SupportsIndex | None = None,
        adapter_bytes: typing.SupportsInt | typing.SupportsIndex | None = None,
        tokens_per_minute: typing.SupportsInt | typing.SupportsIndex | None = None,
        max_tokens: typing.SupportsInt | typing.SupportsIndex | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def adapter_bytes(self) -> int | None: ...
    @property
    def concurrent_requests(self) -> int | None: ...
    @property
    def kv_blocks(self) -> int | None: ...
    @property
    def max_tokens(self) -> int | None: ...
    @property
    def queued_requests(self) -> int | None: ...
    @property
    def tokens_per_minute(self) -> int | None: ...

class TenantStats:
    """
    What a tenant has had of a model so far, and what it has now.

    Requests: `total_requests` accepted, `refused` above the quota, `active_requests` that have not
    ended, of them `running`; `preempted` counts how often one gave way, `cancelled` and `failed` how
    they ended. `kv_blocks_used` counts a block for every request that uses it. Tokens: `prompt_tokens`,
    of them `prefix_tokens` found in the cache by `prefix_hits` requests, `tokens_generated`,
    `tokens_last_minute` as the quota counts them; `rows_computed` is what fair shares are counted in.
    Speculation: `draft_tokens`, `accepted_tokens`. Latencies: `queue_wait`, `time_to_first_token`,
    `inter_token_latency`.
    """
    @property
    def accepted_tokens(self) -> int: ...
    @property
    def active_requests(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def draft_tokens(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def inter_token_latency(self) -> Latency: ...
    @property
    def kv_blocks_used(self) -> int: ...
    @property
    def preempted(self) -> int: ...
    @property
    def prefix_hits(self) -> int: ...
    @property
    def prefix_tokens(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def queue_wait(self) -> Latency: ...
    @property
    def refused(self) -> int: ...
    @property
    def rows_computed(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def time_to_first_token(self) -> Latency: ...
    @property
    def tokens_generated(self) -> int: ...
    @property
    def tokens_last_minute(self) -> int: ...
    @property
    def total_requests(self) -> int: ...

class Tenant:
    def resume(
        self,
        snapshot: bytes,
        *,
        deadline_ms: typing.SupportsFloat | typing.SupportsIndex | None = None,
        mailbox: Mailbox | None = None,
        speculative: SpeculativeConfig | None = None,
        plain: bool = False,
        adapters: collections.abc.Sequence[tuple[str, typing.SupportsFloat | typing.SupportsIndex]]
        | None = None,
    ) -> Request: ...
    def stats(self) -> TenantStats: ...
    def submit(
        self,
        tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        params: SamplingParams | None = None,
        *,
        priority: typing.SupportsInt | typing.SupportsIndex = 0,
        deadline_ms: typing.SupportsFloat | typing.SupportsIndex | None = None,
        mailbox: Mailbox | None = None,
        speculative: SpeculativeConfig | None = None,
        plain: bool = False,
        adapters: collections.abc.Sequence[tuple[str, typing.SupportsFloat | typing.SupportsIndex]]
        | None = None,
    ) -> Request: ...
    @property
    def adapter_id(self) -> str | None: ...
    @property
    def id(self) -> str: ...
    @property
    def is_released(self) -> bool: ...
    @property
    def model_id(self) -> str: ...
    @property
    def quota(self) -> Quota: ...
    @property
    def sampling(self) -> SamplingParams: ...
    @property
    def weight(self) -> float: ...

class LoadedModel:
    """
    A model that a runtime has loaded.
    """
    @property
    def draft_id(self) -> str | None:
        """
        What guesses ahead for it.
        """
    @property
    def id(self) -> str: ...
    @property
    def is_draft(self) -> bool:
        """
        It is there only to guess for others.
        """
    @property
    def n_tenants(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...

class RuntimeAdapter:
    """
    An adapter that a runtime has loaded.
    """
    @property
    def bytes(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def model_id(self) -> str: ...
    @property
    def report(self) -> AdapterReport | None:
        """
        How it fits; None as long as its model is not loaded.
        """

class Runtime:
    def __init__(
        self,
        *,
        max_sequences: typing.SupportsInt | typing.SupportsIndex,
        max_step_tokens: typing.SupportsInt | typing.SupportsIndex,
        kv_bytes: typing.SupportsInt | typing.SupportsIndex | None,
        kv_dtype: str,
        prefix_cache: bool,
        draft_kv_bytes: typing.SupportsInt | typing.SupportsIndex | None,
        device: str,
        threads: typing.SupportsInt | typing.SupportsIndex | None,
        weights: str,
    ) -> None: ...
    def close(self) -> None: ...
    def figures(self) -> dict[str, typing.Any]: ...
    def get_or_create(
        self,
        tenant_id: str,
        model_id: str,
        *,
        quota: Quota | None = None,
        weight: typing.SupportsFloat | typing.SupportsIndex | None = None,
        sampling: SamplingParams | None = None,
    ) -> Tenant: ...
    def list_adapters(self) -> list[RuntimeAdapter]: ...
    def list_models(self) -> list[LoadedModel]: ...
    def load_lora_adapter(
        self,
        adapter_id: str,
        source: str
        | os.PathLike[str]
        | typing_extensions.Buffer
        | collections.abc.Mapping[str, numpy.typing.NDArray[typing.Any]],
        model_id: str,
        *,
        strict: bool = True,
        config: str | None = None,
    ) -> AdapterReport | None: ...
    def load_model(self, spec: ModelSpec) -> None: ...
    def metrics(self) -> str: ...
    def model(self, model_id: str) -> Model: ...
    def release(self, tenant_id: str) -> None: ...
    def set_tenant_lora_adapter(self, tenant_id: str, adapter_id: str | None) -> None: ...
    def store_draft_model(self, data: typing_extensions.Buffer, model_id: str) -> None: ...
    def store_model(self, data: typing_extensions.Buffer, model_id: str) -> None: ...
    def tenants(self) -> list[Tenant]: ...
    def unload_lora_adapter(self, adapter_id: str) -> None: ...
    def unload_model(self, model_id: str) -> None: ...

class CancelFlag:
    """
    Ends the calls that it is given to; raised for good.
    """
    def __init__(self) -> None: ...
    def raise_(self) -> None: ...
    @property
    def is_raised(self) -> bool: ...

class LayerSession:
    def __init__(
        self,
        model: Model,
        *,
        max_tokens: typing.SupportsInt | typing.SupportsIndex = 0,
        max_rows: typing.SupportsInt | typing.SupportsIndex = 512,
        kv_dtype: str = "f16",
        adapters: collections.abc.Sequence[
            tuple[str, typing.SupportsFloat | typing.SupportsIndex]
        ] = [],
    ) -> None: ...
    def compute_logits(
        self,
        rows: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        cancel: CancelFlag | None = None,
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def embed_tokens(
        self,
        tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        cancel: CancelFlag | None = None,
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def forward_layer(
        self,
        layer: typing.SupportsInt | typing.SupportsIndex,
        rows: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        cancel: CancelFlag | None = None,
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def truncate(self, n: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    @property
    def bytes(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def max_rows(self) -> int: ...
    @property
    def n_step_rows(self) -> int: ...
    @property
    def next_layer(self) -> int: ...

def active_cpu_level() -> str:
    """
    The instruction set that CPU kernels use: the best there is, or what REALM_CPU_ISA names.
    """

def adapter_budget(model: Model) -> int: ...
def build_info() -> BuildInfo:
    """
    Version and compiler of this binary.
    """

def dequantize(
    data: typing_extensions.Buffer,
    type: str,
    shape: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
) -> numpy.typing.NDArray[numpy.float32]:
    """
    Decode blocks to float32.

    Args:
        data: Encoded blocks, exactly as many as the shape needs.
        type: Name of a format, such as "Q4_K".
        shape: Shape of the result, rows first.
    """

def devices() -> list[Device]:
    """
    Every device that this build can use on this machine.
    """

def estimate(
    source: str | os.PathLike[str] | typing_extensions.Buffer,
    *,
    context: typing.SupportsInt | typing.SupportsIndex | None = None,
    kv_dtype: str = "f16",
) -> dict[str, typing.Any]: ...
def formats() -> list[Format]:
    """
    Every weight format that this build reads.
    """

def load_adapter(
    model: Model,
    name: str,
    source: str
    | os.PathLike[str]
    | typing_extensions.Buffer
    | collections.abc.Mapping[str, numpy.typing.NDArray[typing.Any]],
    *,
    strict: bool = True,
    config: str | None = None,
) -> AdapterReport: ...
def loaded_adapters(model: Model) -> list[LoadedAdapter]: ...
def measure_ceilings(
    threads: typing.SupportsInt | typing.SupportsIndex | None = None,
    seconds: typing.SupportsFloat | typing.SupportsIndex = 1.0,
) -> Ceilings:
    """
    What no program can exceed here, all threads together: medians over about `seconds`. Takes up to 1 GiB of memory meanwhile.
    """

def merge_adapter(
    base: str | os.PathLike[str] | typing_extensions.Buffer,
    adapters: collections.abc.Sequence[
        tuple[
            str
            | os.PathLike[str]
            | typing_extensions.Buffer
            | collections.abc.Mapping[str, numpy.typing.NDArray[typing.Any]],
            typing.SupportsFloat | typing.SupportsIndex,
        ]
    ],
    out_path: os.PathLike[str] | str | bytes,
    *,
    dtype: str | None = None,
    threads: typing.SupportsInt | typing.SupportsIndex | None = None,
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> MergeReport: ...
def pre_tokenizers() -> list[PreTokenizer]:
    """
    Every pre-tokenizer that is known.
    """

def probe_backends() -> list[BackendProbe]:
    """
    What each backend found, absent ones included.
    """

def quantize(
    array: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], type: str
) -> builtins.bytes:
    """
    Encode an array of floats; each row must be whole blocks of the format.

    Args:
        array: Values, converted to float32 if they are not.
        type: Name of a writable format, such as "Q4_K".

    Returns:
        The encoded blocks, row after row.
    """

def quantize_gguf(
    in_path: os.PathLike[str] | str | bytes,
    out_path: os.PathLike[str] | str | bytes,
    target: str,
    *,
    pure: bool = False,
    allow_requantize: bool = False,
    threads: typing.SupportsInt | typing.SupportsIndex | None = None,
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> RequantizeReport:
    """
    Write a model again with its weights in another format.

    On any failure, and on Ctrl-C, the output is as it was before.

    Args:
        in_path: A GGUF file; of a split model, the first part.
        out_path: Where to write; an existing file is replaced.
        target: A mix such as "Q4_K_M", or a format such as "Q8_0".
        pure: Every matrix in the target's base format, without the rules of a mix.
        allow_requantize: Accept weights that are quantized already.
        threads: Default: one per processor that this process may use.
        progress: Called with the bytes of input done and in all.
    """

def quantize_mixes() -> list[str]:
    """
    Names of the mixes of formats that quantize_gguf knows.
    """

def sample(
    logits: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    params: SamplingParams,
    *,
    prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
    output: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
    position: typing.SupportsInt | typing.SupportsIndex | None = None,
) -> int:
    """
    The token that a row of logits becomes, as the engine samples it.

    Args:
        logits: One float per token of the vocabulary; minus infinity masks one.
        params: Options; with a seed unless the temperature is 0.
        prompt: Token ids of the prompt, for the penalties.
        output: Token ids generated so far.
        position: Tokens before this one; by default those of prompt and output.
    """

def sampling_law(
    logits: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    params: SamplingParams,
    *,
    prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
    output: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.float64]]:
    """
    Token ids that the filters leave, most likely first, and their probabilities.
    """

def set_adapter_budget(model: Model, bytes: typing.SupportsInt | typing.SupportsIndex) -> None: ...
def tenant_layer_session(
    tenant: Tenant,
    *,
    max_tokens: typing.SupportsInt | typing.SupportsIndex,
    max_rows: typing.SupportsInt | typing.SupportsIndex,
) -> LayerSession: ...
def token_logprobs(
    logits: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
    token: typing.SupportsInt | typing.SupportsIndex,
    n_top: typing.SupportsInt | typing.SupportsIndex,
) -> tuple[float, list[tuple[int, float]]]:
    """
    The log-probability of a token, and the most likely tokens with theirs.
    """

def token_noise(
    seed: typing.SupportsInt | typing.SupportsIndex,
    position: typing.SupportsInt | typing.SupportsIndex,
    tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
) -> numpy.typing.NDArray[numpy.float64]:
    """
    The Gumbel noise that draws add to the scaled logits of these tokens.
    """

def unload_adapter(model: Model, name: str) -> None: ...
def usable_processors() -> int:
    """
    Processors that this process may use.
    """

def write_gguf(
    path: os.PathLike[str] | str | bytes,
    metadata: dict[str, typing.Any],
    tensors: dict[str, typing.Any],
) -> None:
    """
    Write a GGUF file, version 3; it appears under its name only when it is complete.

    Args:
        path: Where to write; an existing file is replaced.
        metadata: A Python int is written as u32 (else i32, u64, i64), a float as f32, a list of
            int as i32; numpy scalars and arrays keep their type.
        tensors: By name, a float array (written as F16, F32 or F64), or a tuple (encoded bytes,
            format name, shape).
    """
