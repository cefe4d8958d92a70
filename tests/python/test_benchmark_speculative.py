"""The benchmark of speculation: it compares equal answers, and its theory is the formula's."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import speculative
import synth


def run(*arguments):
    script = ROOT / "benchmarks" / "speculative.py"
    command = [sys.executable, script, "--rounds", "1", "--tokens", "24", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_demo_pair_fills_a_table(tmp_path):
    out = run("--demo", "--json", str(tmp_path / "rows.json"), "--k", "3")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["way"] for row in rows] == ["adaptive", "3"]
    assert all(row["ratio"] == row["speculated"] / row["plain"] for row in rows)
    assert rows[1]["tokens_per_verification"] > 1
    assert out.count("| target + draft |") == 2


def test_a_pair_made_to_agree_agrees_as_much(tmp_path):
    pair = tmp_path / "target.gguf", tmp_path / "draft.gguf"
    synth.write_model(pair[0], "tiny", "Q4_K_M", chain=7)
    synth.write_model(pair[1], "tiny", "Q4_K_M", seed=3, chain=7, agree=0.8)
    run(
        "--pair",
        *map(str, pair),
        "--json",
        str(tmp_path / "rows.json"),
        "--tokens",
        "200",
        "--k",
        "4",
    )
    rows = {row["way"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    # The adaptive row looks at the clock and may have stopped guessing; the fixed one is the same always.
    assert 0.5 < rows["4"]["acceptance"] < 0.97  # a chain of 512 tokens soon goes in circles


def test_theory_is_tokens_over_costs():
    def sample(step, draft):
        return SimpleNamespace(step_seconds=step, steps=10, draft_seconds=draft, drafted=40)

    plain, ours = [sample(10.0, 0.0)], [sample(12.0, 4.0)]
    tokens = 1 + 0.5 + 0.25 + 0.125 + 0.0625
    ratio = speculative.theoretical_ratio(0.5, 4, ours, plain)
    assert ratio == pytest.approx(tokens / (1.2 + 4 * 0.1))
    assert speculative.theoretical_ratio(1.0, 4, ours, plain) == pytest.approx(5 / 1.6)
