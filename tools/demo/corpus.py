"""The corpus: facts, stories, arithmetic and chats, all drawn from one seed.

A document is a list of pieces: plain text, or the turns of a chat. Both splits come from the same
grammar; what is held out is story combinations and orderings of sums. `check_held_out` compares the
combinations that were told, and searches the training text for the sums.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from demo import facts as tables
from demo import stories
from demo.facts import Fact

HIGHEST_TERM = 12
_GREETINGS = (
    ("Hello!", "Hello! How can I help you?"),
    ("Who are you?", "I am a little demo model. I know some facts and I can tell stories."),
    ("What can you do?", "I can answer small questions, add numbers and tell little stories."),
    ("Thank you.", "You are welcome!"),
    ("Good morning.", "Good morning! How can I help you?"),
)
SYSTEM_PROMPTS = ("You are a helpful assistant.", "Answer in one sentence.", "Be kind and clear.")


@dataclass(frozen=True)
class Document:
    """One training document: `text`, or, where `turns` is not empty, a chat."""

    kind: str
    text: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    stories: tuple[stories.Story, ...] = ()


@dataclass
class Corpus:
    """Both splits, with the facts they state."""

    facts: list[Fact]
    train: list[Document] = field(default_factory=list)
    held_out: list[Document] = field(default_factory=list)

    def sha256(self) -> str:
        """A hash of every document of both splits, in order."""
        digest = hashlib.sha256()
        for document in [*self.train, *self.held_out]:
            digest.update(json.dumps([document.text, document.turns]).encode())
        return digest.hexdigest()


class Deck:
    """Deals items without replacement and reshuffles, so that all are seen equally often."""

    def __init__(self, rng: random.Random, items: list[list[Fact]]) -> None:
        """Start with a full deck."""
        self._rng, self._items, self._left = rng, items, list[list[Fact]]()

    def deal(self) -> list[Fact]:
        """The next item."""
        if not self._left:
            self._left = self._rng.sample(self._items, len(self._items))
        return self._left.pop()


# --- arithmetic -----------------------------------------------------------------------------------


def sum_is_held_out(a: int, b: int) -> bool:
    """Whether training shows b plus a, but never a plus b."""
    return a > b and zlib.crc32(f"{a}+{b}".encode()) % 4 == 0


def held_out_sums() -> list[tuple[int, int]]:
    """The orderings of sums that training never shows."""
    terms = range(HIGHEST_TERM + 1)
    return [(a, b) for a in terms for b in terms if sum_is_held_out(a, b)]


@dataclass(frozen=True)
class Exercise:
    """A small sum or difference, as a sentence and as a question."""

    a: int
    b: int
    word: str

    @property
    def prompt(self) -> str:
        """What comes before the answer."""
        return f"{self.a} {self.word} {self.b} is"

    @property
    def answer(self) -> str:
        """The number that completes the prompt."""
        return str(self.a + self.b if self.word == "plus" else self.a - self.b)

    @property
    def sentence(self) -> str:
        """The finished sentence."""
        return f"{self.prompt} {self.answer}."

    @property
    def question(self) -> str:
        """The exercise as a question."""
        return f"What is {self.a} {self.word} {self.b}?"


def exercises(want_held_out: bool) -> list[Exercise]:
    """Every exercise of one side of the split."""
    terms = range(HIGHEST_TERM + 1)
    sums = [Exercise(a, b, "plus") for a in terms for b in terms]
    chosen = [one for one in sums if sum_is_held_out(one.a, one.b) == want_held_out]
    if not want_held_out:
        chosen += [Exercise(a, b, "minus") for a in terms for b in terms if b <= a]
    return chosen


# --- documents ------------------------------------------------------------------------------------


def _fact_turns(rng: random.Random, group: list[Fact]) -> Iterator[tuple[str, str]]:
    fact = rng.choice(group)
    yield rng.choice(fact.questions), fact.sentence


def _story_turn(rng: random.Random, held_out: bool) -> tuple[tuple[str, str], stories.Story]:
    story = stories.tell(rng, held_out)
    return (f"Tell me a story about {tables.with_article(story.hero)}.", story.text), story


def _recitals() -> list[tuple[str, str]]:
    """Lists to say by heart, each with the question that asks for it."""
    days = f"The days of the week are {', '.join(tables.DAYS)}."
    months = f"The months of the year are {', '.join(tables.MONTHS)}."
    letters = f"The letters of the alphabet are {', '.join(tables.LETTERS)}."
    seasons = f"The seasons are {', '.join(tables.SEASONS)}."
    said = [
        ("What are the days of the week?", days),
        ("What are the months of the year?", months),
        ("What are the letters of the alphabet?", letters),
        ("What are the seasons?", seasons),
    ]
    for last in range(5, tables.HIGHEST_NUMBER + 1, 5):
        numbers = ", ".join(str(number) for number in range(1, last + 1))
        said.append((f"Count to {last}.", f"Counting to {last}: {numbers}."))
    return said


class Writer:
    """Draws documents; one per split, each with its own generator."""

    def __init__(self, seed: str, facts: list[Fact], held_out: bool) -> None:
        """Seed the generator and shuffle the decks."""
        self.rng, self.held_out = random.Random(seed), held_out
        groups = tables.by_subject(facts)
        self._plain, self._asked = Deck(self.rng, groups), Deck(self.rng, [[f] for f in facts])
        self._exercises = exercises(held_out)
        self._recitals = _recitals()

    def facts(self) -> Document:
        """What is known about one subject, or a list of unrelated facts."""
        draw = self.rng.random()
        if draw < 0.85:
            # Some begin in the middle, so that any fact can be the first thing asked for.
            group = self._plain.deal()
            first = self.rng.randrange(len(group)) if draw < 0.4 else 0
            return Document("facts", " ".join(fact.sentence for fact in group[first:]))
        chosen = [self.rng.choice(self._plain.deal()) for _ in range(self.rng.randint(3, 8))]
        said = (f.reversed_form or f.sentence for f in chosen)
        return Document("facts", "Here are some facts. " + " ".join(said))

    def arithmetic(self) -> Document:
        """A run of exercises."""
        chosen = self.rng.choices(self._exercises, k=self.rng.randint(1, 8))
        return Document("arithmetic", " ".join(one.sentence for one in chosen))

    def story(self) -> Document:
        """One story."""
        story = stories.tell(self.rng, self.held_out)
        return Document("story", story.text, stories=(story,))

    def recital(self) -> Document:
        """A list said by heart."""
        return Document("recital", self.rng.choice(self._recitals)[1])

    def chat(self) -> Document:
        """One to four questions with their answers, sometimes under a system prompt."""
        turns: list[tuple[str, str]] = []
        told: list[stories.Story] = []
        if self.rng.random() < 0.2:
            turns.append(("system", stories.likely_first(self.rng, SYSTEM_PROMPTS)))
        for _ in range(self.rng.randint(1, 4)):
            question, answer = self._exchange(told)
            turns += [("user", question), ("assistant", answer)]
        return Document("chat", turns=tuple(turns), stories=tuple(told))

    def _exchange(self, told: list[stories.Story]) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.68:
            return next(_fact_turns(self.rng, self._asked.deal()))
        if draw < 0.86:
            one = self.rng.choice(self._exercises)
            return one.question, one.sentence
        if draw < 0.92:
            turn, story = _story_turn(self.rng, self.held_out)
            told.append(story)
            return turn
        return self.rng.choice([*_GREETINGS, *self._recitals])

    def document(self) -> Document:
        """The next document: the mix of kinds is fixed here."""
        kinds = (self.facts, self.arithmetic, self.story, self.recital, self.chat)
        weights = (0.34, 0.14, 0.11, 0.04, 0.37) if not self.held_out else (0, 0.3, 0.4, 0, 0.3)
        return self.rng.choices(kinds, weights)[0]()


def build(seed: int, n_train: int, n_held_out: int) -> Corpus:
    """Draw both splits."""
    facts = tables.all_facts()
    train = Writer(f"{seed}/train", facts, held_out=False)
    held_out = Writer(f"{seed}/held_out", facts, held_out=True)
    corpus = Corpus(facts)
    corpus.train = [train.document() for _ in range(n_train)]
    corpus.held_out = [held_out.document() for _ in range(n_held_out)]
    return corpus


def check_held_out(corpus: Corpus) -> None:
    """Raise ValueError if training shows a held-out combination or ordering."""
    combinations = {(s.hero, s.place, s.thing) for d in corpus.train for s in d.stories}
    for document in corpus.held_out:
        for story in document.stories:
            if (story.hero, story.place, story.thing) in combinations:
                raise ValueError(f"held-out story in training: {story}")
    text = "\n".join(d.text + " ".join(said for _, said in d.turns) for d in corpus.train)
    shown = {(int(a), int(b)) for a, b in re.findall(r"\b(\d+) plus (\d+)\b", text)}
    leaked = shown.intersection(held_out_sums())
    if leaked:
        raise ValueError(f"held-out sums in training: {sorted(leaked)}")
