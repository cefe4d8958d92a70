"""What engines are to the process they live in: event loops, Ctrl-C, fork, exit, resources."""

import asyncio
import gc
import os
import signal
import threading
import time
import weakref

import pytest

import realm_ext
from realm_ext import Engine, SamplingParams
from support import run_python

TARGET = realm_ext.demo_path("target.gguf")
PROMPT = "The opposite of hot is"
GREEDY = SamplingParams(temperature=0, max_tokens=16)
LONG = SamplingParams(max_tokens=400, ignore_eos=True, seed=1)


@pytest.fixture(scope="module")
def model():
    with realm_ext.Model(TARGET, threads=1) as loaded:
        yield loaded


@pytest.fixture
def engine(model):
    with Engine(model) as made:
        yield made


async def collect(engine, prompt, params):
    return "".join([chunk.text async for chunk in engine.astream(prompt, params)])


async def beats(pauses):
    """Appends how much later than asked each sleep of 10 ms ended."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.01)
        pauses.append(time.perf_counter() - started - 0.01)


def test_two_hundred_streams_on_one_loop_leave_it_responsive(engine):
    expected = engine.generate(PROMPT, GREEDY).text
    pauses = []

    async def main():
        heart = asyncio.create_task(beats(pauses))
        params = [SamplingParams(temperature=0, max_tokens=16) for _ in range(200)]
        answers = await asyncio.gather(*[collect(engine, PROMPT, p) for p in params])
        heart.cancel()
        return answers

    assert asyncio.run(main()) == [expected] * 200
    pauses.sort()
    assert pauses[int(0.99 * (len(pauses) - 1))] < 0.03, pauses[-5:]


def test_cancelling_a_task_cancels_its_request(engine):
    async def main():
        task = asyncio.create_task(engine.agenerate(PROMPT, LONG))
        while engine.stats().running == 0:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while engine.stats().active_requests:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert engine.stats().cancelled == 1


def test_a_stream_that_was_never_read_leaves_no_request_and_no_descriptor(engine):
    async def main():
        loop = asyncio.get_running_loop()
        before = len(loop._selector.get_map())
        stream = engine.astream(PROMPT, LONG)
        assert len(loop._selector.get_map()) == before + 1
        del stream
        while engine.stats().active_requests or len(loop._selector.get_map()) > before:
            await asyncio.sleep(0.001)
        with pytest.raises(realm_ext.InvalidRequest):
            engine.astream([99999])
        assert len(loop._selector.get_map()) == before

    asyncio.run(asyncio.wait_for(main(), 10))
    assert engine.stats().cancelled == 1


def test_loops_that_have_ended_leave_nothing_behind(engine):
    kept = []

    async def leave_a_stream():
        kept.append(engine.astream(PROMPT, GREEDY))

    async def ask_wrongly():
        with pytest.raises(realm_ext.InvalidRequest):
            await engine.agenerate(PROMPT, deadline_ms=-1)

    async def ask():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await engine.agenerate(PROMPT, GREEDY)

    loops = []
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        for task in (leave_a_stream, ask_wrongly, ask):
            asyncio.run(task())
        kept.clear()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert [loop() for loop in loops] == [None] * 10


@pytest.mark.parametrize("ms", [2, 16, 32])
def test_a_drafter_that_wakes_while_the_process_ends_does_no_harm(ms):
    run_python(
        """
import os, sys, time, realm_ext
end = time.perf_counter() + 0.4
def slow(tokens, n):
    time.sleep(end - time.perf_counter())
    return [1]
config = realm_ext.SpeculativeConfig(drafter=slow, draft_timeout_ms=100)
with realm_ext.Engine(realm_ext.Model(sys.argv[1], threads=1), speculative=config) as engine:
    engine.generate([1, 2, 3], realm_ext.SamplingParams(max_tokens=8))
