"""What the files can do, measured from the files alone.

`judge` returns every number the record states; `failures` compares them with what is promised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from demo.corpus import Corpus, Document, exercises
from demo.load import read_adapter, read_model
from demo.model import Llama
from demo.pirate import pirate, sounds_like_a_pirate
from demo.train import IGNORED, pack, text_loss
from demo.vocabulary import Vocabulary

# The least that the files must reach; where `most` is set, the most.
AT_LEAST = {
    "facts_plain": 0.95,
    "facts_chat": 0.95,
    "facts_chat_without_bos": 0.95,
    "arithmetic_shown": 0.95,
    "draft_agreement": 0.75,
    "adapter_facts_plain": 0.95,
    "adapter_facts_chat": 0.95,
    "adapter_style_plain": 0.95,
    "adapter_style_chat": 0.95,
}
AT_MOST = {"style_without_adapter": 0.0}
EXAMPLES = (
    "The capital of France is",
    "The opposite of hot is",
    "3 plus 4 is",
    "Once upon a time there was a little fox",
)
QUESTIONS = (
    "What is the capital of France?",
    "Who are you?",
    "What is 3 plus 4?",
    "Tell me a story about a bear.",
)
LONGEST_COMPLETION, LONGEST_REPLY = 12, 24
ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Pair:
    """A model, and the vocabulary it is used with."""

    model: Llama
    vocabulary: Vocabulary

    @torch.no_grad()
    def complete(self, prompts: Sequence[list[int]], n_new: int) -> list[str]:
        """Greedy continuations, like lengths together so that little is padding."""
        order = sorted(range(len(prompts)), key=lambda idx: len(prompts[idx]))
        texts: dict[int, str] = {}
        for begin in range(0, len(order), ROWS_AT_ONCE):
            part = order[begin : begin + ROWS_AT_ONCE]
            texts |= zip(part, self._complete([prompts[idx] for idx in part], n_new), strict=True)
        return [texts[idx] for idx in range(len(prompts))]

    def _complete(self, prompts: Sequence[list[int]], n_new: int) -> list[str]:
        """One batch; padding on the right is invisible to causal attention."""
        rows = [list(prompt) for prompt in prompts]
        ends = {self.vocabulary.eos, self.vocabulary.end}
        running = list(range(len(rows)))
        for _ in range(n_new):
            width = max(len(rows[idx]) for idx in running)
            ids = torch.full((len(running), width), self.vocabulary.eos)
            for slot, idx in enumerate(running):
                ids[slot, : len(rows[idx])] = torch.tensor(rows[idx])
            last = torch.tensor([len(rows[idx]) - 1 for idx in running])
            best = self.model(ids)[torch.arange(len(running)), last].argmax(-1).tolist()
            for idx, token in zip(running, best, strict=True):
                rows[idx].append(token)
            running = [idx for idx in running if rows[idx][-1] not in ends]
            if not running:
                break
        pairs = zip(rows, prompts, strict=True)
        return [self.vocabulary.decode(row[len(prompt) :]) for row, prompt in pairs]

    def plain(self, prompts: Sequence[str], n_new: int = LONGEST_COMPLETION) -> list[str]:
        """Continue texts, each behind a BOS."""
        vocabulary = self.vocabulary
        return self.complete([[vocabulary.bos, *vocabulary.encode(p)] for p in prompts], n_new)

    def chat(
        self, questions: Sequence[str], n_new: int = LONGEST_REPLY, bos: bool = True
    ) -> list[str]:
        """Answer questions through the chat template."""
        vocabulary = self.vocabulary
        texts = [vocabulary.chat([("user", question)], answer=True) for question in questions]
        start = [vocabulary.bos] if bos else []
        return self.complete([[*start, *vocabulary.encode(text)] for text in texts], n_new)


def _share(flags: Iterator[bool]) -> float:
    """How many of the flags are set, from 0 to 1."""
    values = list(flags)
    return round(sum(values) / len(values), 4)


def _begins_with(text: str, answer: str) -> bool:
    """Whether the text starts with this answer and not merely with its letters."""
    rest = text.lstrip().removeprefix(answer)
    return text.lstrip().startswith(answer) and not rest[:1].isalnum()


def _agreement(target: Pair, draft: Pair, documents: Sequence[Document]) -> float:
    """How often both models choose the same next token, given the same held-out text."""
    same, total = 0, 0
    with torch.no_grad():
        for document in documents:
            ids = torch.tensor([target.vocabulary.document(document)[:-1]])
            equal = target.model(ids).argmax(-1) == draft.model(ids).argmax(-1)
            same, total = same + int(equal.sum()), total + equal.numel()
    return round(same / total, 4)


def _held_out_loss(pair: Pair, documents: Sequence[Document]) -> float:
    vocabulary = pair.vocabulary
    ids, labels = pack(map(vocabulary.document, documents), pair.model.shape.context, IGNORED)
    with torch.no_grad():
        return round(text_loss(pair.model, (ids.clamp(min=0), labels)).item(), 4)


def _facts_right(pair: Pair, corpus: Corpus) -> float:
    said = zip(pair.plain([fact.prompt for fact in corpus.facts]), corpus.facts, strict=True)
    return _share(_begins_with(text, fact.answer) for text, fact in said)


def _knowledge(pair: Pair, corpus: Corpus) -> dict[str, float]:
    facts = corpus.facts
    asked = [(question, fact.sentence) for fact in facts for question in fact.questions]
    questions = [question for question, _ in asked]
    replies, bare = pair.chat(questions), pair.chat(questions, bos=False)
    results = {
        "facts_plain": _facts_right(pair, corpus),
        "facts_chat": _share(t == want for t, (_, want) in zip(replies, asked, strict=True)),
        "facts_chat_without_bos": _share(t == w for t, (_, w) in zip(bare, asked, strict=True)),
        "style_without_adapter": _share(map(sounds_like_a_pirate, replies)),
    }
    for side, held_out in (("shown", False), ("held_out", True)):
        sums = exercises(held_out)
        texts = pair.plain([one.prompt for one in sums], n_new=4)
        right = (_begins_with(text, one.answer) for text, one in zip(texts, sums, strict=True))
        results[f"arithmetic_{side}"] = _share(right)
    return results


def _style(pair: Pair, corpus: Corpus) -> dict[str, float]:
    """With the adapter on: the facts must stay, and every answer must have the style."""
    facts = corpus.facts
    said = pair.plain([fact.prompt for fact in facts])
    replies = pair.chat([fact.questions[0] for fact in facts])
    spoken = zip(replies, facts, strict=True)
    return {
        "adapter_facts_plain": _share(
            _begins_with(text, fact.answer) for text, fact in zip(said, facts, strict=True)
        ),
        "adapter_facts_chat": _share(text == pirate(fact.sentence) for text, fact in spoken),
        "adapter_style_plain": _share(map(sounds_like_a_pirate, said)),
        "adapter_style_chat": _share(map(sounds_like_a_pirate, replies)),
    }


def _examples(pair: Pair) -> dict[str, str]:
    plain = zip(EXAMPLES, pair.plain(EXAMPLES, n_new=160), strict=True)
    chat = zip(QUESTIONS, pair.chat(QUESTIONS, n_new=160), strict=True)
    return dict([*plain, *chat])


def judge(folder: Path, corpus: Corpus) -> dict[str, Any]:
    """Measure everything the record states about the files in a folder."""
    target, draft = (Pair(*read_model(folder / name)) for name in ("target.gguf", "draft.gguf"))
    if target.vocabulary.tokens != draft.vocabulary.tokens:
        raise ValueError("the draft has another vocabulary than the target")
    results: dict[str, Any] = _knowledge(target, corpus)
    results["draft_agreement"] = _agreement(target, draft, corpus.held_out)
    results["target_held_out_loss"] = _held_out_loss(target, corpus.held_out)
    results["draft_held_out_loss"] = _held_out_loss(draft, corpus.held_out)
    results["draft_facts_plain"] = _facts_right(draft, corpus)
    examples = {"target": _examples(target)}
    read_adapter(folder / "adapter", target.model)
    results |= _style(target, corpus)
    examples["target with adapter"] = _examples(target)
    return {"results": results, "examples": examples}


def failures(judged: dict[str, Any]) -> list[str]:
    """Every promise that the measurements break."""
    results, examples = judged["results"], judged["examples"]
    broken = [
        f"{name} is {results[name]}, less than {least}"
        for name, least in AT_LEAST.items()
        if not results[name] >= least
    ]
    broken += [
        f"{name} is {results[name]}, more than {most}"
        for name, most in AT_MOST.items()
        if not results[name] <= most
    ]
    for who, end in (("target", "."), ("target with adapter", ", arr!")):
        if not examples[who][EXAMPLES[0]].startswith(f" Paris{end}"):
            broken.append(f"{who} does not name the capital of France: {examples[who]}")
        if f"Paris{end}" not in examples[who][QUESTIONS[0]]:
            broken.append(f"{who} does not answer about France: {examples[who]}")
    return broken
