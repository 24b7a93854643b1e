"""`ErrorClasses`: failures that are alike, how they recover, and what to do about them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import floor, isfinite, log2
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from warren.analytics.flows import Flows
from warren.analytics.masking import masked
from warren.core.errors import GraphError

__all__ = ["ErrorClasses", "Suggestion"]

Suggestion: TypeAlias = Literal["transient", "overload", "permanent", "poison"]

_WORDS: dict[Suggestion, re.Pattern[str]] = {
    "overload": re.compile(
        r"\b(429|529)\b|too many|rate.?limit|throttl|overload|quota|exhausted|queue.{0,9}full|back.?pressure|slow ?down"
        r"|at capacity|pool.{0,9}(limit|timeout)|circuitopen|retrybudget|server is busy",
        re.IGNORECASE,
    ),
    "transient": re.compile(
        r"time.?d? ?out|deadline|refused|reset|unreachable|unavailable|temporar|deadlock|lock wait|serializ|conflict"
        r"|broken pipe|connection.{0,20}(closed|lost|aborted)|resolution|\b(502|503|504)\b|not (the )?leader|failover"
        r"|try again|connectionerror",
        re.IGNORECASE,
    ),
    "permanent": re.compile(
        r"denied|forbidden|unauthori[sz]ed|\b(401|403|404|405|410)\b|not found|does not exist|no such|credential|expired"
        r"|certificate|not supported|disabled|password|permission|filenotfound|importerror|modulenotfound",
        re.IGNORECASE,
    ),
    "poison": re.compile(
        r"decode|invalid|malformed|parse|schema|validation|required|missing|unexpected|out of range|constraint|duplicate key"
        r"|valueerror|typeerror|keyerror|indexerror|attributeerror|zerodivision|unicode|poison"
        r"|encodeerror|handlererror|\b(400|422)\b",
        re.IGNORECASE,
    ),
}
_ORDER: tuple[Suggestion, ...] = ("overload", "transient", "permanent", "poison")
_LIKELY, _UNLIKELY, _KNOWN = 0.6, 0.05, 4.0
_HOPE = 0.25
_MOST = 3000
_SAME_PLACE = 0.1


@dataclass
class _Template:
    """Failures with one type, masked text, stage and fingerprint."""

    type: str
    text: str
    stage: str
    fingerprint: str
    example: str
    messages: int = 0
    tries: int = 0
    good: int = 0
    first: float = float("inf")
    last: float = float("-inf")
    delays: Counter[tuple[int, bool]] = field(default_factory=Counter)

    @property
    def words(self) -> str:
        return f"{self.type} {self.text}".strip()


class ErrorClasses:
    """Groups failures by what they say, and tells of each group how it recovers and what to do about it.

    Failures with the same type, place and text, but for numbers, ids, hosts and the like, are one template. Templates are
    grouped by how alike their words are (TF-IDF of character n-grams, average linkage); those from one place in the code
    count as a little closer. What has no text, as in recorded flows, belongs to the class with the same fingerprint.

    A class is *transient* (try again), *overload* (try again, and slower), *permanent* (nothing helps until somebody acts)
    or *poison* (the message itself is bad). Words make the first guess, which counts as four attempts; what became of
    retries decides with it.

    - ``alike``: from which similarity on, 0 to 1, groups are one; with ``None`` each template is a class

    Grouping takes the 3,000 most frequent templates; others stay by themselves. Needs ``warren[ml]``, but for ``None``.
    Raises `GraphError` where ``alike`` is no such number, or scikit-learn is missing.

    >>> classes = ErrorClasses()
    >>> for i in range(5):
    ...     classes.add("TimeoutError", f"no answer from 10.0.0.{i} in {i} s", retried=2, recovered=True)
    ...     classes.add("ValueError", f"order {i} has no customer", retried=2, recovered=False)
    >>> classes.table().select("messages", "suggestion", "example").rows()
    [(5, 'transient', 'TimeoutError: no answer from 10.0.0.0 in 0 s'), (5, 'poison', 'ValueError: order 0 has no customer')]
    """

    def __init__(self, alike: float | None = 0.5) -> None:
        if alike is not None and not 0 < alike < 1:
            raise GraphError(f"ErrorClasses(alike={alike}): a similarity is above 0 and below 1, such as 0.5")
        self.alike = alike
        self._templates: dict[tuple[str, str, str, str], _Template] = {}
        self._grouped: list[list[_Template]] | None = None

    def add(
        self,
        type: str,
        text: str = "",
        *,
        stage: str = "",
        fingerprint: str = "",
        at: float | None = None,
        retried: int = 0,
        recovered: bool = False,
        delay: float | None = None,
        messages: int = 1,
    ) -> None:
        """Take in a failure: how often it was tried again, whether that helped, and after how many seconds."""
        key = (type, masked(text), stage, fingerprint)
        found = self._template(key, text)
        found.messages += messages
        found.tries += messages * max(0, retried)
        found.good += messages * (recovered and retried > 0)
        if at is not None and isfinite(at):
            found.first, found.last = min(found.first, at), max(found.last, at)
        if delay is not None and isfinite(delay) and delay >= 0 and retried:
            found.delays[floor(log2(max(delay, 1e-3))), recovered] += messages

    def _template(self, key: tuple[str, str, str, str], text: str) -> _Template:
        found = self._templates.get(key)
        if found is None:
            found = self._templates[key] = _Template(*key, example=f"{key[0]}: {text}" if text else key[0])
            self._grouped = None
        return found

    def add_letters(self, letters: Iterable[Mapping[str, str]]) -> None:
        """Take in dead letters, by their headers."""
        for headers in letters:
            try:
                retried, at = int(headers.get("warren-attempts", "1")) - 1, float(headers.get("warren-last-failed", "nan"))
            except ValueError:
                retried, at = 0, float("nan")
            self.add(
                headers.get("warren-error", ""),
                headers.get("warren-reason", ""),
                stage=headers.get("warren-stage", ""),
                fingerprint=headers.get("warren-fingerprint", ""),
                at=at,
                retried=retried,
            )

    def add_flows(self, flows: Flows) -> None:
        """Take in recorded trips: dead letters, and parked messages with the trip that followed, which their trace tells."""
        trip = ["pipeline", "source", "trace"]
        words = ["outcome", "error", "fingerprint", "stage"]
        trips = (
            flows.trips.select(*trip, *words, "attempts", "received", "settled")
            .with_columns(pl.col("source", *words).cast(pl.String))
            .sort("settled")
        )
        following = [pl.col(name).shift(-1).over(trip).alias(f"next_{name}") for name in ("outcome", "received")]
        traced = trips.filter(pl.col("trace").is_not_null()).with_columns(following)
        single = trips.filter(pl.col("trace").is_null()).with_columns(
            pl.lit(None, pl.String).alias("next_outcome"), pl.lit(None, pl.Datetime("us", "UTC")).alias("next_received")
        )
        failed = pl.concat([traced, single]).filter(pl.col("error").is_not_null()).sort("settled").collect()
        for row in failed.iter_rows(named=True):
            parked, after = row["outcome"] == "parked", row["next_outcome"]
            known = parked and after is not None
            self.add(
                row["error"],
                stage=row["stage"] or "",
                fingerprint=row["fingerprint"] or "",
                at=row["settled"].timestamp(),
                # What is parked was tried again in its next trip; a dead letter had attempts of its own.
                retried=int(known) if parked else row["attempts"] - 1,
                recovered=known and after in ("delivered", "filtered"),
                delay=(row["next_received"] - row["settled"]).total_seconds() if known else None,
            )

    def add_decisions(self, flows: Flows) -> None:
        """Take in the decisions of retries that learn: which error was tried again after which delay, and whether it helped.

        The letters of these messages are to be taken in apart.
        """
        kind = pl.col("inputs").str.json_path_match("$.kind")
        rows = (
            flows.decisions.filter(pl.col("success").is_not_null())
            .select("success", "messages", delay=pl.col("done").cast(pl.String).cast(pl.Float64, strict=False), kind=kind)
            .drop_nulls()
            .filter(pl.col("delay") >= 0)
            .group_by("kind", "success", bucket=pl.col("delay").clip(1e-3).log(2).floor())
            .agg(pl.col("messages").sum())
            .sort("kind", "success", "bucket")
            .collect()
        )
        for row in rows.iter_rows(named=True):
            type, _, text = row["kind"].partition(": ")
            found = self._template((type, masked(text), "", ""), text)
            found.tries += row["messages"]
            found.good += row["messages"] * row["success"]
            found.delays[int(row["bucket"]), row["success"]] += row["messages"]

    def classes(self) -> list[list[_Template]]:
        """The templates of each class, the most frequent class first."""
        if self._grouped is None:
            self._grouped = self._group()
        return sorted(self._grouped, key=lambda some: (-sum(each.messages for each in some), some[0].words))

    def labels(self, failures: Iterable[tuple[str, str]]) -> list[int | None]:
        """The class of each failure, given as type and text, by its place in `table`; ``None`` where it is in none."""
        places = {(each.type, each.text): i for i, some in enumerate(self.classes()) for each in some}
        return [places.get((type, masked(text))) for type, text in failures]

    def table(self) -> pl.DataFrame:
        """One row for each class: its messages, retries and how many helped, what to do and why, when, and an example."""
        rows = []
        for i, some in enumerate(self.classes()):
            tries, good = sum(each.tries for each in some), sum(each.good for each in some)
            suggestion, reason = _suggest(some, tries, good)
            example = max(some, key=lambda each: (bool(each.text), each.messages))
            first, last = min(each.first for each in some), max(each.last for each in some)
            rows.append(
                {
                    "class": i,
                    "name": f"{example.type}: {example.text}" if example.text else example.type,
                    "messages": sum(each.messages for each in some),
                    "retried": tries,
                    "recovered": good,
                    "suggestion": suggestion,
                    "reason": reason,
                    "first": first if isfinite(first) else None,
                    "last": last if isfinite(last) else None,
                    "stage": ", ".join(sorted({each.stage for each in some if each.stage})),
                    "fingerprints": sorted({each.fingerprint for each in some if each.fingerprint}),
                    "example": example.example,
                }
            )
        schema: dict[str, Any] = dict.fromkeys(("class", "messages", "retried", "recovered"), pl.Int64)
        schema = {"class": pl.Int64, "name": pl.String} | schema
        schema |= dict.fromkeys(("suggestion", "reason"), pl.String) | dict.fromkeys(("first", "last"), pl.Float64)
        frame = pl.DataFrame(rows, schema | {"stage": pl.String, "fingerprints": pl.List(pl.String), "example": pl.String})
        times = pl.col("first", "last") * 1e6
        return frame.with_columns(times.cast(pl.Int64).cast(pl.Datetime("us", "UTC")))

    def curve(self, number: int) -> pl.DataFrame:
        """How many retries of a class helped, by their delay: from ``delay_s`` on and up to twice that."""
        every = self.classes()
        if not 0 <= number < len(every):
            raise GraphError(f"ErrorClasses.curve({number}): there are {len(every)} classes, counted from 0; see table()")
        delays: Counter[tuple[int, bool]] = Counter()
        for each in every[number]:
            delays.update(each.delays)
        buckets = sorted({bucket for bucket, _ in delays})
        rows = [(2.0**each, delays[each, True] + delays[each, False], delays[each, True]) for each in buckets]
        names = {"delay_s": pl.Float64, "retried": pl.Int64, "recovered": pl.Int64}
        return pl.DataFrame(rows, names, orient="row").with_columns(
            (pl.col("recovered") / pl.col("retried")).alias("success")
        )

    def _group(self) -> list[list[_Template]]:
        texts = [each for each in self._templates.values() if each.text]
        texts.sort(key=lambda each: -each.messages)
        groups: list[list[_Template]] = []
        for label, each in zip(self._cluster(texts[:_MOST]), texts[:_MOST], strict=True):
            while len(groups) <= label:
                groups.append([])
            groups[label].append(each)
        groups += [[each] for each in texts[_MOST:]]
        homes = {each.fingerprint: some for some in reversed(groups) for each in some if each.fingerprint}
        bare: dict[tuple[str, str], list[_Template]] = {}
        for each in self._templates.values():
            if not each.text:
                home = homes.get(each.fingerprint)
                (home if home is not None else bare.setdefault((each.type, each.fingerprint), [])).append(each)
        return groups + list(bare.values())

    def _cluster(self, templates: list[_Template]) -> list[int]:
        if self.alike is None or len(templates) < 2:
            return list(range(len(templates)))
        try:
            from sklearn.cluster import AgglomerativeClustering
            from sklearn.feature_extraction.text import TfidfVectorizer
        except ImportError as error:
            raise GraphError("ErrorClasses needs scikit-learn: pip install 'warren[ml]'") from error
        words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        vectors = words.fit_transform([each.words for each in templates])
        apart: Any = 1 - (vectors @ vectors.T).toarray()
        prints = np.array([each.fingerprint for each in templates])
        apart -= _SAME_PLACE * ((prints[:, None] == prints[None, :]) & (prints != "")[:, None])
        np.clip(apart, 0, None, out=apart)
        np.fill_diagonal(apart, 0)
        settings: dict[str, Any] = {"n_clusters": None, "distance_threshold": 1 - self.alike}
        found = AgglomerativeClustering(metric="precomputed", linkage="average", **settings).fit_predict(apart)
        return [int(each) for each in found]


def _suggest(some: list[_Template], tries: int, good: int) -> tuple[Suggestion, str]:
    """What to do about a class, and why."""
    votes: Counter[Suggestion] = Counter()
    for each in some:
        said: Suggestion | None = next((name for name in _ORDER if _WORDS[name].search(each.example)), None)
        if said is not None:
            votes[said] += each.messages
    guess = votes.most_common(1)[0][0] if votes else None
    first = _LIKELY if guess in ("overload", "transient") else _UNLIKELY if guess else 0.5 * (_LIKELY + _UNLIKELY)
    chance = (good + _KNOWN * first) / (tries + _KNOWN)
    seen = f"{good} of {tries} retries helped" if tries else "never tried again"
    why = f"{seen}; it reads as {guess}" if guess else f"{seen}; its words say nothing"
    if chance >= _HOPE:
        return ("overload" if guess == "overload" else "transient"), why
    return ("permanent" if guess == "permanent" or guess in ("overload", "transient") else "poison"), why
