"""Quality of samples: entries of a record, labels on a contact sheet, and the spread of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.separation.fit import LEAST_FIT

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Quality:
    """Quality of samples, the best first; see ``sepcli.separation.result.Result``.

    Attributes:
        seeds: of every sample.
        residual: root mean square of the mixture minus the weighted sum of the sources.
        agreement: dB, of every sample with the others; NaN for a single one.
        log_prior: nats, up to a constant; None: unknown.
        rule: by what they are ranked, see ``sepcli.separation.ranking``; None: ``RULE``.
    """

    seeds: Sequence[int]
    residual: Sequence[float]
    agreement: Sequence[float]
    log_prior: Sequence[float] | None
    rule: str | None = None

    @property
    def medoid(self) -> int:
        """Number, from 1, of the sample with the least mean squared distance to the others."""
        return 1 + max(range(len(self.agreement)), key=lambda s: self.agreement[s])

    def describe(self) -> dict[str, Any]:
        """Return the record's ``samples``, and of several their ``rank`` and ``medoid``."""
        from sepcli.separation.ranking import RULE

        log_prior: Sequence[float | None] = self.log_prior or [None] * len(self.seeds)
        columns = (self.seeds, self.residual, log_prior, self.agreement)
        names = ("seed", "residual_rms", "log_prior", "agreement_db")
        samples = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        several = {"rank": self.rule or RULE, "medoid": self.medoid} if len(samples) > 1 else {}
        return {"samples": samples, **several}

    def summary(self) -> tuple[str, ...]:
        """Return one line on several samples: what they are ranked by, and the number of the medoid."""
        if len(self.seeds) == 1:
            return ()
        by = "agreement" if self.log_prior is None else "log prior"
        return (f"  {len(self.seeds)} samples, best first by {by}, medoid: {self.medoid:02d}",)

    def labels(self) -> list[str]:
        """Return what a contact sheet says of every sample, a few lines each; nothing of a single one."""
        if len(self.seeds) == 1:
            return [""]
        return [self._label(number) for number in range(len(self.seeds))]

    def _label(self, number: int) -> str:
        lines = [f"{number + 1:02d}{' (medoid)' if number + 1 == self.medoid else ''}"]
        if self.log_prior is not None:
            lines.append(f"log prior {self.log_prior[number]:.1f}")
        lines.append(f"agreement {self.agreement[number]:.1f} dB")
        return "\n".join([*lines, f"residual {self.residual[number]:.4f}"])


def warn_of_misfit(track: str, fit: float | None, quiet: bool) -> None:
    """Warn in two lines of priors that do not explain a mixture; a fit of None was not assessed."""
    if fit is not None and fit < LEAST_FIT:
        console.warn(f"{track}: these priors do not explain this mixture (fit {fit:.2g})", quiet)
        console.note("  choose others with --prior; --prior auto ranks those that are installed", quiet)


def beside_labels(scale: float) -> list[str]:
    """Return what a contact sheet says of mean and standard deviation."""
    return ["mean", f"standard deviation x {scale:.3g}"]


def std_scale(std: Tensor) -> float:
    """Return the factor that makes a standard deviation visible: the greatest becomes white."""
    greatest = float(std.max())
    return 1.0 / greatest if greatest > 0.0 else 1.0
