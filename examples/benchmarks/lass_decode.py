"""Time of beam search against the released package of LASS: same prior, table, tokens and beams.

    git clone https://github.com/gladia-research-group/latent-autoregressive-source-separation
    pip install transformers
    python examples/benchmarks/lass_decode.py --diba latent-autoregressive-source-separation/diba

Both decode the first tokens of ``examples/song/mix.flac`` with the bundled ``slakh-drums-bass``, all its
pairs and λ = 1. The package decodes window after window, with a network of each source in float32 and a cache
to which keys and values are appended and whose rows are gathered, as its own priors do (``plain_step``);
sepcli decodes in float32, and in the fastest type (``sepcli_fast``). Likelihoods of both are looked up before
the clock starts. ``cpu_seconds`` are those of the processor; the runs alternate, since other programs
lengthen these, too. The log posterior of all answers is computed anew, by one function, in float32.
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
from sepcli.priors.precision import fast_type
from sepcli.protocols import TokenPrior
from sepcli.samplers.beam import Beam

PRIOR, SONG = "slakh-drums-bass", Path(__file__).parents[1] / "song" / "mix.flac"
Search = Callable[[], Tensor]
"""Returns tokens (W, L, 2)."""
EVERY = 1_000_000_000
"""More pairs than any mixture code has."""


def released(
    folder: Path, prior: TransformerPrior, table: LikelihoodTable, mixture: Tensor, beams: int
) -> Search:
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
        def __init__(self, source: int) -> None:
            self.source = source

        def get_device(self) -> torch.device:
            return torch.device("cpu")

        def get_tokens_count(self) -> int:
            return table.vocabulary

        def get_sos(self) -> int:
            return 0

        def get_logits(self, token_ids: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
            return plain_step(prior, self.source, token_ids, cache or [])

        def reorder_cache(self, cache: Any, beam_idx: Tensor) -> Any:
            return [tuple(part[beam_idx] for part in layer) for layer in cache]

    networks = [Network(k) for k in range(2)]

    def decode() -> Tensor:
        answers = [fast_beamsearch_separation(networks, Table(), row, beams) for row in mixture.tolist()]
        return torch.stack([torch.stack(answer, dim=-1)[0] for answer in answers])

    return decode


def plain_step(
    prior: TransformerPrior, source: int, tokens: Tensor, cache: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return logits (R, V) after tokens (R, T), of which all but the last are in the cache, and a new cache.

    The first token is the start symbol, whatever it is.
    """
    position, grown = tokens.shape[1] - 1, []
    last = tokens[:, -1] if position else torch.full_like(tokens[:, -1], prior.config.vocabulary)
    k = torch.full_like(last, source)
    x = (prior.embed(last) + prior.source(k))[:, None]
    angles = (position * prior.frequencies)[None]
    for layer, block in enumerate(prior.blocks):
        h = block.norm1(x)
        new = block.keys_values(h, angles)
        keys, values = (
            (torch.cat(pair, dim=1) for pair in zip(cache[layer], new, strict=True)) if cache else new
        )
        grown.append((keys, values))
        keys, values = keys[:, -prior.config.context :], values[:, -prior.config.context :]
        weights = block.queries(h, angles)[:, :, 0] @ keys.transpose(1, 2) / block.head_dim**0.5
        x = block.feed(x + block.merge((torch.softmax(weights, dim=-1) @ values).flatten(1)).unsqueeze(1))
    logits = torch.nn.functional.linear(prior.norm(x[:, 0]), prior.embed.weight[: prior.config.vocabulary])
    return logits + prior.bias(k), grown


def log_posterior(prior: TokenPrior, table: LikelihoodTable, mixture: Tensor, tokens: Tensor) -> Tensor:
    """log p(z_1, z_2 | m) of tokens (W, L, 2), up to a constant: (W,)."""
    likelihood = table.log_likelihood(tokens[..., 0], tokens[..., 1], mixture).sum(-1)
    return prior.log_prob(tokens.transpose(1, 2)) + likelihood


def ours(posterior: LassPosterior, prior: TransformerPrior, dtype: torch.dtype, beams: int) -> Search:
    """Return the search of sepcli, with products of a type."""

    def search() -> Tensor:
        prior.step_type = dtype
        return Beam(beams)(posterior).tokens[:, 0]

    return search


def alternately(searches: dict[str, Search], repeats: int) -> dict[str, dict[str, Any]]:
    """Run searches in turn; return the tokens and least seconds of each, after one that is not counted."""
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    found = {name: search() for name, search in searches.items()}
    for _ in range(repeats):
        for name, search in searches.items():
            started, processor = time.perf_counter(), time.process_time()
            search()
            clocks[name].append((time.perf_counter() - started, time.process_time() - processor))
    least = {name: [round(min(column), 3) for column in zip(*clocks[name], strict=True)] for name in searches}
    return {
        name: {"seconds": least[name][0], "cpu_seconds": least[name][1], "tokens": found[name]}
        for name in searches
    }


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
        posterior = LassPosterior(prior, table, mixture, LassSettings(max_candidates=EVERY))
        searches = {"sepcli": ours(posterior, prior, torch.float32, options.beams)}
        searches["sepcli_fast"] = ours(posterior, prior, fast_type(torch.device("cpu")), options.beams)
        if options.diba is not None:
            searches["diba"] = released(options.diba, prior, table, mixture, options.beams)
        row: dict[str, Any] = {"windows": windows, **alternately(searches, options.repeats)}
        for clock in row.values():
            if isinstance(clock, dict):
                values = log_posterior(prior, table, mixture, clock.pop("tokens"))
                clock["log_posterior"] = round(float(values.mean()), 2)
        if options.diba is not None:
            for name, ratio in (("sepcli", "ratio"), ("sepcli_fast", "ratio_fast")):
                row[ratio] = round(row["diba"]["cpu_seconds"] / row[name]["cpu_seconds"], 2)
        rows.append(row)
    report = {
        "tokens": options.tokens,
        "beams": options.beams,
        "repeats": options.repeats,
        "fast": str(fast_type(torch.device("cpu"))).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": rows,
    }
    print(json.dumps(report, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
