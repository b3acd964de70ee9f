"""The evaluation protocol: the computation of values, recorded beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from sepcli import __version__
from sepcli.metrics import METRICS
from sepcli.metrics.distribution import RESAMPLES

CI_LEVEL = 0.95
CI_RESAMPLES = 2000

SILENCE = "windows in which a source or an estimate is silent have no SDR and are left out"


class ProtocolEntries(TypedDict):
    """A protocol in a report, with the rules that all reports share."""

    metrics: tuple[str, ...]
    dataset: str
    stems: tuple[str, ...]
    mixture: str
    tracks: int
    seed: int
    settings: dict[str, Any]
    aggregation: dict[str, str]
    left_out: str
    ci95: str
    version: str


@dataclass(frozen=True)
class Protocol:
    """Everything that the numbers of a report depend on, besides the signals."""

    metrics: tuple[str, ...]
    dataset: str
    stems: tuple[str, ...]
    mixture: str
    tracks: int
    seed: int = 0
    """Seed of separation and of the bootstrap."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the separation: prior, sampler, samples, batch …; empty for finished estimates."""

    def as_dict(self) -> dict[str, Any]:
        """Return the protocol for a report, with the rules that all reports share."""
        return {
            **asdict(self),
            "aggregation": {metric: METRICS[metric].rule for metric in self.metrics},
            "left_out": SILENCE,
            "ci95": f"percentile bootstrap of the mean over tracks, {CI_RESAMPLES} resamples; of distances "
            f"of sets over items, {RESAMPLES} resamples, shifted to the distance",
            "version": __version__,
        }

    def fingerprint(self, files: Iterable[Path] = (), content: bytes = b"") -> str:
        """Return a hash that two runs share only when their numbers may be mixed.

        It is also of the paths, sizes and times of the files that are scored, or of their content.
        """
        about = sorted((str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        text = json.dumps([self.as_dict(), about], sort_keys=True, default=str)
        return hashlib.sha256(text.encode() + content).hexdigest()
