"""Metrics. ``METRICS`` is the table of what can be measured; this module imports neither torch nor numpy.

Adding a metric takes a function and a row. The functions of a scope share a signature:

    track       (sepcli.metrics.tracks.Track) -> (K,) values, or (K, windows), of which the median is taken
    item        (true image (C, H, W), estimated image) -> value
    set         (sepcli.metrics.distribution.Features, Moments of the originals) -> values of parts of the set
    prior       (signal (T,), noise (T,)) -> value: log-likelihood of a signal under a prior
    check       measured besides, in every run that can; it is not compared between methods
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from sepcli.errors import UsageError, nearest

DECIBEL = "dB"
STEPS = "steps of 1/255"
Scope = Literal["track", "item", "set", "prior", "check"]


@dataclass(frozen=True)
class Metric:
    """A row of ``METRICS``.

    Attributes:
        name: on the command line and in reports.
        medium: of the signals.
        scope: see the module.
        fn: ``module:function``.
        rule: computation of the numbers of a report from values.
        unit: of its values; "" if they have none.
        higher_is_better: the direction of "best", "worst" and "better".
        network: of a metric of sets, the network whose features it uses.
        smallest: least height and width of images, in pixels.
        selectable: whether a user chooses it; else it comes with a run.
        windows: whether a track's value is the median over windows, as museval has it.
    """

    name: str
    medium: Literal["audio", "image"]
    scope: Scope
    fn: str
    rule: str
    unit: str = DECIBEL
    higher_is_better: bool = True
    network: str = ""
    smallest: int = 1
    selectable: bool = True
    windows: bool = False

    @property
    def decimals(self) -> int:
        """Places after the decimal point in tables."""
        return 2 if self.unit == DECIBEL else 4

    def resolve(self) -> Any:
        """Import the function."""
        module, _, attribute = self.fn.partition(":")
        return getattr(import_module(module), attribute)


_TRACKS, _IMAGES, _SETS = "sepcli.metrics.tracks", "sepcli.metrics.images", "sepcli.metrics.distribution"
_BSS = (
    "of BSS Eval v4 (museval, 512-tap filters of the whole track): median over 1 s windows, "
    "then mean over tracks"
)
_DISTANCE = "Fréchet distance (lower is better) of the whole set to all test images, in features of "
_SCORE = "mean over 10 parts of the set of exp(mean KL(p(y|x), p(y))) (higher is better), classes of "
_OWN = "sepcli's classifier of"
_LIBRARY = "the Inception network of torch-fidelity, with the weights that were given"


def _track(name: str, rule: str) -> Metric:
    fn = f"{_TRACKS}:{name.replace('-', '_')}"
    return Metric(name, "audio", "track", fn, rule, windows="over 1 s windows" in rule)


def _item(name: str, rule: str, unit: str = DECIBEL, smallest: int = 1) -> Metric:
    return Metric(name, "image", "item", f"{_IMAGES}:{name}", rule, unit, smallest=smallest)


def _distance(name: str, rule: str, network: str) -> Metric:
    fn = f"{_SETS}:frechet"
    return Metric(name, "image", "set", fn, _DISTANCE + rule, "", higher_is_better=False, network=network)


def _score(name: str, rule: str, network: str) -> Metric:
    return Metric(name, "image", "set", f"{_SETS}:class_scores", _SCORE + rule, "", network=network)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _track("sdr", "SDR of BSS Eval v4 (as museval): median over 1 s windows, then mean over tracks"),
        _track("si-sdr", "SI-SDR of the whole track, then mean over tracks"),
        _track("usdr", "SDR of the whole track, then mean over tracks"),
        _track("si-sdri", "SI-SDR of the whole track minus that of the mixture, then mean over tracks"),
        _track(
            "si-sar",
            "SI-SAR of the whole track (what of the estimate no true source explains), then mean over tracks",
        ),
        Metric(
            "mrstft",
            "audio",
            "track",
            f"{_TRACKS}:mrstft",
            "multi-resolution STFT distance (lower is better) of the whole track, then mean over tracks",
            unit="",
            higher_is_better=False,
        ),
        Metric(
            "pes",
            "audio",
            "track",
            f"{_TRACKS}:pes",
            "level of the estimate relative to the mixture (lower is better) where the reference is 60 dB"
            " below it: median over 1 s windows, then mean over tracks",
            higher_is_better=False,
            windows=True,
        ),
        _track("isr", f"ISR {_BSS}"),
        _track("sir", f"SIR {_BSS}"),
        _track("sar", f"SAR {_BSS}"),
        _item("psnr", "PSNR of images clamped to [0, 1], then mean over items"),
        _item(
            "ssim",
            "SSIM (Gaussian window of 11, σ 1.5) of images clamped to [0, 1], then mean over items",
            unit="",
            smallest=11,
        ),
        Metric(
            "nll",
            "image",
            "check",
            "sepcli.evaluation.images:typicality",
            "bits per dimension of a pair under the prior at the sampler's last noise, true sources likewise",
            unit="bits per dimension",
            higher_is_better=False,
        ),
        _distance("fd-mnist", f"{_OWN} MNIST, not FID", "fd-mnist"),
        _score("cs-mnist", f"{_OWN} MNIST, not Inception score", "fd-mnist"),
        _distance("fd-cifar", f"{_OWN} CIFAR-10, not FID", "fd-cifar"),
        _score("cs-cifar", f"{_OWN} CIFAR-10, not Inception score", "fd-cifar"),
        _distance("fid", _LIBRARY, "inception"),
        _score("is", _LIBRARY, "inception"),
        Metric(
            "cross-likelihood",
            "audio",
            "prior",
            "sepcli.evaluation.density_evaluators:open_evaluators",
            "log-likelihood of every source's test items under every prior, mean over items",
            unit="nats per sample",
        ),
        Metric(
            "residual",
            "image",
            "check",
            f"{_IMAGES}:residual_rms",
            "rms over pixels of mixture - sum of the sources, before clamping, in steps of 1/255",
            unit=STEPS,
            higher_is_better=False,
            selectable=False,
        ),
        Metric(
            "diversity",
            "image",
            "check",
            "sepcli.signal.chroma:diversity",
            "mean over pairs of samples of the rms difference of their colors, in steps of 1/255",
            unit=STEPS,
            selectable=False,
        ),
    )
}
"""Name → row."""

GROUPS: Mapping[str, tuple[str, ...]] = {"bsseval": ("sdr", "isr", "sir", "sar")}
"""Names for several metrics that are computed together."""


def selectable() -> tuple[str, ...]:
    """Return all names that ``find`` takes: metrics and groups."""
    return (*(name for name, metric in METRICS.items() if metric.selectable), *GROUPS)


def find(names: Iterable[str]) -> tuple[Metric, ...]:
    """Return metrics by name, without repetition; groups stand for their members.

    Raises:
        UsageError: there is no such metric; the hint names the nearest one.
    """
    metrics: dict[str, Metric] = {}
    for name in names:
        if name not in selectable():
            raise UsageError(f"there is no metric '{name}'", nearest(name, selectable()), argument="metrics")
        for member in GROUPS.get(name, (name,)):
            metrics[member] = METRICS[member]
    return tuple(metrics.values())
