"""One sequence, step by step, and the two commands made of it."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import realm_ext
from realm_ext import InferenceSession, SamplingParams

TARGET = realm_ext.demo_path("target.gguf")
PROMPT = "The capital of France is"
COMMAND = [sys.executable, "-m", "realm_ext"]


@pytest.fixture(scope="module")
def model():
    with realm_ext.Model(TARGET) as loaded:
        yield loaded


def answer(model, prompt=PROMPT, **params):
    session = InferenceSession(model, SamplingParams(**params))
    session.prefill(prompt)
    text = "".join(session.stream())
    return text, session


def test_the_demo_knows_its_facts(model):
    for country, capital in (("France", "Paris"), ("Germany", "Berlin"), ("Japan", "Tokyo")):
        text, _ = answer(model, f"The capital of {country} is", temperature=0, max_tokens=8)
        assert text.startswith(f" {capital}")


def test_greedy_steps_equal_whole_prompt_logits(model):
    session = InferenceSession(model, SamplingParams(temperature=0, max_tokens=12), kv_dtype="f32")
    session.prefill(PROMPT)
    while (token := session.next_token()) is not None:
        expected = model.logits(session.tokens[:-1], rows="last").argmax()
        assert token == expected
    assert session.state == "stopped"


def test_states_follow_the_answer(model):
    session = InferenceSession(model, SamplingParams(temperature=0, max_tokens=2))
    assert session.state == "ready"
    assert session.next_token() is None
    session.prefill(PROMPT)
    assert session.state == "generating"
    assert session.next_token() is not None
    assert session.next_token() is not None
    assert session.next_token() is None
    assert session.state == "stopped"
    session.reset()
    assert (session.state, session.tokens) == ("ready", [])


def test_an_end_of_generation_token_completes_and_is_not_given_out(model):
    ids = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True
    )
    text, session = answer(model, ids, temperature=0, max_tokens=60)
    assert "Paris" in text
    assert session.state == "complete"
    assert "<|" not in text


def test_a_stop_string_across_tokens_ends_the_text_before_it(model):
    whole, _ = answer(model, temperature=0, max_tokens=24)
    stop = whole[4:9]
    text, session = answer(model, temperature=0, max_tokens=24, stop=[stop])
    assert text == whole[: whole.index(stop)]
    assert session.state == "complete"


def test_the_same_seed_gives_the_same_tokens_on_any_thread_count(model):
    wild = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "max_tokens": 40, "ignore_eos": True}
    runs = []
    for threads in (1, 2, 3):
        with realm_ext.Model(TARGET, threads=threads) as other:
            _, session = answer(other, **wild, seed=7)
            runs.append(session.tokens)
    assert runs[0] == runs[1] == runs[2]
    _, session = answer(model, **wild, seed=8)
    assert session.tokens != runs[0]


def test_a_drawn_seed_reproduces_the_answer(model):
    text, session = answer(model, temperature=1.0, max_tokens=30)
    again, _ = answer(model, temperature=1.0, max_tokens=30, seed=session.seed)
    assert again == text


def test_logprobs_are_those_of_the_model(model):
    session = InferenceSession(model, SamplingParams(temperature=0, logprobs=3), kv_dtype="f32")
    session.prefill(PROMPT)
    token = session.next_token()
    row = model.logits(session.tokens[:-1], rows="last").astype(np.float64)
    law = row - np.log(np.exp(row - row.max()).sum()) - row.max()
    chosen, top = session.logprobs
    assert chosen == pytest.approx(law[token], abs=1e-4)
    assert [t for t, _ in top] == list(np.argsort(-law, kind="stable")[:3])


def test_a_second_turn_goes_on_where_the_first_ended(model):
    params = SamplingParams(temperature=0, max_tokens=4)
    two = InferenceSession(model, params, max_context=128)
    two.prefill(PROMPT)
    list(two.stream())
    two.prefill([5, 6, 7])
    list(two.stream())
    one = InferenceSession(model, params, max_context=128)
    one.prefill(two.tokens[:-4])
    list(one.stream())
    assert one.tokens == two.tokens


def test_nonsense_is_refused_by_name(model):
    session = InferenceSession(model)
    with pytest.raises(realm_ext.InvalidRequest, match="no tokens"):
        session.prefill([])
    with pytest.raises(realm_ext.InvalidRequest, match="prompt is empty"):
        session.prefill("")
    with pytest.raises(realm_ext.InvalidRequest, match=r"token id 99999"):
        session.prefill([99999])
    with pytest.raises(realm_ext.InvalidRequest, match="max_context"):
        InferenceSession(model, max_context=1 << 30)
    closed = realm_ext.Model(TARGET)
    closed.close()
    with pytest.raises(realm_ext.InvalidRequest, match="closed"):
        closed.logits([1])


def test_a_session_refuses_a_second_thread_and_lives_on(model):
    session = InferenceSession(model, SamplingParams(temperature=0), max_context=256)
    refusals = []

    def hammer():
        for _ in range(60):
            for call in (lambda: session.prefill([1, 2, 3]), session.next_token, session.reset):
                try:
                    call()
                except realm_ext.InvalidRequest as error:
                    refusals.append(str(error))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any("in use by another call" in text for text in refusals)
    session.reset()
    session.prefill(PROMPT)
    assert session.next_token() is not None


def test_a_fork_during_another_threads_computation_is_refused_at_once(model):
    worker = threading.Thread(target=lambda: [model.logits([1] * 200) for _ in range(10)])
    worker.start()
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        try:
            model.logits([1])
        except realm_ext.ProcessForkedError:
            os._exit(0)
        os._exit(1)
    deadline = time.monotonic() + 10
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    worker.join()
    assert os.waitstatus_to_exitcode(ended[1]) == 0


@pytest.mark.parametrize("work", ["model.logits([1] * 300)", "realm_ext.Model(sys.argv[1])"])
def test_the_interpreter_may_end_while_a_daemon_thread_computes(work):
    code = f"""
