"""SamplingParams, and sampling against a float64 reference in numpy."""

import math
import pickle
import struct

import numpy as np
import pytest

import realm_ext
from realm_ext import SamplingParams, _core

UNFILTERED = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def params(**changes):
    return SamplingParams(**{**UNFILTERED, **changes})


# The reference --------------------------------------------------------------------------------


def adjusted(logits, p, prompt, output):
    """Logits after penalties and bias, rounded to float32 as the core keeps them."""
    row = logits.astype(np.float64)
    for token in set(prompt) | set(output):
        x = row[token]
        row[token] = x / p.repetition_penalty if x > 0 else x * p.repetition_penalty
    for token in set(output):
        row[token] -= p.frequency_penalty * output.count(token)
        row[token] -= p.presence_penalty
    row = row.astype(np.float32)
    for token, bias in p.logit_bias.items():
        row[token] = np.float32(np.float64(row[token]) + bias)
    return row


def reference_law(logits, p, prompt=(), output=()):
    """Ids most likely first, and probabilities, after every filter."""
    row = adjusted(logits, p, list(prompt), list(output))
    ids = np.argsort(-row, kind="stable")
    ids = ids[np.isfinite(row[ids])]
    if p.temperature == 0:
        return ids[:1], np.ones(1)
    scaled = row[ids].astype(np.float64) / p.temperature
    if p.top_k:
        ids, scaled = ids[: p.top_k], scaled[: p.top_k]
    mass = np.exp(scaled - scaled[0])
    if p.top_p < 1:
        n = 1 + int(np.searchsorted(np.cumsum(mass), p.top_p * mass.sum()))
        ids, mass = ids[:n], mass[:n]
    keep = mass >= p.min_p
    ids, mass = ids[keep], mass[keep]
    return ids, mass / mass.sum()


