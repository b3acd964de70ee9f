"""Prior times likelihood, token by token: the posterior that a sampler follows to separate a mixture.

    log p(z_1, z_2 | z_<t, m) = Σ_k log p_k(z_k | z_k,<t) / T + λ log p(m_t | z_1, z_2) + const

to which κ log p(h_t | z_1, z_2) and Σ_k μ log p(c_t | z_k) may be added (``LatentTerm``, ``ContextTerm``).
Only the pairs that the likelihood table holds for the observed m_t are scored, so a step costs O(pairs of
the slice), never O(V²). Source: Postolache et al. 2023 (LASS), equations 3-5 and section "Inference"; they
use λ = 3 for music.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sepcli.errors import InputError, PriorError
from sepcli.priors.lass.context import ContextTerm
from sepcli.priors.lass.latent import LatentTerm
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.protocols import Candidates, TokenPrior

ROUND = 32
"""Candidate rows are padded to a multiple of this, so that reductions run over whole vectors."""


class LassState(NamedTuple):
    """The posterior's cache of W windows with H hypotheses each."""

    cache: Any
    """The prior's state of R = W · H rows, window by window."""
    position: int
    """t, the next step."""
    hypotheses: int
    """H."""


class _Slices(NamedTuple):
    """The observed candidates of all U distinct mixture codes."""

    first: Tensor
    """a (U, N), int64, rising with b; 0 in padding."""
    second: Tensor
    """b (U, N), int64."""
    log_lik: Tensor
    """λ log p(m | a, b) (U, N), float32; -inf in padding."""


