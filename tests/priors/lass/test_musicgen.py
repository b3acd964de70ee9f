"""MusicGen's codec and decoder through our classes: what the library itself computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_musicgen import CODEBOOKS, HOP, RATE, VOCABULARY, make_musicgen
from torch import Tensor

from sepcli.priors.lass.encodec import EncodecCodec, quantize
from sepcli.priors.lass.music_networks import EncodecSizes, MusicgenSizes
from sepcli.priors.lass.musicgen import MusicgenPrior, MusicgenPriors, delayed, undelayed

FRAMES = 7


@pytest.fixture(scope="module")
def released() -> Any:
    return make_musicgen(seed=3).requires_grad_(False)


@pytest.fixture
def codec(released: Any) -> EncodecCodec:
    sizes = EncodecSizes(
        *(
            RATE,
            (2.4,),
            (5, 4),
            2,
            4,
            VOCABULARY,
            1,
            1,
            7,
            3,
            3,
            2,
            2,
            False,
            "reflect",
            1.0,
            True,
            "weight_norm",
        )
    )
    return EncodecCodec(released.audio_encoder, sizes, CODEBOOKS)


@pytest.fixture
def prior(released: Any) -> MusicgenPrior:
    return MusicgenPrior(
        released.decoder, MusicgenSizes(VOCABULARY, CODEBOOKS, 8, 2, 2, 16, 48, "gelu", False)
    )


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(VOCABULARY, (2, CODEBOOKS, FRAMES), generator=torch.Generator().manual_seed(0))


def noise(*shape: int) -> Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("samples", [1, HOP, HOP + 1, 500])
def test_codes_and_reconstructions_are_the_librarys(codec: EncodecCodec, released: Any, samples: int) -> None:
    signal = noise(2, 1, samples)
    theirs = released.audio_encoder(signal)
    tokens = codec.encode(signal)
    assert torch.equal(tokens, theirs.audio_codes[0])
    assert tokens.shape == (2, CODEBOOKS, -(-samples // HOP))
    assert samples < HOP * 3 or len(tokens.unique()) > VOCABULARY // 2
    torch.testing.assert_close(codec.decode(tokens)[..., :samples], theirs.audio_values)


def test_variances_are_of_what_each_level_leaves(codec: EncodecCodec) -> None:
    latents = codec.latents(noise(2, 1, 400))
    tokens, variances = quantize(latents, codec.codes)
    rest = latents
    for level in range(CODEBOOKS):
        rest = rest - codec.codes[level][tokens[:, level]]
        torch.testing.assert_close(variances[:, level], rest.square().mean((1, 2)))
    assert torch.equal(quantize(latents[:1], codec.codes)[1], variances[:1])
    _, none = quantize(torch.zeros_like(latents), torch.zeros_like(codec.codes))
    assert bool((none > 0).all())


def test_the_delay_pattern_is_the_librarys(released: Any, tokens: Tensor) -> None:
    decoder, length = released.decoder, FRAMES + CODEBOOKS
    begun = torch.cat([torch.full_like(tokens[..., :1], VOCABULARY), tokens], dim=-1)
    _, mask = decoder.build_delay_pattern_mask(
        begun.flatten(0, 1), pad_token_id=VOCABULARY, max_length=length
    )
    laid = delayed(tokens, VOCABULARY)
    assert torch.equal(laid.flatten(0, 1), mask)
    assert torch.equal(undelayed(laid[..., 1:]), tokens)


def test_logits_are_the_librarys_unconditional_ones(
    prior: MusicgenPrior, released: Any, tokens: Tensor
) -> None:
    laid = delayed(tokens, VOCABULARY)[..., :-1]
    nothing = released.get_unconditional_inputs(num_samples=2)
    theirs = released(
        encoder_outputs=nothing.encoder_outputs,
        attention_mask=nothing.attention_mask,
        decoder_input_ids=laid.flatten(0, 1),
    ).logits
    expected = undelayed(theirs.view(*laid.shape, -1)).log_softmax(-1)
    ours = prior.log_probs(tokens)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert float(ours.std()) > 0.1
    picked = sum(
        expected[:, q, t, :].gather(-1, tokens[:, q, t, None])[:, 0]
        for q in range(CODEBOOKS)
        for t in range(FRAMES)
    )
    torch.testing.assert_close(prior.log_prob(tokens), picked, atol=1e-4, rtol=1e-4)


def test_steps_with_a_cache_give_the_same_as_one_pass(prior: MusicgenPrior, tokens: Tensor) -> None:
    laid, whole = delayed(tokens, VOCABULARY), prior.log_probs(tokens)
    other = MusicgenPrior(make_musicgen(seed=4).decoder, prior.sizes)
    priors = MusicgenPriors((prior, other, prior))
    caches = priors.start()
    with torch.inference_mode():
        for step in range(FRAMES + CODEBOOKS - 1):
            column = laid[..., step]
            found = priors.step(caches, torch.stack([column, column, column.flip(0)], dim=1))
            for level in range(CODEBOOKS):
                if 0 <= step - level < FRAMES:
                    expected = whole[:, level, step - level]
                    torch.testing.assert_close(found[:, 0, level], expected, atol=1e-5, rtol=1e-4)
                    torch.testing.assert_close(found[:, 2, level], expected.flip(0), atol=1e-5, rtol=1e-4)
                    assert not torch.allclose(found[:, 1, level], expected, atol=1e-2)
    assert len(caches) == 2
    side = priors.log_prob(tokens[:, None].expand(-1, 3, -1, -1))
    torch.testing.assert_close(side, 2 * prior.log_prob(tokens) + other.log_prob(tokens))


def test_greedy_generation_is_the_librarys(prior: MusicgenPrior, codec: EncodecCodec, released: Any) -> None:
    steps = FRAMES + CODEBOOKS - 1
    nothing = released.get_unconditional_inputs(num_samples=1)
    theirs = released.generate(**nothing, max_new_tokens=steps, do_sample=False)
    laid, cache = torch.full((1, CODEBOOKS, steps + 1), VOCABULARY), prior.start()
    free = delayed(torch.zeros(1, CODEBOOKS, FRAMES, dtype=torch.int64), VOCABULARY) == 0
    with torch.inference_mode():
        for step in range(steps):
            likeliest = prior.step(cache, laid[..., step]).argmax(-1)
            laid[..., step + 1] = torch.where(free[..., step + 1], likeliest, VOCABULARY)
    tokens = undelayed(laid[..., 1:])
    assert len(tokens.unique()) > 2
    torch.testing.assert_close(codec.decode(tokens), theirs, atol=1e-6, rtol=1e-4)
