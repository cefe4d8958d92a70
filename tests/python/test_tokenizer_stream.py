"""Text as tokens come: whole characters only, and every byte in the end."""

import codecs
import itertools
import random

import pytest

from realm_ext import FormatError
from realm_ext.text import StreamDecoder, Tokenizer, Vocabulary
from tokenizer_golden import FOLDER
from tokenizer_texts import make_texts


@pytest.fixture(scope="module")
def byte_tokens():
    """A vocabulary in which every byte has a token, and the token of each."""
    vocab = Vocabulary(FOLDER / "spm.gguf")
    return vocab, [vocab.find(f"<0x{byte:02X}>") for byte in range(256)]


TEXT = "aé日🦙👨‍👩‍👧\u0301ß\0\U0010ffff."


def test_no_split_of_a_text_splits_a_character(byte_tokens):
    vocab, tokens = byte_tokens
    ids = [tokens[b] for b in TEXT.encode()]
    for at in range(len(ids) + 1):
        decoder = StreamDecoder(vocab)
        parts = [decoder.push(ids[:at]), decoder.push(ids[at:]), decoder.finish()]
        assert "".join(parts) == TEXT
        assert "\ufffd" not in "".join(parts)
        assert parts[2] == ""


def test_one_token_at_a_time_gives_each_character_with_its_last_byte(byte_tokens):
    vocab, tokens = byte_tokens
    decoder = StreamDecoder(vocab)
    chunks = [decoder.push(tokens[b]) for b in TEXT.encode()]
    assert [c for c in chunks if c] == list(TEXT)
    assert decoder.pending == 0


def test_any_bytes_in_any_pieces_are_what_python_decodes(byte_tokens):
    vocab, tokens = byte_tokens
    rng = random.Random(1)
    interesting = (
        b"\x00Aa\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff"
    )
    for _ in range(3000):
        data = bytes(rng.choices(interesting, k=rng.randrange(1, 12)))
        for errors in ("replace", "surrogateescape"):
            decoder = StreamDecoder(vocab, errors=errors)
            cuts = sorted(rng.choices(range(len(data) + 1), k=3))
            pieces = [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]
            text = "".join(decoder.push([tokens[b] for b in piece]) for piece in pieces)
            text += decoder.finish()
            assert text == data.decode("utf-8", errors)
            if errors == "surrogateescape":
                assert text.encode("utf-8", errors) == data


def test_a_character_waits_no_longer_than_it_must(byte_tokens):
    """Nothing is held that Python's own incremental decoder would have given."""
    vocab, tokens = byte_tokens
    rng = random.Random(2)
    for _ in range(2000):
        data = bytes(rng.choices(b"a\x80\xbf\xc3\xe2\x82\xac\xf0\x9f\xa6\x99\xff", k=9))
        decoder = StreamDecoder(vocab, errors="replace")
        python = codecs.getincrementaldecoder("utf-8")("replace")
        ours = theirs = ""
        for byte in data:
            ours += decoder.push(tokens[byte])
            theirs += python.decode(bytes([byte]))
            assert len(ours) >= len(theirs)
        assert ours + decoder.finish() == theirs + python.decode(b"", True)


@pytest.mark.parametrize("name", ["bpe", "spm", "raw"])
def test_streaming_gives_what_decoding_gives(name):
    tokenizer = Tokenizer.from_gguf(FOLDER / f"{name}.gguf")
    for text in make_texts(300, seed=9):
        ids = tokenizer.encode(text, add_special=False)
        decoder = tokenizer.stream_decoder()
        chunks = [decoder.push(i) for i in ids] + [decoder.finish()]
        whole = tokenizer.decode(ids)
        joined = "".join(chunks)
        prefix = " " if tokenizer.vocab.add_space_prefix and joined != whole else ""
        assert joined == prefix + whole


def test_control_tokens_are_shown_on_request():
    tokenizer = Tokenizer.from_gguf(FOLDER / "bpe.gguf")
    end = tokenizer.vocab.find("<|im_end|>")
    assert tokenizer.stream_decoder().push(end) == ""
    assert tokenizer.stream_decoder(skip_special=False).push(end) == "<|im_end|>"
    assert tokenizer.decode([end]) == ""
    assert tokenizer.decode([end], skip_special=False) == "<|im_end|>"


def test_ids_outside_of_the_vocabulary_are_refused(byte_tokens):
    vocab, _ = byte_tokens
    with pytest.raises(ValueError, match="token id 1300 is not in the vocabulary of 1300"):
        StreamDecoder(vocab).push(1300)
    assert not issubclass(TypeError, FormatError)
