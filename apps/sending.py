"""What is sent of a report."""

from __future__ import annotations

from typing import Any

from warren.analytics.report.contents import Report
from warren.analytics.report.words import runs_out, state, verdict

__all__ = ["summary", "words"]


def summary(report: Report, within: float | None, link: str | None) -> dict[str, Any]:
    """What a webhook is told; ``alert`` says that a capacity runs out within so many seconds, the horizon by default."""
    out = [queue.pipeline for queue in report.runs_out(report.horizon if within is None else within)]
    text = f"Capacity runs out: {', '.join(out)}" if out else f"Capacity: enough for {len(report.queues)} queue(s)"
    problems = [f"{queue.pipeline}: {each}" for queue in report.queues for each in queue.problems]
    return {
        "text": text,
        "alert": bool(out),
        "made": report.made,
        "flows": report.flows,
        "link": link,
        "queues": [
            {
                "pipeline": queue.pipeline,
                "state": state(queue, report),
                "verdict": verdict(queue, report),
                "runs_out": runs_out(queue.headroom, report.made, report.zone),
                "at": queue.headroom.at if queue.headroom else None,
                "utilisation": queue.busy_utilisation,
                "bottleneck": queue.bottleneck.stage if queue.bottleneck and queue.bottleneck.limits else None,
            }
            for queue in report.queues
        ],
        "problems": [*report.problems, *problems],
    }


def words(told: dict[str, Any]) -> str:
    """The text of a mail with that summary."""
    lines = [f"{each['pipeline']}: {each['verdict']}" for each in told["queues"]]
    lines += [f"Note: {each}" for each in told["problems"]]
    if told["link"]:
        lines.append(told["link"])
    return "\n\n".join(lines) + "\n"
