"""What every codec obeys; a new codec is a new row of ``CODECS``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.protocols import Codec


def vqvae1d() -> tuple[Codec, torch.Tensor]:
    torch.manual_seed(0)
    sizes = {"dim": 16, "encoder_dilations": (1, 2), "decoder_dilations": (1,), "code_dim": 4}
    return Vqvae1d(Vqvae1dConfig(8000, hop=16, window=64, vocabulary=24, **sizes)).eval(), torch.randn(
        3, 1, 160
    )


def vqvae2d() -> tuple[Codec, torch.Tensor]:
    torch.manual_seed(0)
    config = Vqvae2dConfig(3, (8, 12), widths=(8, 8), layers=1, vocabulary=24, code_dim=4)
    return Vqvae2d(config).eval(), torch.rand(3, 3, 8, 12)


CODECS: dict[str, Callable[[], tuple[Codec, torch.Tensor]]] = {"vqvae1d": vqvae1d, "vqvae2d": vqvae2d}
"""Name → a codec, and three signals of whole tokens."""


@pytest.fixture(params=CODECS.values(), ids=CODECS.keys())
def case(request: pytest.FixtureRequest) -> tuple[Codec, torch.Tensor]:
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        found: tuple[Codec, torch.Tensor] = request.param()
    return found


@torch.inference_mode()
def test_tokens_are_whole_numbers_in_the_vocabulary(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    z = codec.encode(x)
    assert z.dtype == torch.int64
    assert z.dim() == 2
    assert len(z) == len(x)
    assert 0 <= int(z.min()) <= int(z.max()) < codec.vocabulary


@torch.inference_mode()
def test_signals_of_whole_tokens_keep_their_shape(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    decoded = codec.decode(codec.encode(x))
    assert decoded.shape == x.shape
    assert decoded.dtype == torch.float32
    assert bool(torch.isfinite(decoded).all())


@torch.inference_mode()
def test_every_token_can_be_decoded(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    length = codec.encode(x).shape[1]
    z = torch.arange(codec.vocabulary)[:, None].expand(-1, length)
    assert codec.decode(z).shape == (codec.vocabulary, *x.shape[1:])


@torch.inference_mode()
def test_nothing_is_random_and_nothing_is_changed(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    before = x.clone()
    z = codec.encode(x)
    assert torch.equal(z, codec.encode(x))
    assert torch.equal(codec.decode(z), codec.decode(z))
    assert torch.equal(x, before)


@torch.inference_mode()
def test_items_do_not_depend_on_their_batch(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    z = codec.encode(x)
    assert torch.equal(z[2:], codec.encode(x[2:]))
    torch.testing.assert_close(codec.decode(z)[2:], codec.decode(z[2:]), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_latents_are_an_affine_map_of_the_features(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    features, latents = codec.features(x), codec.latents(x)
    assert features.dim() == 3
    assert features.shape[:2] == latents.shape[:2] == codec.encode(x).shape
    known, wanted = (t.flatten(0, 1).double() for t in (features, latents))
    ones = torch.ones(len(known), 1, dtype=known.dtype)
    fitted = torch.cat([known, ones], 1)
    assert len(fitted) > fitted.shape[1]  # so that a fit is no matter of course
    found = fitted @ torch.linalg.lstsq(fitted, wanted, driver="gelsd").solution
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_decoding_is_synthesis_of_the_codes(case: tuple[Codec, torch.Tensor]) -> None:
    codec, x = case
    z = codec.encode(x)
    codes = codec.lookup(z)
    assert codes.shape == codec.latents(x).shape
    assert torch.equal(codec.synthesise(codes), codec.decode(z))
