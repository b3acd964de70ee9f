"""The weights of a mixture Σ w_k x_k where several doors may state them: one rule for all."""

from __future__ import annotations

from collections.abc import Sequence


def mixing_weights(
    given: Sequence[float] | None, card_weights: Sequence[float], *, images: bool, sources: int
) -> tuple[float, ...]:
    """Return the weights of a mixture: the argument, else the card's, else 1/K each (images) or 1 (audio).

    Those of cards, in order, count only if there is one per source: a card of one image has the placeholder
    1, which does not say how several are mixed.
    """
    if given is not None:
        return tuple(given)
    if len(card_weights) == sources:
        return tuple(card_weights)
    return (1.0 / sources if images else 1.0,) * sources


def image_scale(weights: Sequence[float]) -> float:
    """Return K/Σ|w_k|, the factor that brings the mean size of the weights of an image mixture to 1.

    Samplers and likelihoods of images have noise levels for sums of sources in [0, 1]; only the ratios of the
    weights count.
    """
    return len(weights) / (sum(map(abs, weights)) or 1.0)  # zeros are for the posterior to refuse
