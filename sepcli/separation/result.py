"""The result of a separation: sources by name, posterior samples, and measures of their quality."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from sepcli.atomic import write_whole
from sepcli.errors import OutputError, UsageError
from sepcli.separation.arrays import AXES, Layout
from sepcli.separation.ranking import RankedSamples


@dataclass(frozen=True)
class Result:
    """The sources of one mixture, in the layout and type of the mixture.

    Attributes:
        sources: name → the estimate: of one sample, consistent with the mixture if the separator makes it
            so; of several, the best. Weighted as in the mixture for audio, unweighted for images.
        samples: (S, K, ...) posterior samples, the best first.
        raw: (K, ...) the first sample of the engine, without the consistency of audio with the mixture.
        residual: (S,) root mean square of the mixture minus the weighted sum of the sources.
        agreement: (S,) dB, of every sample with the others; NaN for a single one.
        log_prior: (S,) nats, up to a constant; None: the engine has no density.
        confidence: audio with several samples: name → per second 10 log10 of the mean power of the samples
            over their variance, in dB, None where the source is silent; else empty.
        fit: share of mixtures that the priors explain with a greater denoising error: below 0.05, they do not
            explain this one (see ``sepcli.separation.fit``); None: not assessed.
        denoising_error: dB, of which ``fit`` is the p-value; None: not measured.
        settings: what ran: engine, sampler, typed settings, weights, device.
        seeds: (S,) seeds of the samples, in their order.
        sample_rate: Hz; 0 for images.
        medium: audio or image.
    """

    sources: Mapping[str, Any]
    samples: Any
    raw: Any
    residual: tuple[float, ...]
    agreement: tuple[float, ...]
    log_prior: tuple[float, ...] | None
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    layout: Layout = field(repr=False)
    confidence: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    fit: float | None = None
    denoising_error: float | None = None
    sample_rate: int = 0

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.samples.shape[2:]))
        count = f"{len(self.samples)} sample{'s' if len(self.samples) > 1 else ''}"
        return f"Result({', '.join(self.sources)}; {shape}; {count})"

    def __getitem__(self, name: str) -> Any:
        """The estimate of a source.

        Raises:
            UsageError: there is no such source.
        """
        if name not in self.sources:
            raise UsageError(
                f"there is no source '{name}'", f"sources: {', '.join(self.sources)}", argument="name"
            )
        return self.sources[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the sources, as of a mapping."""
        return iter(self.sources)

    def __len__(self) -> int:
        """The number of sources."""
        return len(self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """The K names, in order."""
        return tuple(self.sources)

    @property
    def mean(self) -> Any:
        """(K, ...): mean of the samples, the estimate of least mean squared error if they are the
        posterior's."""
        return self.samples.mean(0)

    @property
    def std(self) -> Any:
        """(K, ...): standard deviation of every value over S ≥ 2 samples.

        Raises:
            UsageError: there is one sample only.
        """
        if len(self.samples) < 2:
            raise UsageError(
                "a single sample has no standard deviation", "ask for 2 samples or more", argument="samples"
            )
        return self.samples.std(0, ddof=1) if isinstance(self.samples, np.ndarray) else self.samples.std(0)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write every source, as 32-bit float WAV or 8-bit PNG, and ``run.json`` with settings and seeds.

        The folder is created if missing; files that exist are replaced with ``overwrite``.

        Raises:
            OutputError: a file exists, or the folder cannot be written.
        """
        directory = Path(folder)
        suffix = ".wav" if self.layout.medium == "audio" else ".png"
        files = {directory / f"{_file_name(name)}{suffix}": name for name in self.sources}
        record = directory / "run.json"
        for path in (*files, record):
            if path.exists() and not overwrite:
                raise OutputError(
                    f"{path} exists already", "pass overwrite=True, or another folder", argument="folder"
                )
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot create the folder {directory}: {error.strerror}",
                "choose another folder",
                argument="folder",
            ) from error
        for path, name in files.items():
            write_whole(path, self._encoded(name))
        entries = {"format": 1, "settings": dict(self.settings), "seeds": list(self.seeds), "fit": self.fit}
        text = json.dumps(entries, indent=2, default=str)
        write_whole(record, text.encode())
        return [*files, record]

    def _encoded(self, name: str) -> bytes:
        source, layout, file = self.sources[name], self.layout, io.BytesIO()
        array = np.asarray(source) if layout.device is None else source.detach().cpu().numpy()
        if array.ndim > AXES[layout.medium]:
            array = np.moveaxis(array, layout.axis, -1)
        if layout.medium == "audio":
            soundfile.write(file, array.astype(np.float32), self.sample_rate, format="WAV", subtype="FLOAT")
        else:
            levels = np.rint(array.clip(0.0, 1.0) * 255).astype(np.uint8)
            single = levels.ndim == 3 and levels.shape[-1] == 1
            Image.fromarray(levels[..., 0] if single else levels).save(file, format="PNG")
        return file.getvalue()


def image_result(
    ranked: RankedSamples,
    layout: Layout,
    names: Sequence[str],
    settings: Mapping[str, Any],
    seeds: Sequence[int],
) -> Result:
    """Return ranked samples of an image as a result; the seeds are in the order of sampling."""
    laid = layout.restore(ranked.samples.double())
    return Result(
        sources=dict(zip(names, laid[0], strict=True)),
        samples=laid,
        raw=laid[0],
        residual=tuple(ranked.residual.tolist()),
        agreement=tuple(ranked.agreement.tolist()),
        log_prior=None if ranked.log_prior is None else tuple(ranked.log_prior.tolist()),
        settings={**settings, "samples": len(seeds)},
        seeds=tuple(seeds[number] for number in ranked.order),
        layout=layout,
    )


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "source"