time.sleep(max(0, end - time.perf_counter() - float(os.environ["MS"]) / 1000))
""",
        MS=str(ms),
    )


def test_an_asynchronous_answer_is_the_answer(engine):
    async def main():
        return await asyncio.gather(
            engine.agenerate(PROMPT, GREEDY),
            engine.agenerate(messages=[{"role": "user", "content": "Who are you?"}], params=GREEDY),
        )

    first, second = asyncio.run(main())
    assert first.text == engine.generate(PROMPT, GREEDY).text
    assert second.text.startswith("I am")


def test_a_refusal_is_raised_where_it_was_awaited(engine):
    async def main():
        with pytest.raises(realm_ext.InvalidRequest):
            await engine.agenerate("")
        with pytest.raises(realm_ext.InvalidRequest):
            async for _ in engine.astream([99999]):
                pass

    asyncio.run(main())


def test_loops_of_several_threads_share_an_engine(engine):
    expected = engine.generate(PROMPT, GREEDY).text
    answers = []

    def serve():
        async def main():
            return await asyncio.gather(*[collect(engine, PROMPT, GREEDY) for _ in range(8)])

        answers.extend(asyncio.run(main()))

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 32


def seconds_to_interrupt(engine):
    """From Ctrl-C in `generate` to its end."""
    main_thread, sent = threading.main_thread().ident, []
    wanted = engine.stats().total_requests + 8

    def interrupt():
        while engine.stats().total_requests < wanted:
            time.sleep(0.001)
        time.sleep(0.005)  # it waits now
        sent.append(time.monotonic())
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        engine.generate([PROMPT] * 8, LONG)
    seconds = time.monotonic() - sent[0]
    thread.join()
    deadline = time.monotonic() + 5
    while engine.stats().active_requests:
        assert time.monotonic() < deadline
    return seconds


def test_ctrl_c_ends_generate_within_a_tenth_of_a_second_and_its_requests(engine):
    # Where other programs hold the processors, one try may wait for them.
    assert min(seconds_to_interrupt(engine) for _ in range(3)) < 0.1
    assert engine.stats().cancelled == 24


def test_a_forked_child_is_told_and_exits_normally():
    run_python(
        """
import os, signal, sys, time, realm_ext
engine = realm_ext.Engine(realm_ext.Model(sys.argv[1]))
running = engine.submit("Once", realm_ext.SamplingParams(max_tokens=300, ignore_eos=True))
child = os.fork()
if child == 0:
    signal.alarm(20)
    started = time.monotonic()
    for use in (lambda: engine.generate("x"), engine.stats, running.result,
                lambda: engine.submit("x"), running.snapshot):
        try:
            use()
        except realm_ext.ProcessForkedError:
            pass
        else:
            os._exit(3)
    if time.monotonic() - started > 1:
        os._exit(4)
    engine.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert running.result().finish_reason == "length"
"""
    )


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "sys.exit(0)", "engine.me = engine"])
def test_a_process_ends_cleanly_with_requests_running(end):
    run_python(
        f"""
import sys, realm_ext
engine = realm_ext.Engine(realm_ext.Model(sys.argv[1]))
requests = [engine.submit("Once", realm_ext.SamplingParams(ignore_eos=True)) for _ in range(8)]
stream = engine.stream("Once")
next(stream)
{end}
"""
    )


def test_making_and_closing_engines_leaks_nothing(model):
    def cycle():
        with Engine(model, max_sequences=4, kv_bytes=1 << 20) as engine:
            engine.generate(PROMPT, GREEDY)
            asyncio.run(collect(engine, PROMPT, GREEDY))

    def in_use():
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return (
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(os.listdir("/proc/self/fd")),
            (len(os.listdir("/proc/self/task"))),
        )

    for _ in range(20):
        cycle()
    rss, descriptors, threads = in_use()
    for _ in range(100):
        cycle()
    rss_after, descriptors_after, threads_after = in_use()
    assert (descriptors_after, threads_after) == (descriptors, threads)
    assert rss_after - rss < 4 << 20


def test_an_idle_engine_uses_no_processor(engine):
    engine.generate(PROMPT, GREEDY)
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02