def philox(counter, key):
    """Philox4x32-10 in integers of any size."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def reference_uniform(seed, position, token):
    counter = (token >> 1, position & 0xFFFFFFFF, position >> 32, 0)
    block = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    low, high = block[token % 2 * 2 :][:2]
    return ((high << 32 | low) >> 12) * 2.0**-52 + 2.0**-53


def reference_noise(seed, position, token):
    return -math.log(-math.log(reference_uniform(seed, position, token)))


def reference_draw(logits, p, position, prompt=(), output=()):
    ids, _ = reference_law(logits, p, prompt, output)
    if p.temperature == 0:
        return ids[0]
    row = adjusted(logits, p, list(prompt), list(output)).astype(np.float64) / p.temperature
    return max(ids, key=lambda t: row[t] + reference_noise(p.seed, position, int(t)))


def chi_square_tail(statistic, degrees):
    """The chance of a statistic at least this large (Wilson and Hilferty)."""
    shrink = 2 / (9 * degrees)
    z = ((statistic / degrees) ** (1 / 3) - (1 - shrink)) / math.sqrt(shrink)
    return 0.5 * math.erfc(z / math.sqrt(2))


# The sampler ----------------------------------------------------------------------------------


def test_philox_of_the_reference_gives_a_published_block():
    block = philox((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
    assert block == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_noise_equals_the_reference():
    rng = np.random.default_rng(1)
    for _ in range(50):
        seed, position = (int(n) for n in rng.integers(0, 1 << 64, 2, dtype=np.uint64))
        tokens = rng.integers(0, 1 << 31, 20).tolist()
        ours = _core.token_noise(seed, position, tokens)
        theirs = [reference_noise(seed, position, token) for token in tokens]
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


def log_of_normal(x):
    """csrc/base/exp_log.h, operation by operation: Python's floats are the same doubles."""
    shifted = struct.unpack("<Q", struct.pack("<d", x))[0] + (0x3FF0 << 48) - (0x3FE6A09E << 32)
    bits = (shifted & 0x000FFFFFFFFFFFFF) + (0x3FE6A09E << 32)
    k = float((shifted >> 52) - 1023)
    f = struct.unpack("<d", struct.pack("<Q", bits))[0] - 1.0
    half_square = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (
        3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    )
    even = z * (
        6.666666666666735130e-01
        + w
        * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    high, low = k * 6.93147180369123816490e-01, k * 1.90821492927058770002e-10
    return s * (half_square + (odd + even)) + low - half_square + f + high


def test_noise_has_the_bits_of_plain_ieee_arithmetic():
    tokens = list(range(2000))
    ours = _core.token_noise(12345, 678, tokens).tolist()
    uniforms = [reference_uniform(12345, 678, token) for token in tokens]
    assert ours == [-log_of_normal(-log_of_normal(u)) for u in uniforms]


FILTERS = [
    {},
    {"top_k": 1},
    {"top_k": 7},
    {"top_p": 0.37},
    {"top_p": 0.93},
    {"min_p": 0.0123},
    {"top_k": 20, "top_p": 0.83, "min_p": 0.0456, "temperature": 1.31},
    {"temperature": 0.31},
    {"temperature": 0.0},
    {"repetition_penalty": 1.37},
    {"presence_penalty": 0.71},
    {"frequency_penalty": -0.43},
    {"logit_bias": {3: -math.inf, 5: 2.0, 11: -0.75}},
    {"repetition_penalty": 0.8, "presence_penalty": 0.5, "frequency_penalty": 0.2, "top_p": 0.77},
]


@pytest.mark.parametrize("ties", [False, True], ids=["smooth", "ties"])
@pytest.mark.parametrize("changes", FILTERS, ids=lambda c: "+".join(c) or "none")
def test_every_filter_equals_the_reference(changes, ties):
    rng = np.random.default_rng(2)
    for i in range(60):
        n_vocab = int(rng.choice([12, 40, 500]))
        logits = (rng.standard_normal(n_vocab) * 3).astype(np.float32)
        if ties:
            logits = np.round(logits * 2) / 2
        prompt, output = (rng.integers(0, n_vocab, 15).tolist() for _ in range(2))
        p = params(seed=i, **changes)
        ids, probabilities = _core.sampling_law(logits, p, prompt=prompt, output=output)
        expected_ids, expected = reference_law(logits, p, prompt, output)
        assert ids.tolist() == expected_ids.tolist()
        np.testing.assert_allclose(probabilities, expected, rtol=1e-11)
        token = _core.sample(logits, p, prompt=prompt, output=output, position=i)
        assert token == reference_draw(logits, p, i, prompt, output)


def p_value(law, draws):
    ids, probabilities = law
    counts = np.array([np.count_nonzero(draws == token) for token in ids])
    expected = probabilities * len(draws)
    assert expected.min() > 5
    if counts.sum() != len(draws):
        return 0.0
    return chi_square_tail(float(((counts - expected) ** 2 / expected).sum()), len(ids) - 1)


def test_twenty_thousand_draws_follow_the_law_and_a_wrong_law_is_caught():
    logits = np.random.default_rng(3).standard_normal(60).astype(np.float32)
    p = SamplingParams(seed=7)
    draws = np.array([_core.sample(logits, p, position=i) for i in range(20000)])
    assert p_value(reference_law(logits, p), draws) > 1e-3
    assert p_value(reference_law(logits, p.replace(temperature=0.75)), draws) < 1e-6
    assert p_value(reference_law(logits, p.replace(top_p=0.85)), draws) < 1e-6


def test_a_draw_depends_on_seed_and_position_alone():
    logits = np.random.default_rng(4).standard_normal(300).astype(np.float32)
    p = params(seed=5)
    forward = [_core.sample(logits, p, position=i) for i in range(200)]
    backward = [_core.sample(logits, p, position=i) for i in reversed(range(200))]
    assert forward == backward[::-1]
    assert forward != [_core.sample(logits, p.replace(seed=6), position=i) for i in range(200)]
    assert _core.sample(logits, p, prompt=[1, 2], output=[3]) == forward[3]


def test_logprobs_are_of_the_model_before_any_adjustment():
    logits = np.array([1.0, 3.0, -np.inf, 3.0, 0.0], np.float32)
    with np.errstate(divide="ignore"):
        expected = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    chosen, top = _core.token_logprobs(logits, 0, 2)
    assert chosen == pytest.approx(expected[0])
    assert [token for token, _ in top] == [1, 3]
    assert top[0][1] == pytest.approx(expected[1])
    assert _core.token_logprobs(logits, 2, 0) == (-math.inf, [])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error_of_the_model(bad):
    logits = np.array([0.0, 1.0, bad], np.float32)
    for p in (SamplingParams(seed=1), SamplingParams(temperature=0)):
        with pytest.raises(realm_ext.FormatError, match="token 2"):
            _core.sample(logits, p)


def test_nothing_left_to_sample_is_refused():
    with pytest.raises(realm_ext.InvalidRequest, match="no token is left"):
        _core.sample(np.full(4, -np.inf, np.float32), SamplingParams(seed=1))
    with pytest.raises(realm_ext.InvalidRequest, match="not in the vocabulary of 4"):
        _core.sample(np.zeros(4, np.float32), SamplingParams(seed=1, logit_bias={4: 1.0}))
    with pytest.raises(realm_ext.InvalidRequest, match="seed"):
        _core.sample(np.zeros(4, np.float32), SamplingParams())


# SamplingParams -------------------------------------------------------------------------------

DEFAULTS = {
    "max_tokens": 512,
    "temperature": 0.7,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": None,
    "stop": [],
    "stop_token_ids": [],
    "ignore_eos": False,
    "logprobs": None,
    "logit_bias": {},
    "grammar": None,
}


def test_names_and_defaults_are_the_documented_ones():
    p = SamplingParams()
    assert {name: getattr(p, name) for name in DEFAULTS} == DEFAULTS
    assert repr(p) == f"SamplingParams({', '.join(f'{k}={v!r}' for k, v in DEFAULTS.items())})"


def test_options_are_values():
    p = SamplingParams(seed=2**64 - 1, stop=["\n", "é"], logit_bias={7: -1.5}, logprobs=3)
    assert p == SamplingParams(**{name: getattr(p, name) for name in DEFAULTS})
    assert p == eval(repr(p))
    assert p == pickle.loads(pickle.dumps(p))
    assert p != p.replace(top_k=41)
    assert p.replace(top_k=41).replace(top_k=40) == p
    with pytest.raises(AttributeError):
        p.temperature = 1.0
    with pytest.raises(TypeError):
        SamplingParams(100)
    with pytest.raises(TypeError):
        p.replace(tempperature=1.0)


def test_numpy_numbers_are_numbers():
    p = SamplingParams(seed=np.uint64(2**63), top_k=np.int64(3), temperature=np.float32(0.5))
    assert (p.seed, p.top_k, p.temperature) == (2**63, 3, 0.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -1),
        ("temperature", math.nan),
        ("top_k", -1),
        ("top_p", 0),
        ("top_p", 1.01),
        ("min_p", -0.1),
        ("repetition_penalty", 0),
        ("presence_penalty", math.inf),
        ("frequency_penalty", math.nan),
        ("seed", -1),
        ("seed", 2**64),
        ("stop", [""]),
        ("stop", ["x"] * 65),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", [2**40]),
        ("logprobs", 101),
        ("logit_bias", {-1: 0.0}),
        ("logit_bias", {2**40: 0.0}),
        ("logit_bias", {1: math.inf}),
        ("grammar", "root ::= 'a'"),
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(realm_ext.InvalidRequest, match=field):
        SamplingParams(**{field: value})
    with pytest.raises(realm_ext.InvalidRequest, match=field):
        SamplingParams().replace(**{field: value})
