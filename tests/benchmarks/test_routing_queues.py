"""Policies of routing over real queues: everything is worked off, and each is shown."""

import json

from benchmarks import routing_queues


def test_every_policy_works_off_its_real_queues(vhost, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(routing_queues, "AHEAD", 2.0)
    monkeypatch.setenv("COLUMNS", "150")
    out = tmp_path / "out.json"
    arguments = ["--url", vhost, "--load", "0.5", "--seconds", "2", "--json", str(out)]
    assert routing_queues.main(arguments) == 0
    rows = {row["subject"]: row["value"] for row in json.loads(out.read_text())}
    assert len(rows) == 8 and rows["clairvoyant"] == 1.0 and all(value > 0.5 for value in rows.values())
    assert "load 0.5" in capsys.readouterr().out


def test_only_some_are_measured_beside_ours(vhost, tmp_path, monkeypatch):
    monkeypatch.setattr(routing_queues, "AHEAD", 2.0)
    out = tmp_path / "out.json"
    arguments = ["--url", vhost, "--load", "0.5", "--seconds", "1", "--json", str(out), "--policy", "one shared queue"]
    assert routing_queues.main(arguments) == 0
    subjects = [row["subject"] for row in json.loads(out.read_text())]
    assert subjects == ["one shared queue", "EarliestFinish", "clairvoyant", "EarliestFinish, simulated"]
