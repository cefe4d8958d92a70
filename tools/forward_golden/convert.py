"""From a transformers model to GGUF by llama.cpp's own converter (the package `conversion`)."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import gguf
import torch
import transformers as tf
from conversion import get_model_class
from conversion.base import ModelBase


def convert(model: tf.PreTrainedModel, declared: dict[str, int], work: Path, out: Path) -> None:
    """Writes `model` to `out`: matrices as F16, no vocabulary.

    Args:
        model: A model whose matrices F16 holds exactly.
        declared: Hyper-parameters to add to those that the converter finds.
        work: A folder for the transformers checkpoint. Its name becomes the model's.
        out: The GGUF file.
    """
    logging.getLogger("gguf").setLevel(logging.ERROR)
    logging.getLogger("hf-to-gguf").setLevel(logging.ERROR)
    model.to(torch.float32).save_pretrained(work)
    n_vocab = model.config.vocab_size
    vocabulary = {f"t{i}": i for i in range(n_vocab)}
    # gemma's converter counts the embedding's rows here.
    tokenizer = {"model": {"vocab": vocabulary}, "added_tokens": []}
    (work / "tokenizer.json").write_text(json.dumps(tokenizer))

    def no_vocabulary(self: Any) -> None:
        self.gguf_writer.add_tokenizer_model("no_vocab")
        if f"{self.gguf_writer.arch}.vocab_size" not in self.gguf_writer.kv_data[0]:
            self.gguf_writer.add_vocab_size(n_vocab)
        for key, value in declared.items():
            self.gguf_writer.add_uint32(f"{self.gguf_writer.arch}.{key}", value)

    hyper_parameters = ModelBase.load_hparams(work, False)
    converter = get_model_class(hyper_parameters["architectures"][0])
    converter.set_vocab = no_vocabulary
    with torch.inference_mode():
        converter(work, gguf.LlamaFileType.MOSTLY_F16, out, model_name=work.name).write()
