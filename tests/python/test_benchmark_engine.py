"""The benchmark of the engine: every row is there, and what it compares is equal."""

import json
import subprocess
import sys

from support import ROOT


def test_every_row_is_measured_on_the_demo_model(tmp_path):
    out = tmp_path / "rows.json"
    script = ROOT / "benchmarks" / "engine.py"
    command = [
        sys.executable, script, "--rounds", "1", "--tokens", "12", "--streams", "20",
        "--cycles", "3", "--markdown", "--json", out,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in json.loads(out.read_text())}
    assert list(rows) == ["throughput", "prefix", "python", "heartbeat", "cycles"]
    assert all(f"| {name} | " in done.stdout for name in rows)
    throughput = rows["throughput"]
    assert throughput["together_tokens_per_s"] > throughput["alone_tokens_per_s"]
    assert rows["prefix"]["cached_tokens"] == rows["prefix"]["shared_tokens"]
    assert rows["prefix"]["ratio"] > 1
    assert 0 <= rows["python"]["share_outside_steps"] < 1
    heartbeat = rows["heartbeat"]
    assert 0.01 <= heartbeat["p50_s"] <= heartbeat["p99_s"] <= heartbeat["max_s"]
    assert (rows["cycles"]["descriptors"], rows["cycles"]["threads"]) == (0, 0)
