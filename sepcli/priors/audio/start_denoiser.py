"""Training of a denoiser from the weights of a trained one, as a whole or as a difference of low rank."""

from __future__ import annotations

from dataclasses import replace

from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.verified import verified
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.load_denoisers import PART, load_mdct_denoiser
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.options import DenoiserOptions
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.select import is_single
from sepcli.priors.start import another_network, check_part
from sepcli.training.adapters import add_adapters

BASE = "settings.base"


def start_from(wanted: SpectralConfig, init: str) -> SpectralPrior:
    """Return the network of a trained prior, to be trained further with the noise of ``wanted``.

    The standard deviations of the bands belong to its weights and are kept. A network of the lowest bands is
    kept or, where it is wanted, added.

    Raises:
        PriorError: there is no such prior, it is damaged, or of another network.
    """
    card, before = _load(init, "init")
    low = before.config.low or wanted.low
    config = replace(
        before.config,
        low=low,
        p_mean=wanted.p_mean,
        p_std=wanted.p_std,
        interference_trained=wanted.interference_trained,
    )
    if replace(config, band_std=wanted.band_std) != replace(wanted, low=low):
        raise another_network(card)
    started = SpectralPrior(config)
    started.load_state_dict(before.state_dict(), strict=low == before.config.low)
    return started


def train_difference(network: SpectralPrior, options: DenoiserOptions, init: str) -> dict[str, str]:
    """Let only a difference of rank ``options.rank`` be trained of every matrix, if it is not 0.

    Args:
        network: started from the weights of ``init``; its matrices become factors.
        options: rank, and the base, by default ``init``.
        init: a trained prior.

    Returns:
        The hash of the weights of the base, of which a checkpoint has the difference alone.

    Raises:
        PriorError: there is no such base, it is damaged, or of another network.
        UsageError: the rank is too large for any of the matrices.
    """
    if not options.rank:
        return {}
    card, before = _load(options.base or init, BASE)
    base = before.state_dict()
    if {n: t.shape for n, t in base.items()} != {n: t.shape for n, t in network.state_dict().items()}:
        raise another_network(card, BASE)
    try:
        add_adapters(network, base, options.rank)
    except ValueError as error:
        raise UsageError(str(error), "choose a smaller rank", argument="settings.rank") from error
    return {"base_weights": card.files[f"{PART}/model.safetensors"].sha256}


def _load(prior: str, argument: str) -> tuple[Card, SpectralPrior]:
    """Return card and network of a prior of one source of audio, which an argument names."""
    card, folder = resolve.find(prior)
    if not is_single(card):
        several = "of several sources" if len(card.sources) > 1 else f"of the engine {card.engine}"
        raise PriorError(
            f"prior {card.name} is {several if card.medium == 'audio' else 'of images'}",
            "choose a denoiser of one source of audio",
            argument=argument,
        )
    check_part(card, PART, argument)
    return card, load_mdct_denoiser(verified(card, folder))
