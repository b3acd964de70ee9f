"""The contracts: what a prior, a codec, a sampler and a separator are. Signatures only.

Letters, defined once: B batch, K sources, C channels, *D axes of the signal (time, or height and width), L
tokens, V vocabulary, W windows (the batch of a token sampler), H hypotheses (samples, beams) of one window, N
candidates of one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ProgressCallback = Callable[[int, int], None]
"""Progress: called with (steps done, steps in all)."""


class Codec(Protocol):
    """Signals to tokens and back."""

    @property
    def vocabulary(self) -> int:
        """V, the number of codes."""

    def encode(self, signal: Tensor) -> Tensor:
        """Signals (B, C, *D) to tokens (B, L), int64."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) to signals (B, C, *D)."""

    def latents(self, signal: Tensor) -> Tensor:
        """Signals (B, C, *D) to what ``encode`` quantizes, (B, L, D), up to a factor per token."""

    def features(self, signal: Tensor) -> Tensor:
        """Signals (B, C, *D) to what the latents are a linear map of, (B, L, F)."""

    def project(self, features: Tensor) -> Tensor:
        """Features (B, L, F) to latents (B, L, D)."""

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents (B, L, D) to tokens (B, L), int64."""

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to their codes (..., D)."""

    def synthesise(self, codes: Tensor) -> Tensor:
        """Codes (B, L, D), of the codebook or not, to signals (B, C, *D), differentiable."""


class TokenPrior(Protocol):
    """p(z) = Π p(z_t | z_<t) over tokens, for rows of K sources side by side; a state is used once."""

    def start(self, rows: int) -> Any:
        """The state before the first token, for ``rows`` rows."""

    def step(self, state: Any, tokens: Tensor | None) -> tuple[Tensor, Any]:
        """Append tokens (R, K), nothing at first; return log-probabilities (R, K, V) of the next."""

    def select(self, state: Any, rows: Tensor) -> Any:
        """The state whose row i is row ``rows[i]`` of ``state``."""

    def log_prob(self, tokens: Tensor) -> Tensor:
        """log p of tokens (R, K, L) in nats, summed over the sources: (R,), float32."""


class Candidates(NamedTuple):
    """Candidates of the next step: shared by the hypotheses of a window, scored per hypothesis."""

    tokens: Tensor
    """(W, N, K) int64: one joint token, that is one token per source."""
    log_prob: Tensor
    """(W, H, N): log posterior given each hypothesis' past, up to a constant; -inf in padding."""


class TokenPosterior(Protocol):
    """p(z | m) ∝ p(m | z) p(z), step by step. It is all that a token sampler sees."""

    @property
    def windows(self) -> int:
        """W, the number of independent sequences."""

    @property
    def length(self) -> int:
        """L, the number of steps."""

    def start(self, hypotheses: int) -> Any:
        """The state before the first step, with H hypotheses for every window."""

    def step(self, state: Any, tokens: Tensor | None) -> tuple[Candidates, Any]:
        """Append joint tokens (W, H, K), nothing at first; return what may come next and the new state."""

    def select(self, state: Any, parents: Tensor) -> Any:
        """Reorder: hypothesis h of window w continues from hypothesis ``parents[w, h]`` ((W, H'), int64)."""


class ScorePrior(Protocol):
    """p(x) of K sources side by side, seen through noise: p_σ = p * N(0, σ² I)."""

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, *D) for σ (), in the units of x; of the shape of x."""


class DenoisingPrior(ScorePrior, Protocol):
    """A prior that may also provide the posterior variance of the clean sources."""

    @property
    def has_variance(self) -> bool:
        """Whether ``moments`` provides the variance."""

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the clean sources given x, each like x; PriorError without
        ``has_variance``."""


class DensityPrior(Protocol):
    """p(x) of K sources side by side, itself."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p of x (B, K, C, *D) in nats, in the units of x; (B,)."""


