"""Rules and alarms that act on a running pipeline, within bounds, and say why."""

from warren.analytics.remedies.actions import Action, change, open_circuit, page, pause, resume, scale, shift
from warren.analytics.remedies.conditions import Condition, Rule, beyond, unusual
from warren.analytics.remedies.figures import Figures
from warren.analytics.remedies.rules import Remedy
from warren.analytics.remedies.watch import Remedies

__all__ = [
    "Action",
    "Condition",
    "Figures",
    "Remedies",
    "Remedy",
    "Rule",
    "beyond",
    "change",
    "open_circuit",
    "page",
    "pause",
    "resume",
    "scale",
    "shift",
    "unusual",
]
