"""Tables of small facts, and the sentences and questions that state them.

Every table maps one subject to exactly one answer, so that a greedy completion is either right or
wrong. Nothing here draws a random number: the order of `all_facts()` is the order of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# country: capital, continent, language ("-" where several have an equal claim)
_COUNTRIES = """
France: Paris, Europe, French
Germany: Berlin, Europe, German
Italy: Rome, Europe, Italian
Spain: Madrid, Europe, Spanish
Portugal: Lisbon, Europe, Portuguese
Greece: Athens, Europe, Greek
Poland: Warsaw, Europe, Polish
Sweden: Stockholm, Europe, Swedish
Norway: Oslo, Europe, Norwegian
Denmark: Copenhagen, Europe, Danish
Finland: Helsinki, Europe, -
Iceland: Reykjavik, Europe, Icelandic
Ireland: Dublin, Europe, -
Austria: Vienna, Europe, German
Hungary: Budapest, Europe, Hungarian
Romania: Bucharest, Europe, Romanian
Bulgaria: Sofia, Europe, Bulgarian
Croatia: Zagreb, Europe, Croatian
Serbia: Belgrade, Europe, Serbian
Ukraine: Kyiv, Europe, Ukrainian
Belgium: Brussels, Europe, -
Switzerland: Bern, Europe, -
Estonia: Tallinn, Europe, Estonian
Latvia: Riga, Europe, Latvian
Lithuania: Vilnius, Europe, Lithuanian
Slovenia: Ljubljana, Europe, Slovene
Slovakia: Bratislava, Europe, Slovak
Albania: Tirana, Europe, Albanian
Japan: Tokyo, Asia, Japanese
China: Beijing, Asia, Chinese
India: New Delhi, Asia, -
Thailand: Bangkok, Asia, Thai
Vietnam: Hanoi, Asia, Vietnamese
Nepal: Kathmandu, Asia, Nepali
Mongolia: Ulaanbaatar, Asia, Mongolian
Iran: Tehran, Asia, Persian
Iraq: Baghdad, Asia, -
Jordan: Amman, Asia, Arabic
Lebanon: Beirut, Asia, Arabic
Syria: Damascus, Asia, Arabic
Pakistan: Islamabad, Asia, -
Bangladesh: Dhaka, Asia, Bengali
Cambodia: Phnom Penh, Asia, Khmer
Egypt: Cairo, Africa, Arabic
Morocco: Rabat, Africa, -
Tunisia: Tunis, Africa, Arabic
Libya: Tripoli, Africa, Arabic
Kenya: Nairobi, Africa, -
Ghana: Accra, Africa, English
Nigeria: Abuja, Africa, English
Senegal: Dakar, Africa, French
Angola: Luanda, Africa, Portuguese
Ethiopia: Addis Ababa, Africa, -
Uganda: Kampala, Africa, -
Canada: Ottawa, North America, -
Mexico: Mexico City, North America, Spanish
Cuba: Havana, North America, Spanish
Brazil: Brasilia, South America, Portuguese
Argentina: Buenos Aires, South America, Spanish
Chile: Santiago, South America, Spanish
Peru: Lima, South America, -
Colombia: Bogota, South America, Spanish
Uruguay: Montevideo, South America, Spanish
Australia: Canberra, Oceania, English
"""

# animal: sound, legs, young, home ("-" where the plain word is unsure)
_ANIMALS = """
dog: woof, four, puppy, kennel
cat: meow, four, kitten, -
cow: moo, four, calf, barn
sheep: baa, four, lamb, -
horse: neigh, four, foal, stable
pig: oink, four, piglet, sty
duck: quack, two, duckling, pond
frog: croak, four, tadpole, -
lion: roar, four, cub, den
hen: cluck, two, chick, coop
owl: hoot, two, owlet, -
bee: buzz, six, -, hive
mouse: squeak, four, -, hole
snake: hiss, no, -, -
crow: caw, two, -, nest
goat: -, four, kid, -
goose: honk, two, gosling, -
swan: -, two, cygnet, -
spider: -, eight, -, web
crab: -, ten, -, -
ant: -, six, -, anthill
fish: -, no, fry, -
kangaroo: -, two, joey, -
deer: -, four, fawn, -
rabbit: -, four, bunny, burrow
beetle: -, six, -, -
"""

_COLOURS = (
    "the sky: blue, grass: green, snow: white, coal: black, blood: red, a banana: yellow, "
    "a lemon: yellow, a carrot: orange, a tomato: red, a strawberry: red, a cucumber: green, "
    "milk: white, chocolate: brown, a pumpkin: orange, a cherry: red, the sun: yellow, "
    "a flamingo: pink, an elephant: grey, a plum: purple, a raven: black, a frog: green, "
    "wood: brown, the sea: blue, a polar bear: white, a pea: green, a fire engine: red"
)

_OPPOSITES = (
    "hot: cold, big: small, up: down, day: night, black: white, fast: slow, open: closed, "
    "happy: sad, old: young, rich: poor, wet: dry, full: empty, hard: soft, heavy: light, "
    "loud: quiet, high: low, left: right, long: short, near: far, strong: weak, thick: thin, "
    "early: late, clean: dirty, first: last, good: bad, love: hate, north: south, east: west, "
    "push: pull, in: out, true: false, win: lose, buy: sell, start: stop, give: take, "
    "sweet: sour, wide: narrow, deep: shallow, brave: afraid, awake: asleep"
)

_PLURALS = (
    "mouse: mice, child: children, foot: feet, tooth: teeth, goose: geese, man: men, "
    "woman: women, leaf: leaves, knife: knives, wolf: wolves, cat: cats, dog: dogs, "
    "box: boxes, city: cities, baby: babies, sheep: sheep, book: books, tree: trees"
)

_SIDES = "triangle: three, square: four, pentagon: five, hexagon: six, octagon: eight"

_TOOLS = (
    "cut paper: scissors, hit nails: a hammer, eat soup: a spoon, write: a pen, "
    "sweep the floor: a broom, open a lock: a key, dig a hole: a shovel, "
    "brush our teeth: a toothbrush, paint a wall: a brush, tell the time: a clock, "
    "see the stars: a telescope, saw wood: a saw, comb our hair: a comb, catch fish: a net"
)

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
SEASONS = ["spring", "summer", "autumn", "winter"]
LETTERS = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
HIGHEST_NUMBER = 30


@dataclass(frozen=True)
class Fact:
    """One fact: `prompt` + " " + `answer` + `tail` is a sentence, and so is the reply."""

    kind: str
    subject: str
    prompt: str
    answer: str
    questions: tuple[str, ...]
    tail: str = "."
    reversed_form: str = ""

    @property
    def sentence(self) -> str:
        """The fact as one plain sentence."""
        return f"{self.prompt} {self.answer}{self.tail}"


def _pairs(table: str) -> list[tuple[str, str]]:
    """Read "key: value, key: value"."""
    rows = (entry.split(":") for entry in table.split(","))
    return [(key.strip(), value.strip()) for key, value in rows]


def _rows(table: str) -> Iterator[tuple[str, list[str]]]:
    """Read one "key: value, value, ..." per line."""
    for line in table.strip().splitlines():
        key, values = line.split(":")
        yield key, [value.strip() for value in values.split(",")]


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _countries() -> Iterator[Fact]:
    for name, (capital, continent, language) in _rows(_COUNTRIES):
        asks = (f"What is the capital of {name}?", f"Which city is the capital of {name}?")
        turned = f"{capital} is the capital of {name}."
        yield Fact(
            "capital", name, f"The capital of {name} is", capital, asks, reversed_form=turned
        )
        asks = (f"Where is {name}?", f"In which continent is {name}?")
        yield Fact("continent", name, f"{name} is a country in", continent, asks)
        if language != "-":
            asks = (
                f"What do people in {name} speak?",
                f"Which language do people in {name} speak?",
            )
            yield Fact("language", name, f"People in {name} speak", language, asks)


def _animals() -> Iterator[Fact]:
    for name, (sound, legs, young, home) in _rows(_ANIMALS):
        one = with_article(name)
        start = one[0].upper() + one[1:]
        if sound != "-":
            yield Fact("sound", name, f"{start} says", sound, (f"What does {one} say?",))
        yield Fact(
            "legs", name, f"{start} has", legs, (f"How many legs does {one} have?",), " legs."
        )
        if young != "-":
            asks = (f"What is a young {name} called?",)
            called = f"A young {name} is called {with_article(young).split()[0]}"
            yield Fact("young", name, called, young, asks)
        if home != "-":
            where = f"{start} lives in {with_article(home).split()[0]}"
            yield Fact("home", name, where, home, (f"Where does {one} live?",))


def _neighbours(kind: str, names: list[str], cyclic: bool, what: str) -> Iterator[Fact]:
    """The name after and the name before each name of an ordered list."""
    for word, step in (("after", 1), ("before", -1)):
        for idx, name in enumerate(names):
            if not cyclic and not 0 <= idx + step < len(names):
                continue
            other = names[(idx + step) % len(names)]
            asks = (f"What is the {what} {word} {name}?", f"Which {what} comes {word} {name}?")
            yield Fact(kind, f"{word} {name}", f"The {what} {word} {name} is", other, asks)


def _words() -> Iterator[Fact]:
    for thing, colour in _pairs(_COLOURS):
        asks = (f"What is the colour of {thing}?", f"What colour is {thing}?")
        yield Fact("colour", thing, f"The colour of {thing} is", colour, asks)
    for first, second in _pairs(_OPPOSITES):
        for word, other in ((first, second), (second, first)):
            ask = f"What is the opposite of {word}?"
            yield Fact("opposite", word, f"The opposite of {word} is", other, (ask,))
    for word, many in _pairs(_PLURALS):
        yield Fact(
            "plural", word, f"The plural of {word} is", many, (f"What is the plural of {word}?",)
        )
    for shape, sides in _pairs(_SIDES):
        start = f"{with_article(shape)} has".capitalize()
        ask = f"How many sides does {with_article(shape)} have?"
        yield Fact("sides", shape, start, sides, (ask,), " sides.")
    for task, tool in _pairs(_TOOLS):
        yield Fact("tool", task, f"To {task} we use", tool, (f"What do we use to {task}?",))


def all_facts() -> list[Fact]:
    """Every fact, in a fixed order; prompts and questions are unique."""
    numbers = [str(number) for number in range(1, HIGHEST_NUMBER + 1)]
    facts = [*_countries(), *_animals(), *_words()]
    facts += _neighbours("day", DAYS, True, "day")
    facts += _neighbours("month", MONTHS, True, "month")
    facts += _neighbours("season", SEASONS, True, "season")
    facts += _neighbours("letter", LETTERS, False, "letter")
    facts += _neighbours("number", numbers, False, "number")
    return facts


def by_subject(facts: list[Fact]) -> list[list[Fact]]:
    """Facts about the same country or animal together; every other fact alone."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        shared = fact.kind in ("capital", "continent", "language", "sound", "legs", "young", "home")
        groups.setdefault(fact.subject if shared else fact.prompt, []).append(fact)
    return list(groups.values())
