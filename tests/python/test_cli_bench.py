"""realm-ext bench: a model's speed beside the machine's ceilings."""

import json

import pytest

import realm_ext
from realm_ext.cli import main
from realm_ext.cli.bench import Row
from support import GOLDEN

SMALL = str(GOLDEN / "arch" / "llama" / "model-f32.gguf")
QUICK = ["--runs", "2", "--prompt", "16", "--generate", "4", "--threads", "1"]


def cli(capsys, *arguments):
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_bench_prints_speeds_beside_ceilings(capsys):
    status, out, err = cli(capsys, "bench", "-m", SMALL, *QUICK)
    assert (status, err) == (0, "")
    assert "1 thread\n" in out
    assert "read " in out
    assert "prompt of 16" in out
    assert "4 tokens after it" in out
    assert out.count("tokens/s") == 2
    assert out.count("ceiling\n") == 2


def test_bench_json_has_every_run_and_its_share(capsys):
    status, out, _ = cli(capsys, "bench", "-m", SMALL, *QUICK, "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["threads"] == 1
    assert facts["weight_bytes"] == sum(
        t.nbytes for t in realm_ext.GGUFFile(SMALL).tensors.values()
    )
    assert all(value > 0 for value in facts["ceilings"].values())
    prefill, decode = facts["rows"]
    for row in (prefill, decode):
        assert len(row["tokens_per_s"]) == 2
        assert min(row["tokens_per_s"]) <= row["median"] <= max(row["tokens_per_s"])
        assert row["share"] == row["median"] / row["most_tokens_per_s"]
    assert prefill["limit"] == "multiply"


def test_several_sequences_decode_together(capsys):
    status, out, _ = cli(capsys, "bench", *QUICK, "--sequences", "1,4", "--json")
    rows = json.loads(out)["rows"]
    assert (status, [row["n_sequences"] for row in rows]) == (0, [1, 1, 4])
    assert rows[2]["work"] == "4 tokens after it, 4 at once"
    assert rows[2]["median"] > rows[1]["median"]


def test_the_demo_model_and_a_prompt_that_fits_it_are_the_default(capsys):
    status, out, _ = cli(capsys, "bench", "--runs", "1", "--generate", "1", "--json")
    facts = json.loads(out)
    with realm_ext.Model(facts["file"]) as model:
        longest = min(512, model.config.n_ctx - 1)
    assert (status, facts["rows"][0]["work"]) == (0, f"prompt of {longest}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sequences", "0"], "sequences is '0'"),
        (["--sequences", "1,x\x1b"], "must be numbers from 1 to 256"),
        (["--sequences", "1,,2"], "sequences is '1,,2'"),
        (["--sequences", "257"], "sequences is '257'"),
        (["--runs", "0"], "runs is 0"),
        (["--generate", "-3"], "generate is -3"),
        (["--prompt", "0"], "prompt is 0"),
        (["--prompt", str(2**62)], "context of"),
        (["--threads", "0"], "threads is 0"),
    ],
)
def test_what_cannot_be_measured_is_wrong_usage(capsys, arguments, said):
    status, out, err = cli(capsys, "bench", "-m", SMALL, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert "\x1b" not in err


def test_a_share_is_of_the_most_there_could_be():
    row = Row("w", 1, [20.0, 10.0, 60.0], "read", 80.0)
    assert (row.median, row.share) == (20.0, 0.25)
