"""A guest that means harm gets an error, its caller a reason, and its neighbours never notice."""

import _thread
import os
import random
import threading
import time

import pytest

import realm_ext
from realm_ext.wasm import GuestError, Host, Limits
from wasm_guests import FUNCTIONS, caller, example, module

PROMPT = "Once upon a time"
GREEDY = realm_ext.SamplingParams(temperature=0, max_tokens=24)

LOOP = '(func (export "run") (loop $l (br $l)))'
RECURSION = '(func $f (export "run") (call $f))'


@pytest.fixture(scope="module")
def runtime():
    with realm_ext.Runtime() as runtime:
        runtime.load_model(realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")))
        runtime.load_lora_adapter("secret", realm_ext.demo_path("adapter"), "demo")
        yield runtime


@pytest.fixture
def tenant(runtime):
    yield runtime.get_or_create("hostile", "demo")
    runtime.release("hostile")


@pytest.fixture
def neighbour(runtime):
    """A check that another tenant still has its tokens."""
    tenant = runtime.get_or_create("neighbour", "demo")
    expected = tenant.generate(PROMPT, GREEDY).tokens

    def check():
        assert tenant.generate(PROMPT, GREEDY).tokens == expected

    yield check
    check()


@pytest.fixture
def host(runtime):
    with Host(runtime, Limits(timeout_ms=20_000)) as host:
        yield host


def stopped(guest, *call):
    with pytest.raises(GuestError) as caught:
        guest.call(*call)
    assert guest.stopped == caught.value.reason
    with pytest.raises(realm_ext.InvalidRequest, match="is stopped"):
        guest.call(*call)
    return caught.value.reason


# ---- pointers and lengths


def interesting(bits, size):
    """Numbers at which checks go wrong."""
    top = 1 << bits
    return [
        0, 1, 3, 27, 28, 100, 4096, size - 4, size - 1, size, size + 1, size // 4, size // 4 + 1,
        top // 2 - 1, top // 2, top // 4, top // 4 + 1, top // 8, top - size, top - size + 1,
        top - 4, top - 1,
    ]  # fmt: skip


@pytest.mark.parametrize("bits", [32, 64])
def test_no_numbers_reach_beyond_the_guests_memory(host, tenant, neighbour, bits):
    limits = Limits(failures=10**6, timeout_ms=60_000, step_rows=16)
    guest = host.guest(caller(bits), tenant, limits=limits)
    size = 16 * 65536
    random_numbers = random.Random(bits)
    statuses = {name: set() for name in FUNCTIONS}
    for _ in range(1500):
        name = random_numbers.choice(list(FUNCTIONS))
        arguments = [
            random_numbers.choice(interesting(bits, size))
            if one == "p"
            else random_numbers.choice([0, 1, 2, -1, 7, 2**31 - 1, -(2**31)])
            for one in FUNCTIONS[name]
        ]
        statuses[name].add(guest.call(name.removeprefix("realm_"), *arguments))
    assert guest.stopped is None
    for name, seen in statuses.items():
        # What takes an address has been refused; no defect of the host's own showed.
        assert min(seen) >= -10, name
        assert -1 not in seen, name
        assert "p" not in FUNCTIONS[name] or -2 in seen, name


@pytest.mark.parametrize("bits", [32, 64])
def test_sums_and_products_do_not_wrap_around(host, tenant, bits):
    guest = host.guest(caller(bits), tenant)
    size, top = 16 * 65536, 1 << bits
    before = guest.read(0, size)
    assert guest.call("encode_tokens", 0, 4, 0, top // 4 * 3, top // 4 + 16, 0) == -2
    assert guest.call("encode_tokens", top - 4, 8, 0, 4096, 16, 0) == -2
    assert guest.call("last_error", top - 8, 16, 0) == -2
    assert guest.call("last_error", 0, 4, size - 3) == -2
    assert guest.call("decode_tokens", 16, top // 4 + 1, 4096, 16, 0) == -2
    assert guest.call("session_open", 64) == 0
    for n in (top // 64, top // 64 + 1, top // 2, top - 1):
        for name in ("embed_tokens", "compute_logits"):
            assert guest.call(name, 0, n, 4096) == -2
        assert guest.call("forward_layer", 0, 0, n) == -2
    assert guest.read(0, size) == before
    assert guest.call("session_length") == 0


def test_a_guest_without_a_memory_has_one_of_no_bytes(host, tenant):
    guest = host.guest(
        '(module (import "realm" "realm_model_info" (func $f (param i32 i32) (result i32)))'
        '(func (export "run") (param i32 i32) (result i32)'
        " (call $f (local.get 0) (local.get 1))))",
        tenant,
    )
    assert guest.call("run", 0, 0) == 28
    assert guest.call("run", 0, 1) == -2
    assert guest.call("run", 1, 0) == -2
    with pytest.raises(realm_ext.InvalidRequest, match="not in the guest's memory"):
        guest.read(0, 1)


# ---- ids and order


def test_what_a_guest_was_not_given_it_cannot_name(host, tenant, runtime, neighbour):
    guest = host.guest(caller(), tenant, adapters=["granted"])
    texts = []
    for name in (b"secret", b"no such", b"\xff\xfe", b"granted"):
        guest.write(1024, name)
        assert guest.call("set_lora_adapter", 0, 1024, len(name)) == -2
        texts.append(guest.last_error.replace(repr(name.decode(errors="replace")), "X"))
    assert len(set(texts)) == 1  # what is another's looks like what is not there
    for model in (1, -1, 2**31 - 1):
        assert guest.call("set_lora_adapter", model, 1024, 6) == -2
    assert guest.call("set_lora_adapter", 0, 0, 2000) == -2
    assert tenant.adapter_id is None


def test_layers_out_of_order_are_errors(host, tenant, neighbour):
    guest = host.guest(caller(), tenant)
    for name, *arguments in [
        ("session_length",),
        ("session_truncate", 0),
        ("embed_tokens", 0, 1, 4096),
        ("forward_layer", 0, 4096, 1),
        ("compute_logits", 4096, 1, 65536),
    ]:
        assert guest.call(name, *arguments) == -2
        assert "no session is open" in guest.last_error
    for n in (0, 10**6, 2**32 - 1):
        assert guest.call("session_open", n) == -2
    assert guest.call("session_open", 4) == 0
    assert guest.call("forward_layer", 1, 65536, 1) == -2
    assert guest.call("forward_layer", -1, 65536, 1) == -2
    assert guest.call("forward_layer", 0, 65536, 1) == 0
    assert guest.call("forward_layer", 1, 65536, 2) == -2
    assert guest.call("embed_tokens", 0, 1, 65536) == -2
    assert guest.call("session_truncate", 1) == -2
    assert guest.call("session_truncate", 0) == 0
    guest.write(65536, b"\xff" * 4)  # NaN
    assert guest.call("forward_layer", 0, 65536, 1) == -2
    guest.write(65536, b"\x00\x00\x00\x80" * 4096)
    assert guest.call("forward_layer", 0, 65536, 5) == -2


@pytest.mark.parametrize(
    "options",
    [
        b"{", b"[]", b"1", b'"text"', b"{}{}", b"[" * 60_000, b'{"max_tokens": "many"}',
        b'{"temperature": -1}', b'{"temperature": NaN}', b'{"logit_bias": 1}', b'{"no such": 1}',
        b'{"logit_bias": {"x": 1}}', b'{"logprobs": 1e999}', b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"stop": {"a": 1}}', b"\xff\xfe\x00", b'{"grammar": "x"}', b'{"self": 1}',
    ],
)  # fmt: skip
def test_options_that_are_none_are_refused(host, tenant, options):
    guest = host.guest(caller(), tenant)
    guest.write(65536, options)
    guest.write(8192, (5).to_bytes(4, "little"))
    assert guest.call("generate", 8192, 1, 4, 65536, len(options), 16384, 4, 0) == -2
    assert guest.stopped is None


def test_a_text_that_is_none_or_too_long_is_refused(host, tenant):
    guest = host.guest(caller(), tenant)
    guest.write(1024, b"ab\xffc")
    assert guest.call("encode_tokens", 1024, 4, 0, 8192, 10, 0) == -2
    assert "no UTF-8 at byte 2" in guest.last_error
    assert guest.call("encode_tokens", 0, 2**18 + 1, 0, 8192, 10, 0) == -2
    assert guest.call("decode_tokens", 0, 10**5, 8192, 10, 0) == -2
    guest.write(8192, b"\xff\xff\xff\x7f")
    assert guest.call("decode_tokens", 8192, 1, 16384, 10, 0) == -2


# ---- time, fuel, memory


def test_endless_loops_end_when_their_time_is_over(host, tenant, neighbour):
    guest = host.guest(module(LOOP), tenant, limits=Limits(timeout_ms=100, fuel=2**62))
    assert stopped(guest, "run") == "time"


def test_endless_loops_end_when_their_fuel_is_used_up(host, tenant):
    guest = host.guest(module(LOOP), tenant, limits=Limits(fuel=100_000))
    assert stopped(guest, "run") == "fuel"


def test_endless_recursion_ends(host, tenant, neighbour):
    assert stopped(host.guest(module(RECURSION), tenant), "run") == "stack"


def test_calls_of_the_host_and_bytes_cost_fuel(host, tenant):
    calls = '(func (export "run") (loop $l (drop (call $realm_abi_version)) (br $l)))'
    limits = Limits(fuel=5_000_000)
    guest = host.guest(module(calls, ["realm_abi_version"]), tenant, limits=limits)
    assert stopped(guest, "run") == "fuel"
    guest.close()
    bulk = host.guest(caller(), tenant, limits=Limits(fuel=20_000_000))
    assert bulk.call("encode_tokens", 0, 100_000, 0, 0, 0, 0) == 0
    assert stopped(bulk, "encode_tokens", 0, 2**18, 0, 0, 0, 0) == "fuel"


def test_a_guest_that_lives_on_errors_is_stopped(host, tenant):
    calls = '(func (export "run") (loop $l (drop (call $realm_session_length)) (br $l)))'
    guest = host.guest(module(calls, ["realm_session_length"]), tenant)
    assert stopped(guest, "run") == "failures"


def test_what_the_host_computes_for_a_guest_ends_with_its_time(host, tenant, neighbour):
    limits = Limits(timeout_ms=150)
    guest = host.guest(caller(), tenant, limits=limits)
    options = b'{"ignore_eos": true, "temperature": 0}'
    guest.write(1024, options)
    guest.write(8192, (5).to_bytes(4, "little"))
    hog = runtime_hog(tenant)
    try:
        n = 500
        assert stopped(guest, "generate", 8192, 1, n, 1024, len(options), 16384, n, 0) == "time"
    finally:
        for request in hog:
            request.cancel()


def runtime_hog(tenant):
    """Requests that keep the engine busy for much longer than a guest may wait."""
    params = realm_ext.SamplingParams(max_tokens=480, ignore_eos=True)
    return [tenant.submit(PROMPT, params) for _ in range(64)]


def test_memory_grows_to_its_limit_and_no_further(host, tenant):
    grow = '(func (export "run") (param i32) (result i32) (memory.grow (local.get 0)))'
    guest = host.guest(module(grow), tenant, limits=Limits(memory_bytes=3 * 65536))
    assert guest.call("run", 65535) == -1
    assert guest.call("run", 2) == 1
    assert guest.call("run", 1) == -1
    assert guest.call("run", -1) == -1
    guest.close()
    with pytest.raises(GuestError, match="memory"):
        host.guest('(module (memory (export "memory") 2000))', tenant)
    with pytest.raises(GuestError, match="table"):
        host.guest("(module (table 100000 funcref))", tenant)
    grow = '(func (export "run") (result i32) (table.grow (ref.null func) (i32.const 20000)))'
    guest = host.guest(f"(module (table 1 funcref) {grow})", tenant)
    assert guest.call("run") == -1


def test_a_start_function_has_the_same_limits(host, tenant):
    for body, reason in [("(loop $l (br $l))", "fuel"), ("(unreachable)", "trap")]:
        with pytest.raises(GuestError) as caught:
            host.guest(f"(module (func $s {body}) (start $s))", tenant, limits=Limits(fuel=100_000))
        assert caught.value.reason == reason
    host.guest(module(""), tenant)  # the tenant is free again


# ---- code


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no module"),
        ("(module", "no module"),
        (b"\0asm\1\0\0\0\xff", "no module"),
        (b"\xff" * 100, "no module"),
        ("(" * 100_000, "no module"),
        ('(module (import "wasi_snapshot_preview1" "fd_write" (func)))', "does not have"),
        ('(module (import "realm" "realm_no_such" (func)))', "does not have"),
        ('(module (import "realm" "realm_abi_version" (func)))', "another type"),
        ('(module (import "realm" "realm_session_open" (func (param i64) (result i32))))', "type"),
        ('(module (import "realm" "realm_abi_version" (global i32)))', "another type"),
        ('(module (memory (export "memory") 1 1 shared))', "no module"),
        ('(module (func (export "memory")))', "is no memory"),
        ('(module (memory 1) (memory 1))', "no module"),
        ("(component)", "no module"),
        # Types that the bindings cannot name, and would end the process over.
        ('(module (import "realm" "realm_session_open" (func (param v128) (result i32))))', "SIMD"),
        ('(module (func (export "f") (param v128)))', "SIMD"),
        ('(module (global (export "memory") v128 (v128.const i64x2 0 0)))', "SIMD"),
        ('(module (type $t (func)) (func (export "f") (param (ref null $t))))', "references"),
        ('(module (tag (export "memory")))', "exceptions"),
        ('(module (func (export "f") (result exnref) (ref.null exn)))', "exception"),
    ],
)  # fmt: skip
def test_code_that_a_host_cannot_run_is_refused(host, tenant, text, why):
    with pytest.raises(realm_ext.FormatError, match=why):
        host.guest(text, tenant)


def test_what_is_no_number_does_not_leave_a_guest(host, tenant):
    function = "(func $g) (elem declare func $g)"
    for kind, value in (("funcref", "(ref.func $g)"), ("externref", "(ref.null extern)")):
        text = f'(module {function} (func (export "f") (result {kind}) {value}))'
        with host.guest(text, tenant) as guest, pytest.raises(realm_ext.InvalidRequest) as refused:
            guest.call("f")
        assert "no number" in str(refused.value)


def test_code_that_is_too_large_or_nothing_is_refused(host, tenant):
    with pytest.raises(realm_ext.InvalidRequest, match="module_bytes is 1000"):
        host.guest(" " * 1001, tenant, limits=Limits(module_bytes=1000))
    with pytest.raises(realm_ext.InvalidRequest, match="str or bytes"):
        host.compile(None)


def test_calls_that_do_not_fit_are_refused_and_stop_nobody(host, tenant):
    body = '(func (export "add") (param i32 f32) (result i32) (local.get 0)) (global (export "g") i32 (i32.const 1))'
    guest = host.guest(module(body), tenant)
    for name, *arguments in [
        ("none",),
        ("g",),
        ("memory",),
        ("add", 1),
        ("add", 1, 2.0, 3),
        ("add", 1.5, 1.0),
        ("add", 2**32, 1.0),
        ("add", -(2**31) - 1, 1.0),
        ("add", "1", 1.0),
        ("add", 1, None),
    ]:
        with pytest.raises(realm_ext.InvalidRequest):
            guest.call(name, *arguments)
    assert guest.call("add", 2**32 - 1, 1) == -1
    assert guest.call("add", -(2**31), 1.5) == -(2**31)
    for ptr, n in [(-1, 1), (0, -1), (65536, 1), (0, 65537), (1.5, 1)]:
        with pytest.raises(realm_ext.InvalidRequest):
            guest.read(ptr, n)
    with pytest.raises(realm_ext.InvalidRequest):
        guest.write(65535, b"ab")


# ---- threads, signals, processes


def run_aside(guest, *call):
    """A thread in the guest, and what it got."""
    got = []

    def run():
        try:
            got.append(guest.call(*call))
        except realm_ext.RealmError as error:
            got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, got


def test_a_guest_that_runs_can_be_closed_and_is_nobody_elses(host, tenant):
    guest = host.guest(module(LOOP), tenant, limits=Limits(fuel=2**62))
    thread, got = run_aside(guest, "run")
    while not guest._busy.locked():
        time.sleep(0.001)
    with pytest.raises(realm_ext.InvalidRequest, match="in use"):
        guest.call("run")
    guest.close()
    thread.join(10)
    assert not thread.is_alive()
    assert "it was closed" in str(got[0])  # before it ran, or while


def test_closing_a_host_ends_all_its_guests(runtime):
    host = Host(runtime)
    tenants = [runtime.get_or_create(f"closing-{i}", "demo") for i in range(3)]
    guests = [host.guest(module(LOOP), one, limits=Limits(fuel=2**62)) for one in tenants]
    aside = [run_aside(guest, "run") for guest in guests]
    host.close()
    for thread, got in aside:
        thread.join(10)
        assert isinstance(got[0], realm_ext.RealmError)
    with pytest.raises(realm_ext.InvalidRequest, match="host is closed"):
        host.guest(module(""), tenants[0])
    for one in tenants:
        runtime.release(one.id)


def test_ctrl_c_ends_what_a_guest_waits_for(host, tenant, neighbour):
    guest = host.guest(caller(), tenant)
    options = b'{"ignore_eos": true}'
    guest.write(1024, options)
    guest.write(8192, (5).to_bytes(4, "little"))
    hog = runtime_hog(tenant)
    timer = threading.Timer(0.1, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            guest.call("generate", 8192, 1, 500, 1024, len(options), 16384, 500, 0)
    finally:
        for request in hog:
            request.cancel()
    assert guest.stopped is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_has_no_guest(host, tenant):
    guest = host.guest(module('(func (export "run"))'), tenant)
    pid = os.fork()
    if pid == 0:
        try:
            guest.call("run")
        except realm_ext.ProcessForkedError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    guest.call("run")


def test_errors_of_one_guest_are_not_anothers(host, runtime):
    tenants = [runtime.get_or_create(f"errors-{i}", "demo") for i in range(2)]
    good = host.guest(example("greedy.wat"), tenants[0])
    good.write(good.call("prompt"), PROMPT.encode())
    expected = good.call("by_layers", len(PROMPT), 12)
    bad = host.guest(caller(), tenants[1], limits=Limits(failures=10**6))
    done = threading.Event()

    def fail():
        while not done.is_set():
            assert bad.call("encode_tokens", 2**32 - 1, 5, 0, 0, 0, 0) == -2
            assert bad.call("session_open", 0) == -2

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        for _ in range(5):
            assert good.call("by_layers", len(PROMPT), 12) == expected
    finally:
        done.set()
        thread.join()
    assert good.last_error == ""
    for one in tenants:
        runtime.release(one.id)


def test_neighbours_of_hostile_guests_keep_their_tokens(host, runtime):
    hammer = (
        '(func (export "run") (drop (call $realm_session_open (i32.const 256)))'
        "(loop $l (drop (call $realm_forward_layer (i32.const 0) (i32.const 0) (i32.const 16)))"
        " (drop (call $realm_session_truncate (i32.const 0))) (br $l)))"
    )
    names = ["realm_session_open", "realm_forward_layer", "realm_session_truncate"]
    hammer = module(hammer, names).replace('"memory") 1', '"memory") 8')
    bodies = [hammer, hammer, module(LOOP), module(RECURSION)]
    tenants = [runtime.get_or_create(f"bad-{i}", "demo") for i in range(len(bodies))]
    victims = [runtime.get_or_create(f"victim-{i}", "demo") for i in range(4)]
    expected = [one.generate(PROMPT, GREEDY).tokens for one in victims]
    limits = Limits(fuel=2**62, timeout_ms=30_000)
    guests = [
        host.guest(body, one, limits=limits) for body, one in zip(bodies, tenants, strict=True)
    ]
    aside = [run_aside(guest, "run") for guest in guests]
    try:
        for _ in range(3):
            requests = [one.submit(PROMPT, GREEDY) for one in victims]
            assert [request.result().tokens for request in requests] == expected
        assert tenants[0].stats().rows_computed > 0  # it did compute meanwhile
    finally:
        for guest in guests:
            guest.close()
        for thread, _ in aside:
            thread.join()
    for one in tenants + victims:
        runtime.release(one.id)
