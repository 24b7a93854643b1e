import logging

import pytest

from warren.core.errors import GraphError
from warren.core.policies import Guard, Proposal, mode_of


def proposal(choice, reason="because"):
    return lambda: Proposal(choice, 0.5, reason, {"depth": 3})


def broken():
    raise RuntimeError("no model")


def guard(mode="act"):
    return Guard("prefetch", mode, lambda credit: 1 <= credit <= 500)


def test_in_the_shadow_the_static_choice_is_done_and_the_other_recorded():
    decision = guard("shadow")(1, 5.0, 100, proposal(200))
    assert (decision.choice, decision.static, decision.done, decision.propensity) == (200, 100, 100, 0.5)
    assert (decision.at, decision.number, decision.mode, decision.reason) == (5.0, 1, "shadow", "because")
    assert decision.inputs == {"depth": 3} and decision.success is None


def test_in_act_what_was_chosen_is_done():
    assert guard()(1, 0.0, 100, proposal(200)).done == 200


@pytest.mark.parametrize("choice", [0, 501, float("nan"), "many", None])
def test_what_is_out_of_bounds_is_not_done(choice):
    safe = guard()
    decision = safe(1, 0.0, 100, proposal(choice))
    assert decision.done == decision.choice == 100 and decision.propensity == 1.0 and safe.errors == 1


def test_an_error_falls_back_and_is_logged_once(caplog):
    safe = guard()
    with caplog.at_level(logging.ERROR):
        assert [safe(i, 0.0, 100, broken).done for i in range(3)] == [100] * 3
    assert safe.errors == 3 and len(caplog.records) == 1
    assert caplog.messages == ["prefetch: the static setting is used, as the model failed: RuntimeError('no model')"]
    assert safe(4, 0.0, 100, broken).reason == "RuntimeError: no model"
    assert safe(5, 0.0, 100, proposal(7)).done == 7


def test_other_modes_are_refused():
    assert mode_of("act", "x") == "act"
    with pytest.raises(GraphError, match="begin with 'shadow'"):
        mode_of("live", "EarliestFinish")
