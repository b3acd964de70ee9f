"""VQ-GAN's two stages: what taming-transformers computes with the same weights, and the cache."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from released_vqgan import CLASSES, CODEC, GPT, OUTPUTS, RENAMES, first_stage, inputs, second_stage

from sepcli.errors import UsageError
from sepcli.priors.lass import codebook
from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.vqgan import Vqgan, VqganConfig

CLOSE = {"atol": 2e-5, "rtol": 1e-4}
CLASSED = replace(GPT, sources=("image", *map(str, range(CLASSES))), unconditional=False)


def codec() -> Vqgan:
    made = Vqgan(CODEC)
    made.load_state_dict({RENAMES.get(name, name): tensor for name, tensor in first_stage().items()})
    return made.eval()


def prior(config: GptConfig = GPT) -> GptPrior:
    made = GptPrior(config)
    made.load_state_dict({n: t for n, t in second_stage().items() if not n.endswith("mask")})
    return made.eval()


@torch.inference_mode()
def test_codes_images_and_logits_are_those_of_the_original() -> None:
    found = {name: torch.tensor(values) for name, values in json.loads(OUTPUTS.read_text()).items()}
    (images, begin), made = inputs(), codec()
    tokens = made.encode(images)
    assert torch.equal(tokens, found["tokens"].long())
    decoded = (0.5 * found["decoded"] + 0.5).clamp(0.0, 1.0)
    torch.testing.assert_close(made.decode(tokens)[:, :, ::3, ::3], decoded, **CLOSE)
    of_class = prior(CLASSED).logits(tokens, begin + 1)
    torch.testing.assert_close(of_class[:, ::5], found["logits"], **CLOSE)
    plain = prior().logits(tokens[:1], torch.tensor([0]))  # as of the first class
    torch.testing.assert_close(plain[:, ::5], found["logits"][:1], **CLOSE)


@torch.inference_mode()
def test_the_cache_and_branches_change_nothing() -> None:
    model = prior(CLASSED).of((1, 3))
    z = torch.randint(0, CODEC.vocabulary, (3, 2, 6), generator=torch.Generator().manual_seed(0))
    state, last, path = model.start(3), None, []
    rows = torch.tensor([0, 1, 2])
    for t in range(6):
        log_prob, state = model.step(state, last)
        path.append(log_prob[rows.argsort()])
        if t == 2:  # the rows go on in another order
            rows = torch.tensor([2, 0, 1])
            state = model.select(state, rows)
        last = z[rows, :, t]
    stepped = torch.stack(path, dim=2)
    source = torch.tensor([1, 3]).repeat(3)
    whole = model.logits(z.flatten(0, 1), source).log_softmax(-1).view_as(stepped)
    torch.testing.assert_close(stepped, whole, **CLOSE)
    total = whole.gather(-1, z[..., None]).sum((1, 2, 3))
    torch.testing.assert_close(model.log_prob(z), total, **CLOSE)
    torch.testing.assert_close(model.log_prob(z[1:2]), total[1:2], **CLOSE)


def test_what_the_weights_do_not_cover_is_refused() -> None:
    model = prior(CLASSED)
    with pytest.raises(UsageError) as raised:
        model.of((0, 1))
    assert raised.value.argument == "labels"
    with pytest.raises(UsageError):
        prior().logits(torch.zeros(1, GPT.context + 1, dtype=torch.int64), torch.tensor([0]))
    for wrong in ({"heads": 3}, {"context": 0}, {"sources": "image"}, {"unconditional": False}):
        with pytest.raises(ValueError, match=r"dimensions|classes"):
            replace(GPT, **wrong)  # type: ignore[arg-type]
    for codec_wrong in ({"size": (15, 16)}, {"multiples": ()}, {"residuals": -1}):
        with pytest.raises(ValueError, match=r"patches|levels"):
            replace(CODEC, **codec_wrong)  # type: ignore[arg-type]


@torch.inference_mode()
def test_codec_and_search_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, (images, _) = codec(), inputs()
    tokens, points = made.encode(images), torch.randn(50, 8)
    found = codebook.nearest(points, made.quantizer.codebook)
    assert torch.equal(found, torch.cdist(points, made.quantizer.codebook).argmin(-1))
    monkeypatch.setattr(codebook, "AT_ONCE", 5 * len(made.quantizer.codebook))
    assert torch.equal(codebook.nearest(points, made.quantizer.codebook), found)
    assert torch.equal(torch.cat([made.encode(image[None]) for image in images]), tokens)


def test_the_published_sizes() -> None:
    assert (VqganConfig().tokens, VqganConfig().grid) == (256, (16, 16))
    with torch.device("meta"):
        model = GptPrior(GptConfig(16384, ("image", *map(str, range(1000))), unconditional=False))
    assert 1.3e9 < sum(p.numel() for p in model.parameters()) < 1.5e9
