"""Make tests/golden/tokenizers: small vocabularies, and the ids that llama.cpp gives for generated texts.

Needs `llama-cpp-python`, `tokenizers`, `sentencepiece` and `gguf`:

    python tools/make_tokenizer_golden.py

Every vocabulary is trained without any pre-tokenization, so that its tokens run across words, digits,
spaces and scripts, and each pre-tokenizer leaves its own trace in the ids. One byte-level vocabulary serves
all pre-tokenizers: its name is replaced for each. Which texts, and how each is encoded, is in
tests/python/tokenizer_golden.py.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import lzma
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import gguf
import llama_cpp
import numpy as np
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests" / "golden" / "tokenizers"
sys.path.insert(0, str(ROOT / "tests" / "python"))

from tokenizer_golden import BPE_ROWS, GOLDEN, cases  # noqa: E402
from tokenizer_texts import make_texts  # noqa: E402

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
CONTROLS = ["<|endoftext|>", "<s>", "<|im_start|>", "<|im_end|>", "<mask>", "[INST]", "[/INST]"]
# "[x][y][z]" is "[" and the last of these to llama.cpp, "[x][y]" and "[z]" to who looks for the leftmost.
USERS = ["<tool>", "</tool>", "[x]", "\t\t", "[x][y]", "x][y][z]"]
# Tokens that no merge leads to, for those that ignore merges.
UNMERGED = [
    "Paris",
    " Paris",
    "London",
    "don't",
    "1234567",
    "你好世界",
    "...!!!",
    "XMLHttpRequest",
    "   \n",
]
# All texts by which llama.cpp recognizes a token, and some that only look like it.
NAMES = (
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|flush|> <end_of_turn> <|endoftext|> </s> <|eom_id|>"
    " <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <｜end▁of▁sentence｜>"
    " [e~[ <|channel|> <|message|> <|start|> <|constrain|> <|fim_prefix|> <fim-suffix> <fim_middle>"
    " <PAD> <|file_sep|> <|repo_name|> <|eos|> <end> <|im_start|> <pad> [BOS]"
).split()


@dataclasses.dataclass
class Vocabulary:
    """What goes into a file."""

    model: str
    tokens: list[str | bytes] = dataclasses.field(default_factory=list)
    kinds: list[int] = dataclasses.field(default_factory=list)
    scores: list[float] | None = None
    merges: list[str] | None = None
    pre: str | None = None
    more: dict[str, str | int | bool] = dataclasses.field(default_factory=dict)

    def add(self, tokens: list[str], kind: int) -> None:
        """Append tokens, and give those that are there already their kind."""
        for token in tokens:
            if token in self.tokens:
                self.kinds[self.tokens.index(token)] = kind
                continue
            self.tokens.append(token)
            self.kinds.append(kind)

    def write(self, path: pathlib.Path, pre: str | None = None) -> None:
        writer = gguf.GGUFWriter(str(path), "llama")
        writer.add_tokenizer_model(self.model)
        if pre or self.pre:
            writer.add_tokenizer_pre(pre or self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        for key, value in self.more.items():
            full = key if "." in key else f"tokenizer.ggml.{key}"
            if isinstance(value, bool):
                writer.add_bool(full, value)
            elif isinstance(value, int):
                writer.add_uint32(full, value)
            else:
                writer.add_string(full, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()


def alphabet(text: str) -> str:
    """Write text in GPT-2's byte alphabet."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(piece for piece, _ in splitter.pre_tokenize_str(text))


def train_bpe(texts: list[str], size: int, byte_level: bool) -> tuple[list[str], list[str]]:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"\n+"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()) if byte_level else [],
        limit_alphabet=256 if byte_level else 300,
        show_progress=False,
        min_frequency=1,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [" ".join(pair) for pair in model["merges"]]


