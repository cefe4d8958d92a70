"""Model files to be spoiled: a golden one taken apart, to be changed and written again."""

from pathlib import Path
from typing import Any

import numpy as np

import realm_ext
from closeness import forward_model

ABSENT = object()  # as a hyper-parameter's value: leave it out


class Draft:
    """Metadata and tensors of a golden file of tests/golden/forward.

    Tensors are float arrays where they were F32, else tuples of bytes, format and shape: what
    `write_gguf` takes.
    """

    def __init__(self, case: str) -> None:
        file = realm_ext.GGUFFile(forward_model(case))
        self.metadata: dict[str, Any] = dict(file.metadata)
        self.architecture: str = self.metadata["general.architecture"]
        self.tensors: dict[str, Any] = {
            name: file.read(name)
            if info.dtype == "F32"
            else (file.raw(name), info.dtype, info.shape)
            for name, info in file.tensors.items()
        }

    def key(self, name: str) -> str:
        """The full name of a hyper-parameter."""
        return (
            name if name.startswith(("general.", "tokenizer.")) else f"{self.architecture}.{name}"
        )

    def declare(self, name: str, value: Any) -> "Draft":
        """Sets or, with ABSENT, removes a hyper-parameter."""
        self.metadata.pop(self.key(name), None)
        if value is not ABSENT:
            self.metadata[self.key(name)] = value
        return self

    def values(self, name: str) -> np.ndarray:
        """A tensor's values, as an array that may be changed: the tensor is F32 from now on."""
        if isinstance(self.tensors[name], tuple):
            data, dtype, shape = self.tensors[name]
            self.tensors[name] = realm_ext.dequantize(data, dtype, shape)
        return self.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        tensor = self.tensors[name]
        return tuple(tensor[2]) if isinstance(tensor, tuple) else tensor.shape

    def save(self, folder: Path) -> Path:
        """Writes the file."""
        path = folder / "draft.gguf"
        realm_ext.write_gguf(path, self.metadata, self.tensors)
        return path


def loaded(draft: Draft, folder: Path) -> realm_ext.Model:
    return realm_ext.Model(draft.save(folder))