class LassPosterior:
    """p(z_1, z_2 | m) over tokens, for W windows at once; fulfils ``TokenPosterior``.

    With ``shortlist`` 0 no hypothesis depends on another; with a shortlist, the candidates of a window depend
    on all its hypotheses (a code counts as likely if it is so for any).

    Args:
        prior: p(z_1, z_2) = p_1(z_1) p_2(z_2), with K = 2 sources side by side.
        table: p(m | z_1, z_2) over the same V codes.
        mixture: m (W, L), int64 in [0, V), on the device of the candidates.
        settings: powers, temperature and numbers of candidates.
        latent: term added to the table's log-likelihood.
        context: term added to the log-prior, per source.

    Raises:
        InputError: ``mixture`` is not two-dimensional, is empty, or has a token outside [0, V).
    """

    def __init__(
        self,
        prior: TokenPrior,
        table: LikelihoodTable,
        mixture: Tensor,
        settings: LassSettings | None = None,
        latent: LatentTerm | None = None,
        context: ContextTerm | None = None,
    ) -> None:
        if mixture.dim() != 2 or not mixture.numel():
            raise InputError(
                f"mixture tokens of shape {tuple(mixture.shape)} cannot be separated",
                "give windows of tokens, (W, L), and at least one of each",
            )
        if int(mixture.min()) < 0 or int(mixture.max()) >= table.vocabulary:
            raise InputError(
                f"a mixture token is outside 0 … {table.vocabulary - 1}",
                "encode with the codec that the likelihood table was counted for",
            )
        self._prior = prior
        self._vocabulary = table.vocabulary
        self._mixture = mixture
        self._settings = settings or LassSettings()
        self._table = table.to(mixture.device) if self._settings.shortlist else None
        self._read = table.support(mixture)
        codes, self._row = torch.unique(mixture, return_inverse=True)
        tokens, log_lik = table.candidates(codes, self._settings.max_candidates, ROUND)
        possible = log_lik > -torch.inf
        lengths = possible.sum(-1)[self._row].amax(0)
        self._width = (lengths + -lengths % ROUND).tolist()
        weighed = torch.where(possible, log_lik * self._settings.lam, -torch.inf)  # λ = 0: padding stays -inf
        first, second = (part.contiguous() for part in tokens.unbind(-1))
        self._slices = _Slices(first, second, weighed)
        self._latent, self._context = latent, context
        if latent is not None:
            latent.prepare(first, second)

    @property
    def windows(self) -> int:
        """W."""
        return self._mixture.shape[0]

    @property
    def length(self) -> int:
        """L."""
        return self._mixture.shape[1]

    def start(self, hypotheses: int) -> LassState:
        """Return the state before the first step, with H hypotheses for every window."""
        return LassState(self._prior.start(self.windows * hypotheses), 0, hypotheses)

    def step(self, state: LassState, tokens: Tensor | None) -> tuple[Candidates, LassState]:
        """Append joint tokens (W, H, 2), None at first; return the next candidates and the new state.

        Raises:
            PriorError: the prior is not over two sources of the table's V codes.
        """
        rows = None if tokens is None else tokens.reshape(-1, 2)
        log_prior, cache = self._prior.step(state.cache, rows)
        if log_prior.shape[1:] != (2, self._vocabulary):
            shape = tuple(log_prior.shape[1:])
            raise PriorError(
                f"the prior covers {shape} (sources, codes), not {(2, self._vocabulary)}",
                "use a prior and a likelihood table of the same codec",
            )
        log_prior = log_prior.float().view(self.windows, state.hypotheses, 2, self._vocabulary)
        if self._settings.temperature != 1.0:
            log_prior = log_prior / self._settings.temperature
        if self._context is not None:  # a factor per source, as the prior
            log_prior = log_prior + self._context.at(state.position)[:, None]
        slices = self._observed(state.position)
        if self._table is not None:
            slices = self._join(slices, log_prior.amax(1), self._table, state.position)
        pairs = torch.stack([slices.first, slices.second], dim=-1)
        shape = (-1, state.hypotheses, -1)
        log_posterior = log_prior[:, :, 0].gather(2, slices.first[:, None].expand(shape))
        log_posterior += log_prior[:, :, 1].gather(2, slices.second[:, None].expand(shape))
        log_posterior += slices.log_lik[:, None]
        return Candidates(pairs, log_posterior), state._replace(cache=cache, position=state.position + 1)

    def select(self, state: LassState, parents: Tensor) -> LassState:
        """Continue hypothesis h of window w from hypothesis ``parents[w, h]`` ((W, H'), int64)."""
        base = torch.arange(self.windows, device=parents.device)[:, None] * state.hypotheses
        cache = self._prior.select(state.cache, (base + parents).reshape(-1))
        return state._replace(cache=cache, hypotheses=parents.shape[1])

    def _observed(self, position: int) -> _Slices:
        """The table's candidates at one step, (W, N) each."""
        row, width = self._row[:, position], self._width[position]
        slices = _Slices(*(part[:, :width].index_select(0, row) for part in self._slices))
        if self._latent is None:
            return slices
        return slices._replace(log_lik=slices.log_lik + self._latent.prepared(row, width, position))

    def _join(self, observed: _Slices, log_prior: Tensor, table: LikelihoodTable, position: int) -> _Slices:
        """Add the shortlist, the best codes of each prior (W, 2, V) crossed; observed pairs get -inf."""
        read = self._read[:, position]  # -1 where the mixture code is uninformative
        best = log_prior.topk(min(self._settings.shortlist, self._vocabulary), dim=-1).indices
        codes = best.sort(dim=-1).values  # neighbors are looked up faster
        a, b, m = codes[:, 0, :, None], codes[:, 1, None], read[:, None, None]
        log_lik = table.log_likelihood(a, b, m.clamp(min=0)).masked_fill_(m < 0, 0.0).flatten(1)
        log_lik = log_lik * self._settings.lam
        if self._latent is not None:
            log_lik = log_lik + self._latent.fresh(codes[:, 0], codes[:, 1], position)
        r = codes.shape[-1]
        a, b = (part.expand(-1, r, r).flatten(1) for part in (a, b))
        keys = observed.first * self._vocabulary + observed.second
        keys.masked_fill_(observed.log_lik == -torch.inf, self._vocabulary**2)
        pair = a * self._vocabulary + b
        at = torch.searchsorted(keys, pair).clamp_(max=keys.shape[1] - 1)
        fresh = torch.where(keys.gather(1, at) == pair, -torch.inf, log_lik)
        return _Slices(*(torch.cat(two, dim=1) for two in zip(observed, (a, b, fresh), strict=True)))
