"""`retry`: try failed messages again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from warren.core.chunk import Chunk, Failure
from warren.core.clock import Duration, seconds
from warren.core.errors import GraphError, MessageError, RetryBudgetError, exception_types, shorten
from warren.core.graph import Operator, name_of
from warren.core.journal import Journal
from warren.core.receipt import Kind, Outcome
from warren.core.stage import FailureHandler, Handler, RxOperator, Stage, compile_operator
from warren.operators.backoff import Backoff
from warren.operators.budget import Account, Budget
from warren.operators.outcomes import Learning, Outcomes

__all__ = ["retry"]

T = TypeVar("T")
Kinds: TypeAlias = "type[Exception] | tuple[type[Exception], ...]"
# A checker would refuse a mapping of other than exactly these keys, such as one of type[OSError] alone.
Policy: TypeAlias = "Backoff | Mapping[Any, Backoff]"


def retry(
    backoff: Policy | None = None,
    *,
    on: Kinds = Exception,
    of: Mapping[Any, Policy] | None = None,
    park: Duration = "10s",
    budget: Budget | None = None,
) -> Operator[Any, Any]:
    """Try failed messages again, from the step that failed, after a delay that the policy gives.

    It takes the failures of every step between the previous `retry` (or the source) and itself whose exception is one of
    ``on``; what the policy gives up goes on as a failure, to the next `retry` or the dead letters. A `MessageError` (a
    message that cannot be decoded, was rejected, …) is tried again only if ``on`` names it.

    A mapping gives each type of exception its policy, and the first that fits counts, as with ``except``:
    ``retry({ConnectionError: exponential("200ms"), TimeoutError: constant("1s")})``. ``of`` does so for types of messages,
    by the value that the failed step was given: ``retry(exponential("1s"), of={Payment: constant("1m", attempts=20)})``. A
    type named there has that policy alone, be it one for the exceptions of ``on`` or a mapping; with ``attempts=1`` it is
    never tried again. A policy may also learn, as `warren.analytics.AdaptiveBackoff` does. Attempts are counted for each
    message, whatever it failed with. `budget` limits how many of all messages are tried again.

    A delay of up to ``park`` is held in the process; a longer one is parked with the source's broker, does not sit on a
    credit, and starts again from the source. Attempts of parked messages are counted durably.

    Keeps the delivery guarantee: a message is acknowledged only when a later attempt succeeds or it is dead-lettered.

    Raises `GraphError` where a policy is no function, or a type is none.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> from warren.operators import exponential, map
    >>> answers = iter([ConnectionError("busy"), "done"])
    >>> def ask(value: int) -> str:
    ...     answer = next(answers)
    ...     if isinstance(answer, Exception):
    ...         raise answer
    ...     return answer
    >>> flow = memory.items([]) | map(ask) | retry(exponential("200ms"), on=ConnectionError) | memory.into([])
    >>> Pipeline("asked", flow).test([1]).values
    ['done']
    """
    if backoff is None and not of:
        raise GraphError("retry(): give a policy such as exponential('200ms', attempts=5)")
    kinds = exception_types(on, "retry")
    if of is not None and not isinstance(of, Mapping):
        raise GraphError(f"retry(of={of!r}): give the policy of each type of message, such as {{Order: constant('1s')}}")
    if on is not Exception and not any(callable(each) for each in (backoff, *(of or {}).values())):
        raise GraphError(f"retry(on={on!r}): the mapping says which exceptions are tried again; leave on out")
    messages = [(_types(key), _rules(policy, kinds)) for key, policy in (of or {}).items()]
    if budget is not None and not isinstance(budget, Budget):
        raise GraphError(f"retry(budget={budget!r}): write budget=budget({budget if isinstance(budget, float) else 0.1})")
    rules = [] if backoff is None else _rules(backoff, kinds)
    return _Retry(rules, messages, seconds(park), budget)


class _Rule:
    """Which exceptions a policy is for."""

    def __init__(self, kinds: tuple[type[Exception], ...], backoff: Backoff) -> None:
        self.kinds = kinds
        self.backoff = backoff
        self.named = tuple(kind for kind in kinds if issubclass(kind, MessageError))

    def matches(self, error: Exception) -> bool:
        return isinstance(error, self.named if isinstance(error, MessageError) else self.kinds)


def _rules(policy: Any, kinds: tuple[type[Exception], ...]) -> list[_Rule]:
    given = policy if isinstance(policy, Mapping) else {kinds: policy}
    for each in given.values():
        if not callable(each):
            raise GraphError(f"retry({each!r}): give a policy such as exponential('200ms', attempts=5)")
    if not given:
        raise GraphError("retry({}): give a policy such as exponential('200ms', attempts=5)")
    return [_Rule(exception_types(on, "retry"), backoff) for on, backoff in given.items()]


def _types(key: Any) -> tuple[type, ...]:
    kinds = key if isinstance(key, tuple) else (key,)
    if not kinds or not all(isinstance(kind, type) for kind in kinds):
        raise GraphError(f"retry(of={{{shorten(key)}: ...}}): give a type of messages, or a tuple of them")
    return kinds


class _Retry(Operator[Any, Any]):
    passes = True
    account: Account | None = None
    outcomes: Outcomes | None = None

    def __init__(
        self,
        rules: list[_Rule],
        messages: list[tuple[tuple[type, ...], list[_Rule]]],
        park: float,
        budget: Budget | None,
    ) -> None:
        self.rules = rules
        self.messages = messages
        self.park = park
        self.budget = budget

    @property
    def backoffs(self) -> list[Backoff]:
        """All its policies."""
        return [rule.backoff for rules in (self.rules, *(rules for _, rules in self.messages)) for rule in rules]

    @property
    def name(self) -> str:
        return f"retry({', '.join(dict.fromkeys(map(name_of, self.backoffs)))})"

    @property
    def guarantee(self) -> str:
        return "acknowledged after a later attempt"

    def policy(self, failure: Failure) -> Backoff | None:
        """The policy of a failure that is one to try again."""
        if failure.redo is None:
            return None
        rules = next((rules for kinds, rules in self.messages if isinstance(failure.value, kinds)), self.rules)
        return next((rule.backoff for rule in rules if rule.matches(failure.error)), None)

    def compile(self, stage: Stage) -> RxOperator:
        mine = copy.copy(self)
        if self.budget is not None:
            mine.account = Account(self.budget, stage.run.clock)
        if learning := dict.fromkeys(each for each in self.backoffs if isinstance(each, Learning)):
            stage.learned("retry", learning)
            mine.outcomes = Outcomes(learning, stage.run.clock, Journal(stage, learning), stage.ledger)
        return compile_operator(mine, stage)

    def attach(self, stage: Stage) -> Handler:
        ledger, account, outcomes = stage.ledger, self.account, self.outcomes
        early = None if outcomes is None else outcomes.early

        def succeeded(chunk: Chunk) -> Chunk:
            if account is not None and chunk.attempt == 1:
                account.came(len(chunk.values))
            resumed = ledger.resume(chunk.tokens, early)
            if outcomes is not None:
                outcomes.succeeded(chunk, resumed)
            chunk.attempt = 1
            return chunk

        return succeeded

    def attach_failures(self, stage: Stage) -> FailureHandler:
        """Start taking failures; returns those that go on."""
        ledger, account, outcomes = stage.ledger, self.account, self.outcomes
        early = None if outcomes is None else outcomes.early

        def take(failures: Sequence[Failure]) -> Sequence[Failure]:
            passed = []
            if account is not None:
                account.came(sum(failure.attempt == 1 for failure in failures))
            if outcomes is not None:
                outcomes.failed(failures)
            for failure in failures:
                delay = self.delay(stage, failure)
                if delay is not None and account is not None and not account.spend():
                    failure, delay = _unpaid(stage, failure, account), None
                if delay is None:
                    if outcomes is not None:
                        outcomes.forget(failure.token)
                    ledger.resume((failure.token,))
                    passed.append(failure)
                elif delay > self.park:
                    if outcomes is not None:
                        outcomes.parked(failure.token)
                    ledger.settle((failure.token,), Outcome(Kind.PARKED, self.name, failure, delay))
                else:
                    ledger.wait(failure.token, early)
                    ledger.count_retry(failure.token)
                    stage.later(delay, _again(failure), busy=True)
            return passed

        return take

    def delay(self, stage: Stage, failure: Failure) -> float | None:
        """Seconds until the next attempt, counting those before the message was last parked; ``None`` to give up."""
        backoff = self.policy(failure)
        if backoff is None:
            return None
        origin = next(stage.ledger.origins(failure.token))
        delivery = stage.ledger.delivery(origin)
        parked = delivery.durable_attempt(origin) - 1 if delivery is not None else 0
        attempts = parked + failure.attempt
        if self.outcomes is not None and (learning := self.outcomes.policies.get(backoff)) is not None:
            return self.outcomes.wait(learning, failure, attempts)
        return backoff(attempts)


def _unpaid(stage: Stage, failure: Failure, account: Account) -> Failure:
    error = RetryBudgetError(
        f"{stage}: not tried again, as the retry budget is spent: of {account.messages} message(s) in the last "
        f"{account.budget.window:g} s, {account.retries} were tried again; it failed with {shorten(failure.error)}"
    )
    error.__cause__ = failure.error
    return Failure(failure.token, failure.value, error, failure.stage, failure.attempt, failure.redo)


def _again(failure: Failure) -> Callable[[], None]:
    def again() -> None:
        assert failure.redo is not None
        failure.redo(Chunk([failure.value], (failure.token,), (), failure.attempt + 1))

    return again