def across_contractions() -> tuple[list[str], list[str]]:
    """Tokens that only stand where no contraction was split off, and the merges that make them."""
    tokens: list[str] = []
    merges: list[str] = []
    for contraction in ("s", "t", "re", "ve", "m", "ll", "d", "S", "T", "Re", "VE", "M", "LL", "D"):
        for word in (contraction + "a", contraction + "Are"):
            for i in range(len(word)):
                left = "'" + word[:i]
                if left + word[i] not in tokens:
                    tokens.append(left + word[i])
                    merges.append(f"{left} {word[i]}")
    return tokens, merges


def byte_level(texts: list[str]) -> Vocabulary:
    v = Vocabulary("gpt2", pre="default")
    trained, merges = train_bpe(texts, 1400, byte_level=True)
    across, first = across_contractions()
    v.merges = first + [m for m in merges if m not in first]
    v.add(trained + across, NORMAL)
    v.add([alphabet(t) for t in UNMERGED], NORMAL)
    v.add(CONTROLS, CONTROL)
    v.add(USERS, USER)
    v.add(["<unused0>"], UNUSED)
    v.more = {"bos_token_id": v.tokens.index("<s>"), "eos_token_id": v.tokens.index("<|im_end|>")}
    return v


def with_holes(full: Vocabulary) -> Vocabulary:
    """Leave out the tokens of some bytes, and what they merge to."""
    missing = {alphabet(c) for c in "?@z\r"} | {
        alphabet("é")[0],
        alphabet("中")[1],
        alphabet("😀")[0],
    }
    lost = lambda text: any(c in missing for c in text)  # noqa: E731
    kept = [i for i, t in enumerate(full.tokens) if full.kinds[i] != NORMAL or not lost(t)]
    v = dataclasses.replace(full, more={"add_eos_token": True})
    v.tokens, v.kinds = [full.tokens[i] for i in kept], [full.kinds[i] for i in kept]
    v.merges = [m for m in full.merges if not lost(m)]
    v.more |= {"bos_token_id": v.tokens.index("<s>"), "eos_token_id": v.tokens.index("<|im_end|>")}
    return v


def raw_text(texts: list[str]) -> Vocabulary:
    v = Vocabulary("gemma4")
    v.add(["<pad>", "<eos>", "<bos>", "<unk>"], CONTROL)
    v.add([f"<0x{b:02X}>" for b in range(256)], BYTE)
    tokens, v.merges = train_bpe([t.replace(" ", "▁") for t in texts], 1000, byte_level=False)
    v.add([*tokens, "\n\n\n\n", "\n" * 9], NORMAL)
    v.add(CONTROLS, CONTROL)
    v.add(USERS, USER)
    v.more = {"bos_token_id": 2, "eos_token_id": 1, "unknown_token_id": 3, "add_bos_token": False}
    return v


def sentence_piece(texts: list[str]) -> Vocabulary:
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "spm")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_prefix=prefix, model_type="bpe", vocab_size=1300,
            byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
            remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_by_whitespace=False,
            split_by_unicode_script=False, split_by_number=False, split_digits=False,
            control_symbols=[c for c in CONTROLS if c != "<s>"], user_defined_symbols=USERS,
            max_sentencepiece_length=24, minloglevel=2, num_threads=1,
        )  # fmt: skip
        spm = sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")
    v = Vocabulary("llama", scores=[], pre="default")
    for i in range(spm.vocab_size()):
        v.tokens.append(spm.id_to_piece(i))
        v.scores.append(spm.get_score(i))
        v.kinds.append(
            UNKNOWN if spm.is_unknown(i) else BYTE if spm.is_byte(i) else NORMAL if not spm.is_control(i)
            else CONTROL
        )  # fmt: skip
        if v.tokens[i] in USERS:
            v.kinds[i] = USER
    v.more = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return v


def recognized(full: Vocabulary, names: list[str]) -> Vocabulary:
    """Give a vocabulary tokens that are recognized by their text, called normal."""
    v = dataclasses.replace(full, more={})
    v.tokens, v.kinds = list(full.tokens[:300]), [NORMAL] * 300
    known = set(v.tokens)
    v.merges = [m for m in full.merges if {*m.split(" "), m.replace(" ", "")} <= known]
    v.add(names, NORMAL)
    return v


