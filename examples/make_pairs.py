"""Cut a test set of unrelated chunk pairs from a data set in Slakh2100's layout (the protocol of LASS).

    python examples/make_pairs.py slakh2100/ --split validation --pairs 50 --out pairs/

writes ``pairs/drums/000.flac``, ``pairs/bass/000.flac`` and so on: random chunks of 3 s, without quiet ones
(RMS ≤ 0.02). ``sepcli evaluate --dataset pairs --data pairs/`` mixes, separates and scores them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from sepcli.datasets.song_banks import open_songs


def main() -> None:
    """Sample the pairs and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--sources", default="drums,bass")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=int, default=22050)
    parser.add_argument("--min-rms", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    bank = open_songs(
        options.data, options.split, tuple(options.sources.split(",")), options.rate, options.cache
    )
    chunks = bank.sample(
        np.random.default_rng(options.seed),
        options.pairs,
        round(options.seconds * options.rate),
        options.min_rms,
    )
    for k, name in enumerate(bank.names):
        (options.out / name).mkdir(parents=True, exist_ok=True)
        for number, chunk in enumerate(chunks[:, k]):
            soundfile.write(options.out / name / f"{number:03d}.flac", chunk, options.rate, subtype="PCM_16")


if __name__ == "__main__":
    main()
