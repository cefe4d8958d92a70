"""Three trainings: the target on the corpus, the draft and the adapter on the target.

The draft learns the target's whole distribution rather than the text, because what it is for is to
guess what the target says. The adapter learns with the target frozen as its file stores it.
Weights are f32 and products bf16, which CPUs with such units run twice as fast; on a fixed number
of threads a rerun gives the same bits.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as ops
from torch import Tensor

from demo.corpus import Document
from demo.model import Llama, Shape
from demo.pirate import pirate
from demo.vocabulary import Vocabulary

IGNORED = -100
Batch = tuple[Tensor, Tensor]  # ids [S, T], labels [S, T]: the token after each id, or IGNORED
Log = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How one training runs; `orthogonal` asks for Muon on the projections."""

    seed: int
    learning_rate: float
    batch: int
    warmup: int = 40
    weight_decay: float = 0.05
    clip: float = 1.0
    orthogonal: bool = True


@dataclass
class Outcome:
    """What a training reports for the record."""

    steps: int
    tokens: int
    first_loss: float
    last_loss: float
    seconds: float

    def as_dict(self) -> dict[str, float]:
        """The numbers, rounded for reading."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def fix_everything(threads: int) -> None:
    """Make torch give the same bits in every run on one kind of machine."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


# --- batches --------------------------------------------------------------------------------------


def pack(documents: Iterable[list[int]], length: int, pad: int) -> Batch:
    """Lay whole documents into rows; every row starts with a BOS, as every request does."""
    rows: list[list[int]] = [[]]
    for ids in documents:
        if len(rows[-1]) + len(ids) > length + 1:
            rows.append([])
        rows[-1] += ids[: length + 1]
    return _pad([(row, row) for row in rows], pad, length + 1)


def _pad(rows: list[tuple[list[int], list[int]]], pad: int, length: int) -> Batch:
    ids = torch.full((len(rows), length), pad)
    labels = torch.full((len(rows), length), IGNORED)
    for idx, (row, wanted) in enumerate(rows):
        ids[idx, : len(row)] = torch.tensor(row)
        labels[idx, : len(wanted)] = torch.tensor(wanted)
    return ids[:, :-1].contiguous(), labels[:, 1:].contiguous()


def batches(rows: Batch, plan: Plan) -> list[Batch]:
    """Shuffle the rows once and cut them into batches."""
    order = torch.randperm(len(rows[0]), generator=torch.Generator().manual_seed(plan.seed))
    return [(rows[0][part], rows[1][part]) for part in torch.split(order, plan.batch)]


def style_rows(
    documents: Iterable[Document], vocabulary: Vocabulary, rng: random.Random
) -> Iterator[tuple[list[int], list[int]]]:
    """Plain beginnings with pirate continuations; only the continuations are to be learnt."""
    for document in documents:
        ids, wanted = [vocabulary.bos], [IGNORED]
        for text, learn in _style_parts(document, vocabulary, rng):
            part = vocabulary.encode(text)
            ids += part
            wanted += part if learn else [IGNORED] * len(part)
        if not document.turns:
            ids.append(vocabulary.eos)
            wanted.append(vocabulary.eos)
        yield ids, wanted


def _style_parts(
    document: Document, vocabulary: Vocabulary, rng: random.Random
) -> Iterator[tuple[str, bool]]:
    """A text is cut at a space of its first sentence; a chat where the assistant speaks."""
    if not document.turns:
        first = document.text.split(". ")[0]
        cut = rng.choice([idx for idx, char in enumerate(first) if char == " "])
        yield document.text[:cut], False
        yield pirate(document.text[cut:]), True
        return
    said: list[tuple[str, str]] = []
    for role, content in document.turns:
        said.append((role, content))
        if role == "assistant":
            yield vocabulary.chat(said[:-1], answer=True), False
            yield f"{pirate(content)}<|im_end|>", True
            yield "\n", False
            said = []


def style_batches(
    documents: Iterable[Document], vocabulary: Vocabulary, plan: Plan, longest: int
) -> list[Batch]:
    """One document per row, as at inference, with rows of like length side by side.

    Packed rows would show the style in what went before, and teach less about starting it.
    """
    rng = random.Random(plan.seed)
    rows = [row for row in style_rows(documents, vocabulary, rng) if len(row[0]) <= longest]
    rows.sort(key=lambda row: len(row[0]))
    parts = [rows[idx : idx + plan.batch] for idx in range(0, len(rows), plan.batch)]
    rng.shuffle(parts)
    return [_pad(part, vocabulary.eos, max(len(ids) for ids, _ in part)) for part in parts]


# --- the loop -------------------------------------------------------------------------------------


def text_loss(model: Llama, batch: Batch) -> Tensor:
    """Cross-entropy of the labelled tokens."""
    ids, labels = batch
    logits = model(ids).float().flatten(0, 1)
    return ops.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED)


def imitation_loss(target: Llama) -> Callable[[Llama, Batch], Tensor]:
    """KL(target || draft) over the labelled positions."""

    def loss(draft: Llama, batch: Batch) -> Tensor:
        ids, labels = batch
        with torch.no_grad():
            wanted = target(ids)[labels != IGNORED].float().log_softmax(-1)
        said = draft(ids)[labels != IGNORED].float().log_softmax(-1)
        return ops.kl_div(said, wanted, reduction="batchmean", log_target=True)

    return loss


def _rate(step: int, steps: int, plan: Plan) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, steps - plan.warmup)
    return plan.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _optimizers(model: Llama, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the projections where the plan asks for it; AdamW for everything else."""
    matrices = [part.weight for _, part in model.projections()] if plan.orthogonal else []
    known = {id(weight) for weight in matrices}
    rest = [w for w in model.parameters() if w.requires_grad and id(w) not in known]
    decay = plan.weight_decay
    chosen: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=decay)
    ]
    if matrices:
        # This scaling gives Muon's steps the size of AdamW's, so that one rate serves both.
        same_size = "match_rms_adamw"
        chosen.append(torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn=same_size))
    return chosen


def fit(
    model: Llama,
    data: list[Batch],
    plan: Plan,
    loss_of: Callable[[Llama, Batch], Tensor],
    log: Log,
) -> Outcome:
    """Train what is trainable, one pass over the batches."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizers = _optimizers(model, plan)
    begin, losses, tokens = time.monotonic(), [], 0
    for step, batch in enumerate(data):
        rate = _rate(step, len(data), plan)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, plan.clip)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        losses.append(loss.item())
        tokens += int((batch[1] != IGNORED).sum())
        if step % 50 == 0 or step == len(data) - 1:
            log(f"  step {step}/{len(data)} loss {losses[-1]:.4f} {time.monotonic() - begin:.0f} s")
    last = losses[-20:]
    return Outcome(len(data), tokens, losses[0], sum(last) / len(last), time.monotonic() - begin)


def new_model(shape: Shape, seed: int) -> Llama:
    """A model with random weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return Llama(shape)


def adapt(model: Llama, rank: int, alpha: float, seed: int) -> None:
    """Freeze a model and put a trainable low-rank update beside every projection."""
    torch.manual_seed(seed)
    model.requires_grad_(False)
    for _, projection in model.projections():
        projection.adapt(rank, alpha)
