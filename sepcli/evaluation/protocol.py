"""How numbers were made, in a form that is written beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sepcli import __version__

WINDOW_SECONDS = 1.0
CI_LEVEL = 0.95
CI_RESAMPLES = 2000

AGGREGATION = {
    "sdr": "SDR of BSS Eval v4 (as museval): median over 1 s windows, then mean over tracks",
    "usdr": "SDR of the whole track, then mean over tracks",
    "si-sdr": "SI-SDR of the whole track, then mean over tracks",
    "si-sdri": "SI-SDR of the whole track minus that of the mixture, then mean over tracks",
    **{
        name: f"{name.upper()} of BSS Eval v4 (museval, 512-tap filters found on the whole track): "
        "median over 1 s windows, then mean over tracks"
        for name in ("isr", "sir", "sar")
    },
}
"""The metrics of sound there are, and what is done to their values."""

IMAGES = {
    "psnr": "PSNR of images clamped to [0, 1], then mean over items",
    "ssim": "SSIM (Gaussian window of 11, σ 1.5) of images clamped to [0, 1], then mean over items",
}
"""The metrics of images, likewise."""

_DISTANCE = "Fréchet distance (lower is better) of the whole set to all test images, in features of "
_SCORE = "mean over 10 parts of the set of exp(mean KL(p(y|x), p(y))) (higher is better), classes of "
_OWN = "sepcli's own classifier of"
_LIBRARY = "the Inception network of torch-fidelity, with the weights that were given"
SETS = {
    "fd-mnist": f"{_DISTANCE}{_OWN} MNIST, not FID",
    "cs-mnist": f"{_SCORE}{_OWN} MNIST, not Inception score",
    "fd-cifar": f"{_DISTANCE}{_OWN} CIFAR-10, not FID",
    "cs-cifar": f"{_SCORE}{_OWN} CIFAR-10, not Inception score",
    "fid": f"{_DISTANCE}{_LIBRARY}",
    "is": f"{_SCORE}{_LIBRARY}",
}
"""The metrics of whole sets of images, likewise."""

GROUPS = {"bsseval": ("sdr", "isr", "sir", "sar")}
"""Names for several metrics that are computed together."""

UNITLESS = frozenset({"ssim", *SETS})
"""Metrics that are not in dB."""

CHECKS = {
    "residual": "rms over pixels of mixture - sum of the sources, before clamping, in steps of 1/255",
    "nll": "bits per dimension of a pair under the prior at the sampler's last noise, which true sources get",
    "diversity": "mean over pairs of draws of the rms difference of their colors, in steps of 1/255",
}
"""What is measured besides and is not in dB."""

SILENCE = "windows in which a source or an estimate is silent have no SDR and are left out"


def expand(metrics: Iterable[str]) -> tuple[str, ...]:
    """Metrics without repetition, with groups by their members."""
    return tuple(dict.fromkeys(name for metric in metrics for name in GROUPS.get(metric, (metric,))))


@dataclass(frozen=True)
class Protocol:
    """Everything that the numbers of a report depend on, besides the signals."""

    metrics: tuple[str, ...]
    """Keys of ``AGGREGATION``, ``IMAGES``, ``SETS`` or ``CHECKS``."""
    dataset: str
    """Which tracks, in words."""
    stems: tuple[str, ...]
    mixture: str
    """How mixtures were made from sources, in words."""
    tracks: int
    """How many were to be scored."""
    seed: int = 0
    """Of separation and of the bootstrap."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of separation: prior, sampler, draws, batch …; empty when finished estimates were scored."""

    def as_dict(self) -> dict[str, Any]:
        """The protocol for a report, with the rules that all reports share."""
        rules = AGGREGATION | IMAGES | SETS | CHECKS
        return {
            **asdict(self),
            "aggregation": {metric: rules[metric] for metric in self.metrics},
            "left_out": SILENCE,
            "ci95": f"percentile bootstrap of the mean over tracks, {CI_RESAMPLES} resamples",
            "version": __version__,
        }

    def fingerprint(self, files: Iterable[Path] = (), content: bytes = b"") -> str:
        """A hash that two runs share only when their numbers may be mixed.

        Args:
            files: what is scored; their places, sizes and times count.
            content: of what is scored, where that is no file.
        """
        about = sorted((str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        text = json.dumps([self.as_dict(), about], sort_keys=True, default=str)
        return hashlib.sha256(text.encode() + content).hexdigest()
