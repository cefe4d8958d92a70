"""Texts that make tokenizers disagree, from a seed: what the golden ids were computed for.

Uses nothing of `random` but `Random.random`, whose values no Python version changes. The ids in
tests/golden/tokenizers belong to exactly these texts: tools/make_tokenizer_golden.py makes them anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

WORDS = (
    "the a of and to in is it that was for on are with as I his they be at one have this from or"
    " had by hot word but what some we can out other were all there when up use your how said an"
    " each she which do their time if will way about many then them write would like so these her"
    " long make thing see him two has look more day could go come did number sound no most people"
    " my over know water than call first who may down side been now find any new work part take"
    " Paris London NASA JSON HTTPServer getUserName snake_case_name camelCase XMLHttpRequest iPhone"
    " don't can't I'm you're we've they'll he'd it's DON'T CAN'T I'M YOU'RE WE'VE THEY'LL HE'D IT'S"
    " don’t it’s 'tis o'clock rock'n'roll Don'T yOu'Re"
).split()
SCRIPTS = (
    "Über straße naïve café résumé Ångström Łódź œuvre İstanbul ıspanak ǅ ǈ ſt ʰ ʷ",
    "Ελληνικά γλώσσα ΑΒΓΔ ἀρχὴ Ωμέγα ϑ ϕ µ",
    "Привет мир Москва ёлка ЪЫЬ їжак Ґ ѣ Ꙁ",
    "שלום עולם עִבְרִית",
    "مرحبا بالعالم العَرَبِيَّة ٱلسَّلَامُ پارسی اردو، ہے۔ ؟",
    "नमस्ते दुनिया हिन्दी क्षत्रिय।",
    "বাংলা ভাষা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ සිංහල",
    "สวัสดีชาวโลก ภาษาไทย ລາວ ខ្មែរ မြန်မာ",
    "你好世界 中文測試，漢字。 龥鿿㐀䶿豈",
    "こんにちは世界 カタカナ ｶﾀｶﾅ ー 々〆〇 日本語テスト。「引用」",
    "안녕하세요 세계 한국어 ㄱㄴㄷ ᄀᄁ 힣",
    "ქართული Ⴀ ᲐᲑ Հայերեն Ա አማርኛ ᏣᎳᎩ ꭰ ᠮᠣᠩᠭᠣᠯ བོད་སྐད",
    "𝐁𝐨𝐥𝐝 𝒜 𝔘 𐐀𐐨 𐒰 𞤀𞤢 𠀀𠮷 🄰 𝟘𝟙𝟚 𐎀 𒀀",
    "á ö é ñ Z̆͝ ạ̈ h́",
    "ㄅㄆㄇ ㄈㄉㄊㄋㄌ 注音a",
    "ﬁ ﬀ ﬆ Ａｂｃ １２３ ！＂＃ ～ ℂ ℍ ⅅ ℵ K Å",
)
EMOJI = ("😀", "🎉🎊", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷🇩🇪", "❤️", "☃", "✈️", "1️⃣", "🦙", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "⌚︎")
SPACES = (
    " ", " ", " ", "  ", "   ", "    ", "        ", " " * 17, "\n", "\n", "\n\n", "\n\n\n\n", "\t", "\t\t",
    " \n", "\n ", "  \n  ", "\r\n", "\r", "\r\n\r\n", "\t \t", " \t\n", "\u00a0", "\u3000", "\u2003",
    "\u2009\u200a", "\u0085", "\u2028", "\u2029", "\u1680", "\u205f", "\u202f", "\v", "\f", "\x1c",
    "\u200b", "\ufeff", "\u180e", "\u3000\u3000", " \u3000", "\n\u00a0 ", " " * 40, "\n" * 9,
)  # fmt: skip
CONTRACTIONS = (
    "s",
    "t",
    "re",
    "ve",
    "m",
    "ll",
    "d",
    "S",
    "T",
    "Re",
    "VE",
    "M",
    "LL",
    "lL",
    "D",
    "x",
    "",
)
DIGITS = (
    "٣٤٥",
    "१२३",
    "๑๒๓",
    "１２３４",
    "²³",
    "½¾",
    "ⅣⅫ",
    "①②",
    "〇一二三",
    "𝟙𝟚𝟛",
    "၁၂",
    "߁߂",
    "0x1F",
    "1_000",
)
PUNCTUATION = (
    "...", "!!!", "?!", "--", "---", "==", "=>", "->", "!=", "<=", "<<", ">>", "&&", "||", "//", "/*", "*/",
    "::", "++", "+=", "$", "$$", "^", "~", "`", "```", "''", '""', "'", '"', "()", "({[", "]})", ");", "):", "@#%",
    "…", "。", "，", "、", "！？", "“”", "‘’", "«»", "–", "—", "•", "§", "©", "®", "™", "°", "±", "×", "÷",
    "€", "£", "¥", "¿", "¡", "‰", "№", "∑", "√", "∞", "≈", "→", "⇒", "░▒▓", "─│┌", "\\", "\\n", "\\u00e9", "|", ",",
    ".", ":", ";", "-", "_", "(", ")", "'s", "'S", "'t", "'Re", "'VE", "'ll", "'d", "'x", "''s", "/", "//\n", ".\n",
    "!\n\n", ")\r\n", "。\n", "۔", "،", "।", "՞", "׳", "々", "〜", "・", "「」", "﹏", "＄",
)  # fmt: skip
CODE = (
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    "https://example.com/path?a=1&b=%20#top", "user@example.org", "<div class=\"x\">text</div>",
    "SELECT * FROM t WHERE a='b';", "{\"key\": [1, 2.5, null, true]}", "C:\\Users\\name", "x = y**2 // 3",
    "#include <stdio.h>\r\n", "if not (a and b):\n        pass\n\n\n", "lambda x: x[::-1]", "1e-10", "v1.2.3",
    "2024-01-31T23:59:59Z", "3.14159265358979", "1,234,567.89", "(555) 123-4567", "100%", "$9.99", "192.168.0.1",
)  # fmt: skip
SPECIAL = (
    "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|im_start|>user\n", "<|eot_id|>", "<tool>", "</tool>",
    "<tool><tool>", "<|endoftext|>", "<|end", "of_text|>", "<0x0A>", "<0x41>", "▁", "▁▁▁", "<mask>", "[INST]",
    "[/INST]", "Ġ", "ĊĊ", "[x]", "[x][y]", "[y][z]", "[x][y][z]",
)  # fmt: skip
# Bytes that are not UTF-8, as surrogateescape has them.
BROKEN = ("\udcff", "\udce3\udc81", "\udc80", "\udcf0\udc9f\udc98", "\udcc3", "a\udcbf")


class _Source:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def below(self, n: int) -> int:
        return int(self._rng.random() * n)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]


def _script(s: _Source) -> str:
    text = s.pick(SCRIPTS)
    begin = s.below(len(text))
    return text[begin : begin + 1 + s.below(9)]


def _digits(s: _Source) -> str:
    if s.below(4) == 0:
        return s.pick(DIGITS)
    return "".join(str(s.below(10)) for _ in range(1 + s.below(9)))


def _contraction(s: _Source) -> str:
    begin, end = (
        s.pick(("", "we", "I", " ", "1")),
        s.pick(("", "", " ", "a", "Are", "ing", "1", "é")),
    )
    return begin + s.pick(("'", "'", "'", "’")) + s.pick(CONTRACTIONS) + end


def _run(s: _Source) -> str:
    return s.pick((*PUNCTUATION, "a", "A", "0", "=", "-", "é", "中", " ", "\n", "ab", "aB")) * (
        1 + s.below(12)
    )


def _any_character(s: _Source) -> str:
    top = s.pick((0x80, 0x100, 0x250, 0x3000, 0x10000, 0x20000, 0x110000))
    code = s.below(top)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def _word(s: _Source) -> str:
    word = s.pick(WORDS)
    return s.pick((word, word, word.capitalize(), word.upper()))


# Each with how often it comes up.
_KINDS: tuple[tuple[int, Callable[[_Source], str]], ...] = (
    (30, _word),
    (14, lambda s: s.pick(SPACES)),
    (12, _script),
    (9, _digits),
    (10, lambda s: s.pick(PUNCTUATION)),
    (4, lambda s: s.pick(EMOJI)),
    (4, lambda s: s.pick(CODE)),
    (5, lambda s: s.pick(SPECIAL)),
    (6, _contraction),
    (3, _run),
    (4, _any_character),
    (1, lambda s: s.pick(BROKEN)),
)
_CHOICES = [kind for weight, kind in _KINDS for _ in range(weight)]


def make_texts(n: int, seed: int) -> list[str]:
    """Make `n` texts: the same ones for the same seed, everywhere and always.

    Example:
        >>> make_texts(1, seed=1) == make_texts(2, seed=1)[:1]
        True
    """
    s = _Source(seed)
    texts = []
    for _ in range(n):
        spaced = s.below(3) > 0
        parts = []
        for _ in range(s.below(16)):
            parts.append(s.pick(_CHOICES)(s))
            if spaced and s.below(4) > 0:
                parts.append(" ")
        texts.append("".join(parts))
    return texts
