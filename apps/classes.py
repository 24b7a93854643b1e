"""Classes of errors, for ``warren dlq``: what the letters of a queue failed with, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from warren.core.admin import ERROR
from warren.core.errors import GraphError

__all__ = ["classified", "counted"]

_TODO = {
    "transient": "replay them",
    "overload": "replay them slowly, with --rate",
    "permanent": "put right what they need, then replay them",
    "poison": "mend them or the step that refuses them",
}


def classified(letters: Sequence[Mapping[str, str]], flows: Path | None = None) -> list[dict[str, Any]]:
    """The class of each letter, given by its headers: one dict for each class, and an empty one for what is no letter.

    How retries of each class did is known of the letters themselves, and, with ``flows``, of what was recorded there.
    """
    real = [each for each in letters if ERROR in each]
    try:
        found = iter(_grouped(real, flows))
    except ImportError:
        found = iter(_by_fingerprint(real))
    return [next(found) if ERROR in each else {"class": None, "kind": None, "suggestion": None} for each in letters]


def counted(letters: Sequence[Mapping[str, str]], flows: Path | None = None) -> list[dict[str, Any]]:
    """The classes that letters are in, with how many there are of each, the most first."""
    rows = classified(letters, flows)
    first = {id(row): row for row in rows if row["class"] is not None}
    counts = Counter(id(row) for row in rows)
    most = sorted(first.items(), key=lambda each: -counts[each[0]])
    return [{"class": row["class"], "kind": row["kind"], "count": counts[key], **row} for key, row in most]


def _grouped(letters: Sequence[Mapping[str, str]], flows: Path | None) -> list[dict[str, Any]]:
    from warren.analytics import ErrorClasses, Flows

    recorded = None if flows is None else Flows(flows)

    def group(alike: float | None) -> list[dict[str, Any]]:
        classes = ErrorClasses(alike)
        classes.add_letters(letters)
        if recorded is not None:
            classes.add_flows(recorded)
            classes.add_decisions(recorded)
        rows = [
            {
                "class": row["name"],
                "kind": row["suggestion"],
                "retried": row["retried"],
                "recovered": row["recovered"],
                "curve": classes.curve(place).to_dicts(),
                "suggestion": _TODO[row["suggestion"]],
                "reason": row["reason"],
                "example": row["example"],
            }
            for place, row in enumerate(classes.table().iter_rows(named=True))
        ]
        places = classes.labels((each[ERROR], each.get("warren-reason", "")) for each in letters)
        return [rows[place] for place in places if place is not None]

    try:
        return group(0.5)
    except GraphError:
        # Without scikit-learn those are one class that are the same but for numbers, names and ids.
        return group(None)


def _by_fingerprint(letters: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    found = []
    for each in letters:
        kind = each[ERROR], each.get("warren-fingerprint", "")
        example = f"{kind[0]}: {each.get('warren-reason', '')}"
        row: dict[str, Any] = {"class": " ".join(kind), "kind": None, "curve": [], "suggestion": None, "example": example}
        found.append(rows.setdefault(kind, row))
    return found
