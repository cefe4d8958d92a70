"""Train the demo pair and its adapter, or check files that were trained before.

    python tools/train_demo.py --out python/realm_ext/demo
    python tools/train_demo.py --verify python/realm_ext/demo

Needs torch, numpy, gguf, tokenizers, safetensors and jinja2, a CPU with two cores and about a
quarter of an hour. The same torch version on the same kind of CPU gives the same files; other
machines round differently and give files that pass the same checks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from demo import corpus as corpora
from demo.export import write_adapter, write_model
from demo.judge import failures, judge
from demo.load import read_model
from demo.model import Shape
from demo.train import (
    Outcome,
    Plan,
    adapt,
    batches,
    fit,
    fix_everything,
    imitation_loss,
    new_model,
    pack,
    style_batches,
    text_loss,
)
from demo.vocabulary import SIZE, Vocabulary, learn

THREADS = 2
CORPUS = {"seed": 1, "n_train": 44_000, "n_held_out": 400}
# Head width 64 in both, so that every backend's attention runs; one tied, one not.
TARGET = Shape("realm demo target", 256, 4, 4, 2, 768, SIZE, tied=False)
DRAFT = Shape("realm demo draft", 128, 2, 2, 1, 384, SIZE, tied=True)
RANK, ALPHA = 8, 16
PLANS = {
    "target": Plan(seed=11, learning_rate=4e-3, batch=8),
    "draft": Plan(seed=12, learning_rate=4e-3, batch=8),
    "adapter": Plan(seed=13, learning_rate=2e-3, batch=32, weight_decay=0.0, orthogonal=False),
}
N_STYLE_DOCUMENTS = 8_000
LONGEST_STYLE_ROW = 200
FILES = (
    "target.gguf",
    "draft.gguf",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
)


def log(text: str) -> None:
    """Say how far the training is."""
    print(text, flush=True)


def train_pair(out: Path, corpus: corpora.Corpus, vocabulary: Vocabulary) -> dict[str, Outcome]:
    """Train and write the target, then the draft from the target as written."""
    rows = pack(map(vocabulary.document, corpus.train), TARGET.context, vocabulary.eos)
    log(f"target: {len(rows[0])} rows of {TARGET.context} tokens")
    plan, outcomes = PLANS["target"], {}
    model = new_model(TARGET, plan.seed)
    outcomes["target"] = fit(model, batches(rows, plan), plan, text_loss, log)
    write_model(out / "target.gguf", model, vocabulary)

    log("draft")
    plan, teacher = PLANS["draft"], read_model(out / "target.gguf")[0]
    model = new_model(DRAFT, plan.seed)
    outcomes["draft"] = fit(model, batches(rows, plan), plan, imitation_loss(teacher), log)
    write_model(out / "draft.gguf", model, vocabulary)
    return outcomes


def train_adapter(out: Path, corpus: corpora.Corpus) -> Outcome:
    """Train the adapter on the target as written."""
    log("adapter")
    plan = PLANS["adapter"]
    model, vocabulary = read_model(out / "target.gguf")
    adapt(model, RANK, ALPHA, plan.seed)
    documents = corpus.train[:N_STYLE_DOCUMENTS]
    data = style_batches(documents, vocabulary, plan, LONGEST_STYLE_ROW)
    outcome = fit(model, data, plan, text_loss, log)
    write_adapter(out / "adapter", model, RANK, ALPHA)
    return outcome


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    stated = {}
    for name in FILES:
        data = (folder / name).read_bytes()
        stated[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return stated


def _record(
    out: Path, corpus: corpora.Corpus, outcomes: dict[str, Outcome], seconds: float
) -> dict[str, Any]:
    return {
        "corpus": {**CORPUS, "sha256": corpus.sha256(), "n_facts": len(corpus.facts)},
        "shapes": {"target": asdict(TARGET), "draft": asdict(DRAFT)},
        "adapter": {"rank": RANK, "alpha": ALPHA},
        "plans": {name: asdict(plan) for name, plan in PLANS.items()},
        "training": {name: outcome.as_dict() for name, outcome in outcomes.items()},
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "threads": THREADS,
        "files": _files(out),
        **judge(out, corpus),
    }


def train(out: Path, share: float) -> int:
    """Make every file; with a share below 1, from a part of the corpus only."""
    begin = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    CORPUS["n_train"] = int(CORPUS["n_train"] * share)
    corpus = corpora.build(**CORPUS)
    corpora.check_held_out(corpus)
    outcomes = train_pair(out, corpus, learn(corpus.train))
    outcomes["adapter"] = train_adapter(out, corpus)
    record = _record(out, corpus, outcomes, time.monotonic() - begin)
    (out / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    return report(record, [])


def verify(folder: Path) -> int:
    """Check the files in a folder against their record and against what is promised."""
    record = json.loads((folder / "record.json").read_text())
    stated = {name: record["corpus"][name] for name in CORPUS}
    corpus = corpora.build(**stated)
    corpora.check_held_out(corpus)
    judged = judge(folder, corpus)
    broken = []
    if corpus.sha256() != record["corpus"]["sha256"]:
        broken.append("the grammar no longer gives the corpus of the record")
    if _files(folder) != record["files"]:
        broken.append("the files are not those of the record")
    for name, value in judged["results"].items():
        # Another CPU rounds differently and may flip a near tie.
        if abs(value - record["results"][name]) > 0.01:
            broken.append(f"{name} is {value}, the record says {record['results'][name]}")
    return report(judged, broken)


def report(judged: dict[str, Any], broken: list[str]) -> int:
    """Print the measurements; the exit status says whether all promises are kept."""
    broken = broken + failures(judged)
    log(json.dumps({"results": judged["results"], "examples": judged["examples"]}, indent=1))
    for line in broken:
        log(f"FAILED: {line}")
    return 1 if broken else 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train or check the demo models.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="train, and write the files into this folder")
    what.add_argument("--verify", type=Path, help="check the files in this folder")
    parser.add_argument("--share", type=float, default=1.0, help="part of the corpus to train on")
    arguments = parser.parse_args()
    fix_everything(THREADS)
    if arguments.verify is not None:
        return verify(arguments.verify)
    return train(arguments.out, arguments.share)


if __name__ == "__main__":
    sys.exit(main())
