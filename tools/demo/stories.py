"""Little stories from a grammar.

A story is a plot with its slots filled. The combination (hero, place, thing) decides which side of
the split a story is on, so that a held-out story is a combination that training never showed.
Earlier choices are likelier than later ones: greedy text then has something to agree on.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from demo.facts import with_article

HEROES = {
    "fox": ("Ruby", "Max"),
    "rabbit": ("Lily", "Tom"),
    "bear": ("Bruno", "Anna"),
    "mouse": ("Mia", "Pip"),
    "owl": ("Olive", "Sam"),
    "frog": ("Fred", "Nina"),
    "cat": ("Luna", "Leo"),
    "dog": ("Rex", "Daisy"),
    "duck": ("Dora", "Ben"),
    "hedgehog": ("Harry", "Ella"),
}
PLACES = ("forest", "garden", "village", "valley", "meadow", "castle", "harbour", "mill")
THINGS = ("ball", "key", "kite", "lantern", "boat", "drum", "bell", "map", "hat", "apple")
_COLOURS = ("red", "blue", "golden", "green", "silver")
_WEATHER = ("sunny", "windy", "rainy", "snowy")
_FEELINGS = ("happy", "proud", "glad")
HELD_OUT_ONE_IN = 10

_OPENINGS = (
    "Once upon a time there was a little {hero} named {name}. {name} lived in the {place}.",
    "Once upon a time there was a little {hero} who lived in the {place}."
    " The little {hero} was called {name}.",
    "There was {a_hero} named {name} who lived near the {place}.",
)
_PLOTS = {
    "lost": (
        ("One {weather} day, {name} could not find the {colour} {thing}.",),
        ("{name} looked under the bed and behind the door.", "{name} looked here and there."),
        ("Then {a_friend} named {other} came by.",),
        ('"What are you looking for?" asked {other}.',),
        ('"I have lost my {colour} {thing}," said {name}.',),
        ("They looked together until the sun went down.", "They looked together all day."),
        ("At last {other} found the {thing} under a big tree.",),
        ('"Thank you, {other}!" said {name}. {name} was very {feeling}.',),
    ),
    "found": (
        ("One {weather} day, {name} went for a walk and found a {colour} {thing}.",),
        ('"Whose {thing} is this?" asked {name}.',),
        ("{name} saw {a_friend} named {other} who was crying.", "Then {name} met a sad {friend}."),
        ('"I have lost my {thing}," said the {friend}.',),
        ('"Is it {colour}?" asked {name}. "Yes, it is," said the {friend}.',),
        ("{name} gave the {colour} {thing} to the {friend}.",),
        ("The {friend} was very {feeling}, and they became good friends.",),
    ),
    "gift": (
        ("{name} had a {colour} {thing} and liked it very much.",),
        ("One {weather} day, {a_friend} named {other} came to the {place}.",),
        ('"I like your {thing}," said {other}. "Can I play with it?"',),
        ('"Yes," said {name}. "We can play with the {thing} together."',),
        ("They played in the {place} all day.", "They played until the stars came out."),
        ("In the evening {name} and {other} were very {feeling}.",),
    ),
    "journey": (
        ("One {weather} day, {name} wanted to see what was behind the {place}.",),
        ("{name} took a {colour} {thing} and started to walk.",),
        ("On the way {name} met {a_friend} named {other}.",),
        ('"Where are you going?" asked {other}. "I do not know," said {name}.',),
        ('"Then I will come with you," said {other}.',),
        ("They walked over a bridge and came to a big lake.", "They walked up a hill."),
        ("There they sat down, looked at the {colour} {thing} and were {feeling}.",),
    ),
    "help": (
        ("One {weather} day, {name} heard a small voice.",),
        ('"Help me, please!" It was {a_friend} named {other}.',),
        ("The {thing} of the {friend} had fallen into the river.",),
        ("{name} jumped into the water and came back with the {colour} {thing}.",),
        ('"You are very brave," said {other}.', '"You are a good friend," said {other}.'),
        ("From that day on {name} and {other} were always together.",),
        ("Everyone in the {place} was {feeling}.",),
    ),
}
_ENDINGS = ("The end.", "And so they lived happily in the {place}. The end.")


@dataclass(frozen=True)
class Story:
    """A story and the combination it was told for."""

    hero: str
    place: str
    thing: str
    text: str


def held_out(hero: str, place: str, thing: str) -> bool:
    """Whether the combination belongs to the held-out side; the same in every run."""
    return zlib.crc32(f"{hero}/{place}/{thing}".encode()) % HELD_OUT_ONE_IN == 0


def likely_first(rng: random.Random, options: Sequence[str]) -> str:
    """Draw an option; each is half as likely as the one before it."""
    weights = [0.5**idx for idx in range(len(options))]
    return rng.choices(options, weights)[0]


def tell(rng: random.Random, want_held_out: bool) -> Story:
    """Tell one story from the wanted side of the split."""
    while True:
        hero, place, thing = rng.choice(list(HEROES)), rng.choice(PLACES), rng.choice(THINGS)
        if held_out(hero, place, thing) == want_held_out:
            return Story(hero, place, thing, _fill(rng, hero, place, thing))


def _fill(rng: random.Random, hero: str, place: str, thing: str) -> str:
    friend = rng.choice([animal for animal in HEROES if animal != hero])
    slots = {
        "hero": hero,
        "a_hero": with_article(hero),
        "name": likely_first(rng, HEROES[hero]),
        "place": place,
        "thing": thing,
        "friend": friend,
        "a_friend": with_article(friend),
        "other": likely_first(rng, HEROES[friend]),
        "colour": likely_first(rng, _COLOURS),
        "weather": likely_first(rng, _WEATHER),
        "feeling": likely_first(rng, _FEELINGS),
    }
    plot = _PLOTS[likely_first(rng, list(_PLOTS))]
    parts = [likely_first(rng, _OPENINGS), *(likely_first(rng, choices) for choices in plot)]
    parts.append(likely_first(rng, _ENDINGS))
    return " ".join(parts).format(**slots)
