"""The simulation of routing: exact where it can be reckoned by hand, and the same for each seed."""

import json

import numpy as np
import pytest

from benchmarks.routing import main
from benchmarks.routing_model.plant import Message, Plant, Target, build, shared, simulate
from benchmarks.routing_model.rivals import RIVALS
from benchmarks.routing_model.trace import read, synthetic


def message(at, work=1.0, kind=0):
    return Message(at, work, kind, work)


def test_work_takes_as_long_as_the_speeds_it_meets_say():
    target = Target(1.0, 1, [0.0, 10.0, 20.0], [1.0, 0.5, 1.0])
    assert target.take(message(8.0, 3.0), 8.0) == (12.0, True)
    assert target.finish(message(9.0, 1.0), 9.0) == 9.0 + (1.0 + 1.0) + 1.0
    assert target.take(message(9.0, 5.0), 9.0) == (21.0, True)


def test_workers_of_a_target_share_its_queue():
    target = Target(2.0, 2, [0.0], [1.0])
    assert [target.take(message(0.0, 4.0), 0.0)[0] for _ in range(3)] == [2.0, 2.0, 4.0]


def test_what_fails_is_routed_again_until_it_goes_well():
    plant = Plant([Target(1.0, 1, [0.0], [1.0], [(0.0, 0.3)])], [message(0.0)])
    assert simulate(plant, [RIVALS["round robin"](plant, 0)]) == [pytest.approx(1.36)]
    assert plant.messages[0].tries == 3


def test_one_queue_gives_the_next_message_to_whoever_is_free():
    plant = Plant([Target(1.0, 1, [0.0], [1.0]), Target(0.5, 1, [0.0], [1.0])], [message(0.0) for _ in range(3)])
    assert sorted(shared(plant)) == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("name", RIVALS)
def test_every_policy_ends_every_message_and_the_same_way_for_a_seed(name):
    trace = synthetic(600, seed=1).part(0.5, 1.0, 10.0)
    runs = []
    for _ in range(2):
        plant = build(trace, 0.7, 3, fail=(20.0, 5.0), kinds=2)
        runs.append(simulate(plant, [RIVALS[name](plant, i) for i in range(2)]))
    assert runs[0] == runs[1] and len(runs[0]) == 300


def test_the_load_is_the_share_of_what_the_targets_can_do():
    trace = synthetic(600)
    plant = build(trace, 0.7, 3)
    able = sum(target.workers * target.capacity(float(trace.at[-1])) for target in plant.targets)
    assert sum(each.work for each in plant.messages) / able == pytest.approx(0.7)


def test_the_trace_is_read_and_one_that_is_not_there_is_named(tmp_path):
    lines = [
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:15:46.6805900,374,44",
        "2023-11-16 18:15:50.9951690,396,109",
    ]
    (tmp_path / "AzureLLMInferenceTrace_conv.csv").write_text("\n".join(lines))
    trace = read(tmp_path)
    assert trace.size.tolist() == [418.0, 505.0] and np.diff(trace.at) == pytest.approx([4.314579])
    with pytest.raises(SystemExit, match="or leave it out"):
        main(["--data", str(tmp_path / "nowhere")])


def test_it_runs_without_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["--quick", "--case", "usual", "--case", "failing", "--json", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())
    assert {row["case"] for row in rows} == {"usual 0.7", "usual 0.9", "failing 0.7", "failing 0.9"}
    assert "one shared queue" in capsys.readouterr().out
