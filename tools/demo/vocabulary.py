"""The vocabulary: byte-level BPE, cut into words by the Llama 3 rule, and the chat template.

The ids are the ones the files carry: 256 bytes, then what merging made, then the control tokens.
A tokenizer built by `Vocabulary` is the one a reader of the file must arrive at; `from_gguf` in
`load.py` builds it again from the file alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from demo.corpus import Document

# What `tokenizer.ggml.pre = "llama-bpe"` stands for.
LLAMA_BPE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BOS, EOS, START, END = "<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"
CONTROL = (BOS, EOS, START, END)
SIZE = 1024

# The template writes no BOS: encoding prepends it, and a second one would be a token that no
# training text contains.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass
class Vocabulary:
    """Tokens by id, merges by rank, and the tokenizer they make."""

    tokens: list[str]
    merges: list[tuple[str, str]]
    control: Sequence[str] = CONTROL
    template: str = CHAT_TEMPLATE
    tokenizer: Tokenizer = field(init=False)

    def __post_init__(self) -> None:
        """Build the tokenizer."""
        ids = {token: idx for idx, token in enumerate(self.tokens)}
        words = {token: idx for token, idx in ids.items() if token not in self.control}
        # Readers of llama-bpe take a whole word that is a token as it is, without merging.
        model = models.BPE(words, self.merges, ignore_merges=True)
        self.tokenizer = Tokenizer(model)
        self.tokenizer.pre_tokenizer = _words()
        self.tokenizer.decoder = decoders.ByteLevel()
        self.tokenizer.add_special_tokens([AddedToken(text, special=True) for text in self.control])
        if [self.tokenizer.token_to_id(token) for token in self.tokens] != list(ids.values()):
            raise ValueError("the tokenizer numbers its tokens differently")
        self.bos, self.eos, self.end = ids[BOS], ids[EOS], ids[END]
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(self.template)

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The ids of a text; control tokens are recognised, and no BOS is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, control tokens left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def chat(self, turns: Sequence[tuple[str, str]], answer: bool) -> str:
        """Apply the chat template; with `answer`, up to where the assistant begins."""
        messages = [{"role": role, "content": content} for role, content in turns]
        return self._template.render(messages=messages, add_generation_prompt=answer)

    def document(self, document: Document) -> list[int]:
        """The ids of a document, from BOS to EOS."""
        text = self.chat(document.turns, answer=False) if document.turns else document.text
        return [self.bos, *self.encode(text), self.eos]


def _words() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(LLAMA_BPE), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, as_bytes])


def learn(documents: Iterable[Document]) -> Vocabulary:
    """Learn the merges from training text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _words()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - len(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (
        part
        for doc in documents
        for part in (doc.text, *(f"{who}\n{said}" for who, said in doc.turns))
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return Vocabulary([*tokens, *CONTROL], [(left, right) for left, right in model["merges"]])
