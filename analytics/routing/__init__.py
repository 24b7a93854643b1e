"""Policies that choose among equivalent targets, and learn from what became of the messages."""

from warren.analytics.routing.earliest import EarliestFinish

__all__ = ["EarliestFinish"]
