"""Time of beam search against the released package of LASS: same prior, table, tokens and beams.

    git clone https://github.com/gladia-research-group/latent-autoregressive-source-separation
    pip install transformers
    python examples/benchmarks/lass_decode.py --diba latent-autoregressive-source-separation/diba

Both decode the first tokens of ``examples/song/mix.flac`` with the bundled ``slakh-drums-bass``, all its
pairs and λ = 1. The package decodes window after window, its priors by the same network here; its
likelihoods are looked up before the clock starts. ``cpu_seconds`` are those of the processor, which other
programs on the machine lengthen less than ``seconds``. The log posterior of both answers is computed anew, by
one function.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from sepcli.catalog import resolve
from sepcli.catalog.verified import verified
from sepcli.priors.lass.load import load_codec, load_table, load_transformer
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.transformer import TransformerPrior
from sepcli.protocols import TokenPrior
from sepcli.samplers.beam import Beam

PRIOR, SONG = "slakh-drums-bass", Path(__file__).parents[1] / "song" / "mix.flac"
EVERY = 1_000_000_000
"""More pairs than any mixture code has."""


def released(
    folder: Path, prior: TransformerPrior, table: LikelihoodTable, mixture: Tensor, beams: int
) -> Any:
    """Return what decodes tokens (W, L) with the package in ``folder``: (W, L, 2)."""
    sys.path.insert(0, str(folder))
    from diba.diba import fast_beamsearch_separation  # type: ignore[import-not-found]
    from diba.interfaces import Likelihood, SeparationPrior  # type: ignore[import-not-found]

    codes = mixture.unique()
    pairs, log_lik = table.candidates(codes, EVERY)
    slices = {
        int(m): (row[keep].T.contiguous(), values[keep])
        for m, row, values, keep in zip(codes, pairs, log_lik, log_lik > -torch.inf, strict=True)
    }

    class Table(Likelihood):  # type: ignore[misc]
        def get_device(self) -> torch.device:
            return torch.device("cpu")

        def get_tokens_count(self) -> int:
            return table.vocabulary

        def get_log_likelihood(self, token_idx: int) -> tuple[Tensor, Tensor]:
            return slices[token_idx]

    class Network(SeparationPrior):  # type: ignore[misc]
        def __init__(self, network: TokenPrior) -> None:
            self.network = network

        def get_device(self) -> torch.device:
            return torch.device("cpu")

        def get_tokens_count(self) -> int:
            return table.vocabulary

        def get_sos(self) -> int:
            return 0

        def get_logits(self, token_ids: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
            last = None if cache is None else token_ids[:, -1:]
            log_prob, state = self.network.step(cache or self.network.start(len(token_ids)), last)
            return log_prob[:, 0], state

        def reorder_cache(self, cache: Any, beam_idx: Tensor) -> Any:
            return self.network.select(cache, beam_idx)

    networks = [Network(prior.of((k,))) for k in range(2)]

    def decode() -> Tensor:
        answers = [fast_beamsearch_separation(networks, Table(), row, beams) for row in mixture.tolist()]
        return torch.stack([torch.stack(answer, dim=-1)[0] for answer in answers])

    return decode


def log_posterior(prior: TokenPrior, table: LikelihoodTable, mixture: Tensor, tokens: Tensor) -> Tensor:
    """log p(z_1, z_2 | m) of tokens (W, L, 2), up to a constant: (W,)."""
    likelihood = table.log_likelihood(tokens[..., 0], tokens[..., 1], mixture).sum(-1)
    return prior.log_prob(tokens.transpose(1, 2)) + likelihood


def timed(decode: Callable[[], Tensor], repeats: int) -> tuple[Tensor, dict[str, float]]:
    """Return the answer, and the least seconds of several runs, after one that is not counted."""
    answer, clocks = decode(), []
    for _ in range(repeats):
        started, processor = time.perf_counter(), time.process_time()
        decode()
        clocks.append((time.perf_counter() - started, time.process_time() - processor))
    least = [min(column) for column in zip(*clocks, strict=True)]
    return answer, {"seconds": round(least[0], 3), "cpu_seconds": round(least[1], 3)}


@torch.inference_mode()
def main() -> None:
    """Decode with both, compare, print and write one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--diba", type=Path, help="folder that holds the package diba; default: sepcli alone")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--beams", type=int, default=10)
    parser.add_argument("--windows", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    card, folder = resolve.find(PRIOR)
    files = verified(card, folder)
    codec, digest = load_codec(files, card)
    prior, table = load_transformer(files).requires_grad_(False), load_table(files, card, codec, digest)
    if not isinstance(prior, TransformerPrior):
        raise SystemExit("the bundled prior is of another family")
    song = torch.from_numpy(soundfile.read(SONG, dtype="float32", always_2d=True)[0]).mean(1)
    everything = codec.encode(song[None, None])[0]
    rows = []
    for windows in options.windows:
        mixture = everything[: windows * options.tokens].view(windows, -1)
        settings = LassSettings(max_candidates=EVERY)

        def search(mixture: Tensor = mixture, settings: LassSettings = settings) -> Tensor:
            return Beam(options.beams)(LassPosterior(prior, table, mixture, settings)).tokens[:, 0]

        answer, clock = timed(search, options.repeats)
        row = {"windows": windows, "sepcli": clock}
        row["sepcli"]["log_posterior"] = round(float(log_posterior(prior, table, mixture, answer).mean()), 2)
        if options.diba is not None:
            other, clock = timed(
                released(options.diba, prior, table, mixture, options.beams), options.repeats
            )
            clock["log_posterior"] = round(float(log_posterior(prior, table, mixture, other).mean()), 2)
            row |= {"diba": clock, "ratio": round(clock["cpu_seconds"] / row["sepcli"]["cpu_seconds"], 2)}
        rows.append(row)
    report = {
        "tokens": options.tokens,
        "beams": options.beams,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": rows,
    }
    print(json.dumps(report, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
