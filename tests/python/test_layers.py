"""A model's layers one by one give the bits of the whole forward; tests/cpp/model_layers_test.cpp
holds that for every architecture, cache and adapter. Here is what Python adds."""

import threading

import numpy as np
import pytest

import realm_ext
from closeness import same_bits


@pytest.fixture(scope="module")
def model():
    model = realm_ext.Model(realm_ext.demo_path("target.gguf"), deterministic=True)
    model.load_adapter("pirate", realm_ext.demo_path("adapter"))
    return model


@pytest.fixture(scope="module")
def tokens(model):
    return model.tokenizer.encode("Once upon a time there was a little girl who lived by the sea.")


def by_layers(session, model, tokens, step):
    """The logits of tokens that go through all layers in steps."""
    logits = []
    for first in range(0, len(tokens), step):
        rows = session.embed_tokens(tokens[first : first + step])
        for layer in range(model.config.n_layers):
            rows = session.forward_layer(layer, rows)
        logits.append(session.compute_logits(rows))
    return np.concatenate(logits)


def compute_forever(session, tokens):
    """The first layer, over and over."""
    while True:
        session.truncate(0)
        session.forward_layer(0, session.embed_tokens(tokens))


@pytest.mark.parametrize("adapter", [None, "pirate", [("pirate", 0.5)]])
@pytest.mark.parametrize("kv_dtype", ["f32", "f16"])
@pytest.mark.parametrize("step", [1, 5, 100])
def test_layers_compose_to_the_logits_of_the_model(model, tokens, adapter, kv_dtype, step):
    session = realm_ext.LayerSession(model, adapter, kv_dtype=kv_dtype)
    logits = by_layers(session, model, tokens, step)
    assert same_bits(logits, model.logits(tokens, adapter, kv_dtype=kv_dtype))
    assert session.length == len(tokens)


def test_rows_of_any_float_type_and_layout_are_taken(model, tokens):
    session = realm_ext.LayerSession(model)
    rows = session.embed_tokens(tokens)
    expected = session.forward_layer(0, rows)
    session.truncate(0)
    assert same_bits(session.forward_layer(0, np.asfortranarray(rows)), expected)
    session.truncate(0)
    assert same_bits(session.forward_layer(0, rows.astype(np.float64)), expected)


def test_what_does_not_fit_is_refused_and_moves_nothing(model, tokens):
    session = realm_ext.LayerSession(model, max_tokens=8, max_rows=4)
    rows = session.embed_tokens(tokens[:3])
    session.forward_layer(0, rows)
    refused = [
        (lambda: session.forward_layer(0, rows), "layer 0 is out of order"),
        (lambda: session.forward_layer(1, rows[:2]), "a step of 3 rows has 2"),
        (lambda: session.forward_layer(1, rows[0]), r"rows must be an array \[T, "),
        (lambda: session.forward_layer(1, rows[:, 1:]), r"rows must be an array \[T, "),
        (lambda: session.forward_layer(1, rows * np.nan), "there is nan in row 0, column 0"),
        (lambda: session.embed_tokens(tokens[:2]), "layer 1 of the step under way comes next"),
        (lambda: session.embed_tokens(tokens[:5]), "at most 4"),
        (lambda: session.compute_logits(np.zeros((5, rows.shape[1]))), "at most 4"),
        (lambda: session.truncate(1), "cannot truncate"),
    ]
    for call, why in refused:
        with pytest.raises(realm_ext.InvalidRequest, match=why):
            call()
    assert (session.length, session.next_layer) == (0, 1)
    with pytest.raises(realm_ext.InvalidRequest, match="max_tokens is 0"):
        realm_ext.LayerSession(model, max_tokens=0)
    with pytest.raises(realm_ext.InvalidRequest, match="gone"):
        realm_ext.LayerSession(model, "gone")


def test_a_raised_flag_ends_calls_and_leaves_the_session_where_it_was(model, tokens):
    from realm_ext._core import CancelFlag

    session = realm_ext.LayerSession(model)
    flag = CancelFlag()
    rows = session.embed_tokens(tokens, cancel=flag)
    flag.raise_()
    assert flag.is_raised
    for call in (
        lambda: session.embed_tokens(tokens, cancel=flag),
        lambda: session.forward_layer(0, rows, cancel=flag),
        lambda: session.compute_logits(rows, cancel=flag),
    ):
        with pytest.raises(realm_ext.RequestCancelled):
            call()
    assert session.next_layer == 0
    assert same_bits(by_layers(session, model, tokens, 7), model.logits(tokens))


def test_a_second_thread_is_refused_or_waits_for_nothing(model, tokens):
    session = realm_ext.LayerSession(model)
    rows = session.embed_tokens(tokens * 8)
    seen = []

    def hammer():
        for _ in range(50):
            try:
                session.compute_logits(rows)
            except realm_ext.InvalidRequest as error:
                seen.append(str(error))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("in use by another call" in text for text in seen)
    assert session.next_layer == 0


def test_a_tenants_session_is_within_its_quota_and_has_its_adapter(tokens):
    with realm_ext.Runtime() as runtime:
        runtime.load_model(realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")))
        runtime.load_lora_adapter("pirate", realm_ext.demo_path("adapter"), "demo")
        runtime.set_tenant_lora_adapter("acme", "pirate")
        quota = realm_ext.Quota(kv_blocks=4, tokens_per_minute=20)
        tenant = runtime.get_or_create("acme", "demo", quota)
        with pytest.raises(realm_ext.QuotaExceeded) as caught:
            tenant.layer_session(65)
        assert (caught.value.quota, caught.value.limit, caught.value.value) == ("kv_blocks", 4, 5)
        session = tenant.layer_session(48)
        with pytest.raises(realm_ext.QuotaExceeded, match="acme"):
            tenant.layer_session(32)  # besides the three blocks of the first
        model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
        model.load_adapter("pirate", realm_ext.demo_path("adapter"))
        expected = model.logits(tokens, "pirate", kv_dtype="f16")
        assert same_bits(by_layers(session, model, tokens, 4), expected)
        assert len(tokens) - 1 <= tenant.stats().tokens_last_minute <= len(tokens)
        with pytest.raises(realm_ext.QuotaExceeded) as caught:
            compute_forever(session, tokens[:4])
        assert caught.value.quota == "tokens_per_minute"
        assert tenant.stats().tokens_last_minute <= 20
        del session, caught  # whose traceback has it too
        tenant.layer_session(64)
        runtime.release("acme")
        with pytest.raises(realm_ext.InvalidRequest, match="released"):
            tenant.layer_session(16)
