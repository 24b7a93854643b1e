"""Alerts on what a pipeline does: told once, grouped, silenced, resolved."""

from warren.analytics.alerts.receivers import Receiver, To
from warren.analytics.alerts.rules import Alert, Incident, Notification, Silence
from warren.analytics.alerts.watch import Alerts

__all__ = ["Alert", "Alerts", "Incident", "Notification", "Receiver", "Silence", "To"]
