"""How many tokens speculative decoding of LASS would accept: how far drafts are from the posterior.

    python examples/benchmarks/lass_drafts.py

Tokens of ``examples/song/mix.flac`` are sampled from the posterior of the bundled ``slakh-drums-bass``. At
every step, a draft has the posterior's candidates and likelihoods, but the unigrams of both sources instead
of the autoregressive prior. The rejection rule keeps a draft with probability Σ min(p, q), p being the
posterior, q the draft; ``same_best`` is the share of tokens of which both have the same likeliest candidate,
which decides for greedy decoding. ``tokens_per_pass`` are accepted or resampled by a pass of the network over
endless drafts, if all tokens were alike.

Source: Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding".
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

import sepcli
from sepcli.priors.lass.engine import LassEngine
from sepcli.protocols import Candidates, TokenPosterior, TokenPrior
from sepcli.samplers.ancestral import Ancestral
from sepcli.samplers.hypotheses import Hypotheses

PRIOR, SONG = "slakh-drums-bass", Path(__file__).parents[1] / "song" / "mix.flac"


class Recorded:
    """A prior that keeps its last log-probabilities (R, K, V)."""

    def __init__(self, prior: TokenPrior) -> None:
        self.prior, self.last = prior, torch.empty(0)

    def start(self, rows: int) -> Any:
        """The prior's."""
        return self.prior.start(rows)

    def step(self, state: Any, tokens: Tensor | None) -> tuple[Tensor, Any]:
        """The prior's, which is kept."""
        self.last, state = self.prior.step(state, tokens)
        return self.last, state

    def select(self, state: Any, rows: Tensor) -> Any:
        """The prior's."""
        return self.prior.select(state, rows)

    def log_prob(self, tokens: Tensor) -> Tensor:
        """The prior's."""
        return self.prior.log_prob(tokens)


@dataclass(frozen=True)
class Watched:
    """A posterior of one hypothesis per window; every step is compared with its draft.

    Attributes:
        inner: the posterior.
        prior: its prior.
        unigram: log p_k(z) (K, V).
        accepted: Σ min(p, q) (W,) of every step so far.
        same: whether the likeliest candidates agree, (W,) of every step so far.
    """

    inner: TokenPosterior
    prior: Recorded
    unigram: Tensor
    accepted: list[Tensor]
    same: list[Tensor]

    @property
    def windows(self) -> int:
        """W."""
        return self.inner.windows

    @property
    def length(self) -> int:
        """L."""
        return self.inner.length

    def start(self, hypotheses: int) -> Any:
        """The posterior's."""
        return self.inner.start(hypotheses)

    def select(self, state: Any, parents: Tensor) -> Any:
        """The posterior's."""
        return self.inner.select(state, parents)

    def step(self, state: Any, tokens: Tensor | None) -> tuple[Candidates, Any]:
        """The posterior's, compared with its draft."""
        candidates, state = self.inner.step(state, tokens)
        log_p, log_q = candidates.log_prob[:, 0], candidates.log_prob[:, 0].clone()
        for k, codes in enumerate(candidates.tokens.unbind(-1)):
            log_q += self.unigram[k][codes] - self.prior.last[:, k].gather(1, codes)
        p, q = log_p.softmax(-1), log_q.softmax(-1)
        self.accepted.append(torch.minimum(p, q).sum(-1))
        self.same.append(p.argmax(-1) == q.argmax(-1))
        return candidates, state


@dataclass(frozen=True)
class Comparing:
    """Ancestral sampling that compares every step with its draft.

    Attributes:
        prior: that of the posteriors to come.
        unigram: log p_k(z) (K, V).
        accepted: Σ min(p, q) (W,) of every step so far.
        same: whether the likeliest candidates agree, (W,) of every step so far.
    """

    prior: Recorded
    unigram: Tensor
    accepted: list[Tensor] = field(default_factory=list)
    same: list[Tensor] = field(default_factory=list)

    def __call__(self, posterior: TokenPosterior, seeds: Tensor, on_progress: Any = None) -> Hypotheses:
        """Sample, as ``Ancestral`` does."""
        watched = Watched(posterior, self.prior, self.unigram, self.accepted, self.same)
        return Ancestral()(watched, seeds, on_progress)

    def figures(self) -> dict[str, float]:
        """Means over all steps and windows."""
        accepted = float(torch.stack(self.accepted).mean())
        same = float(torch.stack(self.same).float().mean())
        endless = 1 / (1 - accepted) if accepted < 1 else float("inf")
        return {
            "accepted": round(accepted, 3),
            "same_best": round(same, 3),
            "tokens_per_pass": round(endless, 2),
        }


@torch.inference_mode()
def main() -> None:
    """Sample, compare, print and write one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    engine = sepcli.load(PRIOR, engine="lass", device="cpu").engine
    if not isinstance(engine, LassEngine) or engine.context is None:
        raise SystemExit("the bundled prior is of another kind")
    prior = Recorded(engine.prior)
    song, rate = soundfile.read(SONG, dtype="float32", always_2d=True)
    length = round(options.seconds * rate)
    starts = torch.linspace(0, len(song) - length, options.windows).long().tolist()
    mono = torch.from_numpy(song).mean(1)
    mixtures = torch.stack([mono[start : start + length] for start in starts])[:, None]
    counts = engine.context.counts
    compared = Comparing(prior, (counts / counts.sum(-1, keepdim=True)).log())
    watched = replace(engine, prior=prior, sampler=compared)  # type: ignore[arg-type]
    watched.hypotheses(mixtures, torch.arange(options.windows)[:, None])
    report = {"windows": options.windows, "seconds": options.seconds, **compared.figures()}
    print(json.dumps(report, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
