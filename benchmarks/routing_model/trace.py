"""Arrivals and sizes: those of a real service, or made up in a similar shape."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Trace", "read", "synthetic"]

Floats = npt.NDArray[np.float64]
FILE = "AzureLLMInferenceTrace_conv.csv"


@dataclass(frozen=True)
class Trace:
    """When messages come, in seconds, and how large they are, in tokens."""

    at: Floats
    size: Floats

    def part(self, start: float, end: float, pace: float = 1.0) -> Trace:
        """The messages between two shares of the whole, coming ``pace`` times as fast."""
        first, last = (int(share * len(self.at)) for share in (start, end))
        at = self.at[first:last]
        return Trace((at - at[0]) / pace, self.size[first:last])


def read(folder: Path) -> Trace:
    """The conversations of the Azure LLM inference trace. Raises `SystemExit` with a sentence where there is none."""
    path = folder / FILE
    if not path.is_file():
        raise SystemExit(f"{path} is not there: name the folder that holds {FILE} with --data, or leave it out")
    with path.open(newline="") as lines:
        rows = [(_seconds(row["TIMESTAMP"]), row) for row in csv.DictReader(lines)]
    at = np.array([seconds for seconds, _ in rows])
    size = np.array([float(row["ContextTokens"]) + float(row["GeneratedTokens"]) for _, row in rows])
    return Trace(at - at[0], size)


def _seconds(text: str) -> float:
    # The file has seven decimals, one more than a datetime takes.
    return datetime.fromisoformat(text[:26]).timestamp()


def synthetic(count: int = 19_366, seed: int = 0) -> Trace:
    """Bursts on a rate that swells and ebbs, and sizes of three kinds with a long tail."""
    random = np.random.default_rng(seed)
    gaps = random.gamma(0.85, 1 / 0.85, count) / (5.5 * (1 + 0.35 * np.sin(np.linspace(0, 2 * np.pi, count))))
    kind = random.choice(3, count, p=[0.3, 0.5, 0.2])
    size = np.exp(random.normal(np.log([480.0, 1380.0, 2700.0])[kind], np.array([0.35, 0.2, 0.45])[kind]))
    return Trace(np.cumsum(gaps), np.clip(size, 20, 14_000))
