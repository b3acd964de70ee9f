"""``sepcli import-prior --family imagegpt``: tokens and logits of the original, and from folder to images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from released_imagegpt import COLORS, OUTPUTS, SIDE, images, palette, save_released

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.priors.lass.load import load_codec, load_transformer


def imported(folder: Path, out: Path, *more: str) -> int:
    return run(["import-prior", str(folder), "--family", "imagegpt", "-o", str(out), *more])


@torch.inference_mode()
@pytest.mark.parametrize("pickled", [False, True])
def test_tokens_and_logits_are_those_of_the_original(pickled: bool, tmp_path: Path) -> None:
    assert imported(save_released(tmp_path / "hub", pickled), tmp_path / "prior") == 0
    prior = tmp_path / "prior"
    codec, _ = load_codec(prior, cards.read(prior))
    network = load_transformer(prior)
    found = {name: torch.tensor(values) for name, values in json.loads(OUTPUTS.read_text()).items()}
    tokens = codec.encode(images())
    assert torch.equal(tokens, found["tokens"].long())
    logits = network.logits(tokens, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(logits[:, ::3], found["logits"], atol=2e-5, rtol=1e-4)
    both = network.of((0, 0))
    state, last = both.start(1), None
    for t in range(4):
        log_prob, state = both.step(state, last)
        torch.testing.assert_close(log_prob[0], logits[:, t].log_softmax(-1), atol=2e-5, rtol=1e-4)
        last = tokens[None, :, t]
    decoded = codec.decode(tokens).permute(0, 2, 3, 1)
    torch.testing.assert_close(decoded.flatten(1, 2), 0.5 * palette()[tokens] + 0.5)


def test_from_a_folder_of_the_hub_to_two_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub, prior, data = save_released(tmp_path / "hub"), tmp_path / "prior", tmp_path / "data"
    assert imported(hub, prior, "--sources", "photo") == 0
    told = capsys.readouterr().out
    assert all(part in told for part in ("16 pixels", "12 colors", "build-likelihood"))
    assert imported(hub, prior) == 1
    assert imported(hub, prior, "--overwrite", "--json", "--sources", "photo") == 0
    capsys.readouterr()
    data.mkdir()
    for n in range(12):
        pixels = np.random.default_rng(n).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(data / f"{n}.png")
    assert run(["build-likelihood", "--prior", str(prior), "--data", str(data), "--tokens", "500", "-q"]) == 0
    words = ["separate", str(data / "0.png"), "--prior", str(prior), "-o", str(tmp_path / "out"), "-q"]
    assert run([*words, "--device", "cpu"]) == 0
    assert (tmp_path / "out" / "0" / "photo-2.png").is_file()


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"model_type": "gpt2"}, "model_type"),
        ({"n_inner": 20}, "n_inner"),
        ({"activation_function": "gelu"}, "activation_function"),
        ({"n_embd": 3, "n_head": 2}, "heads"),
        ({"n_positions": 15}, "hub"),
        ({"n_layer": 3}, "missing"),
        ({"vocab_size": COLORS}, "colors"),
    ],
)
def test_other_networks_are_refused(
    changes: dict[str, object], subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(save_released(tmp_path / "hub", **changes), tmp_path / "prior") == 1
    assert subject in capsys.readouterr().err
    assert not (tmp_path / "prior" / "card.toml").exists()


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = save_released(tmp_path / "hub")
    assert imported(hub, tmp_path / "prior", "--size", "4") == 2
    (hub / "preprocessor_config.json").unlink()
    assert imported(hub, tmp_path / "prior") == 1
    assert "preprocessor_config.json" in capsys.readouterr().err
    (hub / "model.safetensors").write_bytes(b"no")
    (hub / "preprocessor_config.json").write_text('{"clusters": [[0, 0, 0]]}')
    assert imported(hub, tmp_path / "prior") == 1
    (hub / "model.safetensors").unlink()
    assert imported(hub, tmp_path / "prior") == 1
    assert "pytorch_model.bin" in capsys.readouterr().err
