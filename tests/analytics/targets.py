"""Targets in virtual time that serve one message after the other, for policies to choose from."""

import heapq
from collections import Counter


class Bench:
    """Each target takes ``seconds`` for a message, times ``factor``; those in ``failing`` answer with an error at once."""

    def __init__(self, seconds, noise=None):
        self.seconds = dict(seconds)
        self.failing = set()
        self.factor = lambda label, value: 1.0
        self.noise = noise
        self.now = 0.0
        self.free = dict.fromkeys(seconds, 0.0)
        self.depths = dict.fromkeys(seconds, 0)
        self.opened = None
        self.ends = []
        self.count = 0

    def run(self, policy, messages, every, read=None):
        """Send messages at equal distances; gives the share of each target."""
        if self.opened is not policy:
            policy.open(list(self.seconds), lambda: self.now)
            self.opened = policy
        sent, last = Counter(dict.fromkeys(self.seconds, 0)), self.now
        for _ in range(messages):
            at = self.now + every
            while self.ends and self.ends[0][0] <= at:
                self._end(policy)
            self.now = at
            if read is not None and at - last >= read:
                last = at
                for label, depth in self.depths.items():
                    policy.reading(label, depth, at)
            self._send(policy, sent)
        if self.ends and read is None:
            while self.ends:
                self._end(policy)
        return {label: count / messages for label, count in sent.items()}

    def _send(self, policy, sent):
        self.count += 1
        decision = policy.choose(self.count)
        label = decision.done
        sent[label] += 1
        self.depths[label] += 1
        if label in self.failing:
            end = self.now + 0.01
        else:
            took = self.seconds[label] * self.factor(label, self.count)
            if self.noise is not None:
                took *= self.noise.lognormvariate(0, 0.2)
            end = self.free[label] = max(self.now, self.free[label]) + took
        heapq.heappush(self.ends, (end, self.count, decision, self.now, label not in self.failing))

    def _end(self, policy):
        end, _, decision, since, well = heapq.heappop(self.ends)
        self.now = max(self.now, end)
        self.depths[decision.done] -= 1
        policy.ended(decision, end - since, well)
