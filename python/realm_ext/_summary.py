"""What a GGUF file says about itself, gathered from its metadata and directory.

Nothing here trusts the file: a key that is absent or of the wrong kind is simply not reported.
"""

from dataclasses import asdict, dataclass, field
from math import prod

from realm_ext._core import GGUFFile

_SIZES = {
    "layers": "block_count",
    "embedding": "embedding_length",
    "feed-forward": "feed_forward_length",
    "heads": "attention.head_count",
    "KV heads": "attention.head_count_kv",
    "experts": "expert_count",
    "experts used": "expert_used_count",
}
_KV_ELEMENT_BYTES = 2  # f16


@dataclass
class FormatUse:
    """How much of a file is in one weight format."""

    name: str
    n_tensors: int
    n_bytes: int


@dataclass
class Summary:
    """The facts that `inspect` prints; None, 0 or empty where the file does not say."""

    kind: str
    architecture: str | None
    name: str | None
    version: int
    alignment: int
    file_bytes: int
    n_keys: int
    n_tensors: int
    n_parameters: int
    weight_bytes: int
    context_length: int | None
    kv_bytes: int
    tokenizer: str | None
    pre_tokenizer: str | None
    n_vocab: int
    has_chat_template: bool
    sizes: dict[str, int] = field(default_factory=dict)
    formats: list[FormatUse] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The same as plain values."""
        return asdict(self)


def summarize(file: GGUFFile) -> Summary:
    """Gather the summary of an open file."""
    keys = _Keys(file.metadata)
    tensors = list(file.tensors.values())
    context = keys.size("context_length")
    vocabulary = file.metadata.get("tokenizer.ggml.tokens")
    return Summary(
        kind=keys.text("general.type") or ("model" if tensors else "vocabulary"),
        architecture=keys.architecture,
        name=keys.text("general.name"),
        version=file.version,
        alignment=file.alignment,
        file_bytes=file.file_bytes,
        n_keys=len(file.metadata),
        n_tensors=len(tensors),
        n_parameters=sum(prod(t.shape) for t in tensors),
        weight_bytes=sum(t.nbytes for t in tensors),
        context_length=context,
        kv_bytes=_kv_elements_per_token(keys) * _KV_ELEMENT_BYTES * (context or 0),
        tokenizer=keys.text("tokenizer.ggml.model"),
        pre_tokenizer=keys.text("tokenizer.ggml.pre"),
        n_vocab=len(vocabulary) if isinstance(vocabulary, list) else 0,
        has_chat_template=keys.text("tokenizer.chat_template") is not None,
        sizes={name: n for name, key in _SIZES.items() if (n := keys.size(key)) is not None},
        formats=_formats(file),
    )


class _Keys:
    """Typed look-ups that give None for whatever is absent or not what it should be."""

    def __init__(self, metadata: dict[str, object]) -> None:
        self._metadata = metadata
        self.architecture = self.text("general.architecture")

    def text(self, key: str) -> str | None:
        value = self._metadata.get(key)
        return value if isinstance(value, str) else None

    def size(self, key: str) -> int | None:
        """A positive integer of the architecture; of a list per layer, the largest."""
        return max(self.per_layer(key, 1), default=None)

    def per_layer(self, key: str, n_layers: int) -> list[int]:
        """The positive integers of a list, or one repeated for every layer."""
        value = self._metadata.get(f"{self.architecture}.{key}")
        values = value if isinstance(value, list) else [value] * n_layers
        return [v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0]


def _kv_elements_per_token(keys: _Keys) -> int:
    """Elements of K and V of one token in all layers; 0 if the file does not tell."""
    n_layers, embedding, heads = (
        keys.size(key) for key in ("block_count", "embedding_length", "attention.head_count")
    )
    if not (n_layers and embedding and heads) or n_layers > _MAX_LAYERS:
        return 0
    default = embedding // heads
    width = (keys.size("attention.key_length") or default) + (
        keys.size("attention.value_length") or default
    )
    kv_heads = keys.per_layer("attention.head_count_kv", n_layers) or [heads] * n_layers
    return sum(kv_heads) * width


_MAX_LAYERS = 65536  # a file that claims more is not believed


def _formats(file: GGUFFile) -> list[FormatUse]:
    uses: dict[str, FormatUse] = {}
    for tensor in file.tensors.values():
        use = uses.setdefault(tensor.dtype, FormatUse(tensor.dtype, 0, 0))
        use.n_tensors += 1
        use.n_bytes += tensor.nbytes
    return sorted(uses.values(), key=lambda use: -use.n_bytes)
