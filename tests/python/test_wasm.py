"""Guests in WebAssembly: what they compute is what the host computes, over both widths of memory."""

import gc
import struct
import threading
import weakref

import numpy as np
import pytest

import realm_ext
from closeness import same_bits
from realm_ext.wasm import ABI_VERSION, GuestError, Host, Limits
from realm_ext.wasm._abi import FUNCTIONS
from support import run_python
from wasm_guests import FUNCTIONS as DOCUMENTED
from wasm_guests import caller, example, module

PROMPT = "The capital of France is"
GREEDY = realm_ext.SamplingParams(temperature=0, max_tokens=12)


@pytest.fixture(scope="module")
def runtime():
    with realm_ext.Runtime() as runtime:
        runtime.load_model(realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")))
        runtime.load_lora_adapter("pirate", realm_ext.demo_path("adapter"), "demo")
        runtime.load_lora_adapter("secret", realm_ext.demo_path("adapter"), "demo")
        yield runtime


@pytest.fixture
def tenant(runtime):
    yield runtime.get_or_create("guest", "demo")
    runtime.release("guest")


@pytest.fixture
def host(runtime):
    with Host(runtime) as host:
        yield host


@pytest.fixture(params=[32, 64], ids=["wasm32", "memory64"])
def guest(host, tenant, request):
    return host.guest(caller(request.param), tenant, adapters=["pirate"])


class Caller:
    """The host's functions as a guest calls them, on Python values; statuses are asserted."""

    def __init__(self, guest):
        self.guest = guest
        self.size = 8 if guest._is_64 else 4

    def __call__(self, name, *arguments):
        status = self.guest.call(name, *arguments)
        assert status >= 0, f"{name}: {status}, {self.guest.last_error}"
        return status

    def count(self):
        return int.from_bytes(self.guest.read(0, self.size), "little")

    def info(self):
        assert self("model_info", 64, 28) == 28
        return struct.unpack("<IIIIIii", self.guest.read(64, 28))

    def encode(self, text):
        self.guest.write(1024, text.encode())
        self("encode_tokens", 1024, len(text.encode()), 1, 8192, 1000, 0)
        return np.frombuffer(self.guest.read(8192, 4 * self.count()), "<i4")

    def layers(self, ids, first=True):
        """The logits after ids, as one step."""
        n_layers, _, n_vocab, *_ = self.info()
        if first:
            self("session_open", 100)
        self.guest.write(8192, np.asarray(ids, "<i4").tobytes())
        self("embed_tokens", 8192, len(ids), 65536)
        for layer in range(n_layers):
            self("forward_layer", layer, 65536, len(ids))
        self("compute_logits", 65536, len(ids), 400000)
        values = np.frombuffer(self.guest.read(400000, 4 * len(ids) * n_vocab), "<f4")
        return values.reshape(len(ids), n_vocab)


def answer_of(guest, function, prompt=PROMPT, max_tokens=12):
    guest.write(guest.call("prompt"), prompt.encode())
    n = guest.call(function, len(prompt.encode()), max_tokens)
    assert n >= 0, f"{n}, {guest.last_error}"
    return guest.read(guest.call("answer"), n).decode()


def test_the_package_is_imported_only_when_asked_for():
    run_python("import sys, realm_ext; assert 'wasmtime' not in sys.modules")


def test_without_the_extra_the_error_says_what_to_install():
    run_python(
        "import sys; sys.modules['wasmtime'] = None\n"
        "import realm_ext\n"
        "try:\n"
        "    import realm_ext.wasm\n"
        "except ImportError as error:\n"
        "    assert isinstance(error, realm_ext.ExtraMissingError), error\n"
        "    assert \"pip install 'realm_ext[wasm]'\" in str(error), error\n"
        "else:\n"
        "    raise AssertionError('imported')\n"
    )


def test_the_functions_are_the_documented_ones(guest):
    assert FUNCTIONS == DOCUMENTED
    assert guest.call("abi_version") == ABI_VERSION == 1


@pytest.mark.parametrize("prompt", [PROMPT, "Once upon a time, " * 40])
@pytest.mark.parametrize(
    ("text", "function"),
    [("greedy.wat", "by_layers"), ("greedy.wat", "whole"), ("greedy64.wat", "by_layers")],
)
def test_an_example_guest_writes_what_the_host_writes(host, tenant, text, function, prompt):
    if text == "greedy64.wat" and len(prompt) > 100:
        prompt = prompt[:100]
    expected = tenant.generate(prompt, GREEDY).text
    assert expected
    assert answer_of(host.guest(example(text), tenant), function, prompt) == expected


def test_a_guest_ends_where_the_model_ends(host, tenant):
    many = GREEDY.replace(max_tokens=150)
    prompt = "Once upon a time there was"
    expected = tenant.generate(prompt, many)
    assert expected.finish_reason == "stop"
    guest = host.guest(example("greedy.wat"), tenant)
    assert answer_of(guest, "by_layers", prompt, 150) == expected.text
    assert answer_of(guest, "whole", prompt, 150) == expected.text


def test_text_goes_in_and_out_as_the_tokenizer_has_it(guest, tenant):
    call = Caller(guest)
    for text in (PROMPT, "", "ein größerer Baum 🌳"):
        ids = call.encode(text)
        assert ids.tolist() == tenant.tokenizer.encode(text)
        call("decode_tokens", 8192, len(ids), 16384, 1000, 0)
        decoded = guest.read(16384, call.count()).decode()
        assert decoded == tenant.tokenizer.decode(ids.tolist())
    ends = [one for one in range(call.info()[2]) if guest.call("token_ends", one) == 1]
    assert ends == sorted(tenant.tokenizer.vocab.end_tokens)


def test_what_does_not_fit_says_how_long_it_is_and_writes_nothing(guest, tenant):
    call = Caller(guest)
    guest.write(8192, b"\x55" * 64)
    guest.write(1024, PROMPT.encode())
    n = len(tenant.tokenizer.encode(PROMPT))
    for capacity in (0, n - 1):
        call("encode_tokens", 1024, len(PROMPT), 1, 8192, capacity, 0)
        assert call.count() == n
        assert guest.read(8192, 64) == b"\x55" * 64
    call("encode_tokens", 1024, len(PROMPT), 1, 8192, n, 0)
    assert guest.read(8192, 4) != b"\x55" * 4
    assert guest.read(8192 + 4 * n, 4) == b"\x55" * 4


def test_layers_in_a_guest_have_the_bits_of_the_model(guest, tenant):
    model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
    model.load_adapter("pirate", realm_ext.demo_path("adapter"))
    ids = tenant.tokenizer.encode(PROMPT)
    call = Caller(guest)
    assert same_bits(call.layers(ids), model.logits(ids, kv_dtype="f16"))
    guest.write(1024, b"pirate")
    call("set_lora_adapter", 0, 1024, 6)
    expected = model.logits(ids, "pirate", kv_dtype="f16")
    assert same_bits(call.layers(ids), expected)
    # The session keeps its adapter; a step after the first goes on where that ended.
    call("set_lora_adapter", 0, 0, 0)
    call("session_truncate", 2)
    assert guest.call("session_length") == 2
    assert same_bits(call.layers(ids[2:], first=False), expected[2:])
    assert same_bits(call.layers(ids), model.logits(ids, kv_dtype="f16"))


def test_sampling_options_are_json(guest, tenant):
    call = Caller(guest)
    ids = call.encode(PROMPT)
    options = b'{"temperature": 1.5, "seed": 7, "top_k": 0, "logit_bias": {"300": -5}}'
    guest.write(16384, options)
    call("generate", 8192, len(ids), 9, 16384, len(options), 32768, 9, 0)
    params = realm_ext.SamplingParams(
        temperature=1.5, seed=7, top_k=0, logit_bias={300: -5}, max_tokens=9
    )
    expected = tenant.generate(ids, params).tokens
    assert call.count() == len(expected)
    assert np.frombuffer(guest.read(32768, 4 * len(expected)), "<i4").tolist() == expected


def test_a_guest_stores_a_draft_where_it_may(host, runtime):
    draft = realm_ext.demo_path("draft.gguf").read_bytes()
    tenant = runtime.get_or_create("loader", "demo")
    pages = len(draft) // 65536 + 2
    refusing = host.guest(caller(pages=pages), tenant)
    refusing.write(65536, draft)
    assert refusing.call("store_draft_model", 65536, len(draft), 0) == -2
    assert "may not" in refusing.last_error
    refusing.close()
    guest = host.guest(caller(pages=pages), tenant, models=["demo", "later"], may_store_drafts=True)
    guest.write(65536, draft)
    assert guest.call("store_draft_model", 65536, len(draft), 0) == -2  # it has tenants
    assert guest.call("store_draft_model", 65536, len(draft) - 1, 1) == -3
    assert guest.call("store_draft_model", 65536, len(draft), 1) == 0, guest.last_error
    assert "later_draft" in runtime.list_models()
    runtime.load_model(realm_ext.ModelSpec("later", realm_ext.demo_path("target.gguf")))
    assert runtime.list_models()["later"].draft_id == "later_draft"
    runtime.unload_model("later")
    runtime.release("loader")


def test_errors_have_the_statuses_of_the_c_interface_and_a_text(host, runtime):
    quota = realm_ext.Quota(kv_blocks=2, max_tokens=5)
    tenant = runtime.get_or_create("small", "demo", quota)
    guest = host.guest(caller(), tenant)
    call = Caller(guest)
    ids = call.encode(PROMPT)
    assert guest.call("session_open", 33) == -7
    assert guest.call("generate", 8192, len(ids), 6, 0, 0, 16384, 6, 0) == -7
    text = guest.last_error
    assert "max_tokens allows 5" in text
    call("last_error", 20000, 1000, 0)
    assert guest.read(20000, call.count()).decode() == text
    call("session_open", 32)
    runtime.release("small")
    assert guest.call("generate", 8192, len(ids), 5, 0, 0, 16384, 5, 0) == -2
    assert "released" in guest.last_error


def test_what_a_guest_computes_counts_against_its_tenants_minute(host, runtime):
    tenant = runtime.get_or_create("counted", "demo", realm_ext.Quota(tokens_per_minute=30))
    guest = host.guest(example("greedy.wat"), tenant)
    first = answer_of(guest, "by_layers")
    assert first
    n = len(tenant.tokenizer.encode(PROMPT)) + 12
    assert n - 3 <= tenant.stats().tokens_last_minute <= n
    statuses = [guest.call("by_layers", len(PROMPT), 12) for _ in range(2)]
    assert statuses[-1] == -7
    assert "tokens_per_minute allows 30" in guest.last_error
    runtime.release("counted")


def test_many_guests_at_once_write_what_each_writes_alone(host, runtime):
    prompts = [f"{word} upon a time" for word in ("Once", "Twice", "Never", "Always")]
    tenants = [runtime.get_or_create(f"many-{i}", "demo") for i in range(4)]
    expected = [t.generate(p, GREEDY).text for t, p in zip(tenants, prompts, strict=True)]
    program = host.compile(example("greedy.wat"))
    guests = [host.guest(program, tenant) for tenant in tenants]
    answers = [None] * 4

    def run(i):
        for function in ("by_layers", "whole", "by_layers"):
            answers[i] = answer_of(guests[i], function, prompts[i])
            assert answers[i] == expected[i]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected
    for tenant in tenants:
        runtime.release(tenant.id)


def test_a_tenant_has_one_guest_at_a_time(host, tenant):
    guest = host.guest(module(""), tenant)
    with pytest.raises(realm_ext.InvalidRequest, match="has a guest already"):
        host.guest(module(""), tenant)
    guest.close()
    host.guest(module(""), tenant)


def trap(guest):
    """Traps the guest; what pytest.raises keeps of the error would keep the guest too."""
    try:
        guest.call("trap")
    except GuestError:
        return
    raise AssertionError("it goes on")


def test_guests_that_are_dropped_leave_nothing_behind(host, tenant):
    from wasmtime._func import FUNCTIONS as HELD

    program = host.compile(caller()[:-1] + '(func (export "trap") (unreachable)))')
    gc.collect()
    before = len(HELD.handles)
    for end in ("closed", "trapped", "dropped"):
        guest = host.guest(program, tenant)
        assert guest.call("session_open", 32) == 0
        if end == "closed":
            guest.close()
        elif end == "trapped":
            trap(guest)
        gone = weakref.ref(guest)
        del guest
        gc.collect()
        assert gone() is None, end
        assert len(HELD.handles) == before, end


def test_limits_that_make_no_sense_are_refused():
    for name in ("fuel", "timeout_ms", "memory_bytes", "failures"):
        for value in (0, -1, 1.5, 2**63):
            with pytest.raises(realm_ext.InvalidRequest, match=name):
                Limits(**{name: value})
