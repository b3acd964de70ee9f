"""Seconds of one posterior sample by both presets, of the examples that come with sepcli.

    python examples/benchmarks/preset_cost.py --out preset-cost.json [--repeats 3]

``mnist`` separates ``examples/digits/mix.png``, ``slakh-drums-bass`` three seconds of
``examples/song/mix.flac``, on one thread; the median of several samples is reported. The engine samples alone
are timed: neither files, nor masks, nor ranking.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor

import sepcli
from sepcli.separation.presets import PRESETS

EXAMPLES = Path(__file__).parents[1]
PRIORS = ("mnist", "slakh-drums-bass")
SECONDS = 3.0


def mixture_of(separator: sepcli.Separator) -> Tensor:
    """Return the example of a separator's medium as a batch of one, (1, C, *D), as its engine takes it."""
    if not separator.sample_rate:
        pixels = np.asarray(Image.open(EXAMPLES / "digits" / "mix.png").convert("L"), dtype=np.float32)
        return torch.from_numpy(pixels / 255)[None, None]
    rate = separator.sample_rate
    signal, own = soundfile.read(EXAMPLES / "song" / "mix.flac", always_2d=True, dtype="float32")
    positions = np.arange(round(SECONDS * rate)) * own / rate
    mono = np.interp(positions, np.arange(len(signal)), signal.mean(1))
    level = separator.stream.reference_rms or mono.std()
    return torch.from_numpy(mono * level / mono.std()).float()[None, None]


def cost_of(prior: str, preset: str, repeats: int) -> dict[str, Any]:
    """Return evaluations, backward passes and median seconds of a sample."""
    separator = sepcli.load(prior, device="cpu", preset=preset)
    engine, mixture = separator.engine, mixture_of(separator)
    settings = separator.describe()["settings"]
    products = settings["products"] if settings.get("moments") == "jacobian" else 0
    clock, processor = [], []
    for seed in range(repeats + 1):
        started, used = time.perf_counter(), time.process_time()
        engine.sample(mixture, torch.tensor([[seed]]))
        clock.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    return {
        "prior": prior,
        "preset": preset,
        "sampler": separator.describe()["sampler"],
        "evaluations": engine.evaluations,
        "backward_passes": products * engine.evaluations,
        "processor_seconds": round(float(np.median(processor[1:])), 3),
        "clock_seconds": round(float(np.median(clock[1:])), 3),
    }


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [cost_of(prior, preset, options.repeats) for prior in PRIORS for preset in PRESETS]
    document = {"format": 1, "kind": "preset-cost", "threads": 1, "repeats": options.repeats, "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