def vocabularies() -> dict[str, Vocabulary]:
    texts = [t.encode(errors="ignore").decode() for t in make_texts(5000, seed=1)]
    bpe, spm = byte_level(texts), sentence_piece([t for t in texts if t])
    flat = dataclasses.replace(spm, scores=[-1000.0] * len(spm.tokens))
    flat.more = spm.more | {
        "add_space_prefix": False,
        "add_bos_token": False,
        "add_eos_token": True,
    }
    phi3 = dataclasses.replace(spm, more=spm.more | {"general.name": "Phi-3 mini"})
    return {
        "bpe": bpe,
        "holes": with_holes(bpe),
        "raw": raw_text(texts),
        "spm": spm,
        "spm-flat": flat,
        "spm-phi3": phi3,
        "names": recognized(bpe, NAMES),
        "names-gpt-oss": recognized(bpe, [*NAMES, "<|call|>"]),
        "names-gemma4": recognized(bpe, [*NAMES, "<|tool_response>"]),
    }


class Oracle:
    """A vocabulary in llama.cpp."""

    def __init__(self, path: pathlib.Path) -> None:
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._ids = (llama_cpp.llama_token * 8192)()

    def close(self) -> None:
        llama_cpp.llama_model_free(self._model)

    def encode(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        data = text.encode("utf-8", "surrogateescape")
        n = llama_cpp.llama_tokenize(
            self.vocab, data, len(data), self._ids, len(self._ids), add_special, parse_special
        )
        assert n >= 0
        return list(self._ids[:n])

    def piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(4096)
        n = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, True)
        assert n >= 0
        return buffer.raw[:n]

    def facts(self) -> dict[str, object]:
        n = llama_cpp.llama_vocab_n_tokens(self.vocab)
        pieces = hashlib.sha256()
        for i in range(n):
            pieces.update(self.piece(i) + b"\0")
        which = lambda test: [i for i in range(n) if test(self.vocab, i)]  # noqa: E731
        return {
            "n": n,
            "bos": llama_cpp.llama_vocab_bos(self.vocab),
            "eos": llama_cpp.llama_vocab_eos(self.vocab),
            "add_bos": bool(llama_cpp.llama_vocab_get_add_bos(self.vocab)),
            "add_eos": bool(llama_cpp.llama_vocab_get_add_eos(self.vocab)),
            "ends": which(llama_cpp.llama_vocab_is_eog),
            "control": which(llama_cpp.llama_vocab_is_control),
            "pieces_sha256": pieces.hexdigest(),
        }


def row_files(name: str, vocabulary: Vocabulary, folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Write one file per pre-tokenizer of a vocabulary."""
    for i, pre in enumerate(BPE_ROWS.get(name, [None])):
        path = folder / f"{i}.gguf"
        vocabulary.write(path, pre)
        yield path


def golden(name: str, vocabulary: Vocabulary) -> bytes:
    """Ids of all texts: text after text, for each its rows, for each row a count and the ids."""
    with tempfile.TemporaryDirectory() as folder:
        oracles = [Oracle(path) for path in row_files(name, vocabulary, pathlib.Path(folder))]
        out: list[int] = []
        for case in cases():
            for oracle in oracles:
                ids = oracle.encode(case.text, case.add_special, case.parse_special)
                out += [len(ids), *ids]
        for oracle in oracles:
            oracle.close()
    return np.array(out, dtype="<u2").tobytes()


def main() -> None:
    """Write everything."""
    silence = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silence, ctypes.c_void_p(0))
    OUT.mkdir(parents=True, exist_ok=True)
    facts = {}
    for name, vocabulary in vocabularies().items():
        path = OUT / f"{name}.gguf"
        vocabulary.write(path)
        oracle = Oracle(path)
        facts[name] = oracle.facts()
        oracle.close()
        if name in GOLDEN:
            data = lzma.compress(golden(name, vocabulary), preset=9 | lzma.PRESET_EXTREME)
            (OUT / f"{name}.ids.xz").write_bytes(data)
        print(name, len(vocabulary.tokens), "tokens", flush=True)
    (OUT / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