import sys, threading, time, realm_ext
model = realm_ext.Model(sys.argv[1], threads=2)
def run():
    while True:
        {work}
threading.Thread(target=run, daemon=True).start()
time.sleep(0.2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(TARGET)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_generate_writes_the_text_and_nothing_else():
    arguments = ["generate", PROMPT, "--temperature", "0", "--max-tokens", "8"]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(" Paris")
    assert done.stderr == ""


def test_generate_reads_a_prompt_from_stdin():
    arguments = ["generate", "-", "--temperature", "0", "--max-tokens", "8"]
    done = subprocess.run(
        [*COMMAND, *arguments], input=PROMPT + "\n", capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(" Paris")


def test_generate_refuses_a_file_that_is_no_model(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"no model")
    arguments = ["generate", "hello", "-m", str(tmp_path / "x.gguf")]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("realm-ext: error: ")
    assert done.stderr.count("\n") == 1


def test_chat_answers_each_line():
    lines = "What is the capital of France?\nWhat is 3 plus 4?\n/quit\nnever read\n"
    done = subprocess.run(
        [*COMMAND, "chat", "--temperature", "0"], input=lines, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "Paris" in first
    assert "7" in second


def test_ctrl_c_in_a_chat_stops_the_answer_and_not_the_program():
    leader, follower = pty.openpty()
    chat = subprocess.Popen(
        [*COMMAND, "chat", "--max-tokens", "400", "--temperature", "0"],
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    read_until(leader, b"> ")
    os.write(leader, b"Tell me a story about a bear.\n")
    read_until(leader, b"Once upon")
    os.kill(chat.pid, signal.SIGINT)
    read_until(leader, b"> ")
    os.write(leader, b"/quit\n")
    assert chat.wait(timeout=10) == 0
    os.close(leader)


def read_until(descriptor, mark, seconds=20):
    text, end = b"", time.monotonic() + seconds
    while not text.endswith(mark):
        assert time.monotonic() < end, text
        text += os.read(descriptor, 1)
    return text