class Mixing(Protocol):
    """A linear mixing operator A, m = A x."""

    def __call__(self, sources: Tensor) -> Tensor:
        """Sources (B, K, C, *D) to mixtures (B, C, *D)."""

    def adjoint(self, residual: Tensor) -> Tensor:
        """Aᵀr: residuals (B, C, *D) to (B, K, C, *D), so that ⟨A x, r⟩ = ⟨x, Aᵀ r⟩."""


class Posterior(Protocol):
    """p_σ(x | m) in whatever coordinates suit it. It is all that a sampler of signals sees."""

    @property
    def like(self) -> Tensor:
        """An empty tensor of the state's shape (B, ...), type and device."""

    @property
    def start(self) -> Tensor:
        """The mean of the initial state, to which a sampler adds noise; of the state's shape."""

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ(state | m) for σ (), of the state's shape."""

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score, and the misfit ‖m - A D‖²/σ² (B,) of the prior's estimates D; or (B, F), one
        per position of the last axis, if distant positions are decided independently."""

    def sources(self, state: Tensor) -> Tensor:
        """The sources (B, K, C, *D) that a state stands for."""


class Twisted(NamedTuple):
    """Both estimates of clean sources given a noisy state, and a guess of the mixture's likelihood."""

    estimate: Tensor
    """h, the mean given the mixture; of the state's shape."""
    prior_estimate: Tensor
    """D, the mean without it."""
    log_potential: Tensor
    """log p̃(m | state) (B,), up to a constant."""


class TwistedPosterior(Posterior, Protocol):
    """A posterior given a mixture with noise, whose prior is seen beside it."""

    def twisted(self, state: Tensor, sigma: Tensor) -> Twisted:
        """Estimates at a state for σ ()."""


class Sampler(Protocol):
    """Follows the score of a posterior from noise to a sample."""

    @property
    def evaluations(self) -> int:
        """The number of evaluations of the score per sample."""

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Return a final state, like ``posterior.like``, for seeds (B,) int64; item b depends on seed b only.

        Progress is reported after every evaluation.
        """


@runtime_checkable
class FittingEngine(Protocol):
    """An engine that measures how well its priors explain separated sources."""

    def denoising_energies(self, mixture: Tensor, sources: Tensor, sigma: float, seeds: Tensor) -> Tensor:
        """Energies (B, 2) of the denoising error of sources (B, K, C, *D) and of mixtures (B, C, *D).

        The noise has the standard deviation ``sigma``, in the units of the priors; see
        ``sepcli.separation.fit``.
        """


class Engine(Protocol):
    """Samples the sources of mixtures; ``sepcli.separation.separator.Separator`` is the class around it.

    Score priors, LASS, variational encoders and baselines are engines.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """K names, in the order of the sources."""

    @property
    def weights(self) -> tuple[float, ...]:
        """The α_k of the mixing m = Σ α_k x_k."""

    @property
    def sample_rate(self) -> int:
        """Hz of the mixtures; 0 for images."""

    @property
    def channels(self) -> int | None:
        """C of the mixtures; None: any."""

    @property
    def hop(self) -> int | None:
        """Samples of a frame, for engines whose noise may be fixed in time; None: it may not.

        Their seeds may also be (B, S, Z), one for each of Z equal parts of the mixture, whole numbers of
        frames: overlapping windows that share a part and its seed get the same noise there, and agree.
        """

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per source of a sample; 0 if there is no prior."""

    @property
    def density(self) -> DensityPrior | None:
        """The prior, if it is a density; None otherwise."""

    @property
    def device(self) -> torch.device:
        """The device of the prior."""

    @property
    def interference_trained(self) -> bool:
        """Whether all priors extract their target from a mixture: estimates are better than masks of them."""

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw samples (B, S, K, C, *D) on the CPU of the K unweighted sources of mixtures (B, C, *D).

        The seeds are (B, S) int64, one per item and sample, or (B, S, Z), see ``hop``; the samples of an item
        depend on its seeds only.
        """

    def log_prior(self, sources: Tensor) -> Tensor | None:
        """Log prior of sources (B, K, C, *D), (B,) in nats up to a constant; None: unknown."""

    def describe(self) -> dict[str, Any]:
        """Engine, sampler (None if there is none), typed settings that run, and device; JSON-ready."""
