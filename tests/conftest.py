"""What several rooms' tests share: small priors that are built at once, a small data set to train on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: workers of pytest-xdist share the cores

import hypothesis
import numpy as np
import pytest
import soundfile
import torch

hypothesis.settings.register_profile("untimed", deadline=None)  # how fast a machine is proves nothing
hypothesis.settings.load_profile("untimed")

if TYPE_CHECKING:
    from hub_server import Hub

    from sepcli.priors.images.denoiser import DenoiserConfig
    from sepcli.priors.images.glow import GlowConfig

TINY_RATE = 4000


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LASS prior of untrained networks with a counted table; copy it before changing it.

    Its sources are drums and bass, its rate 4 kHz, its windows 0.4 s long: 25 tokens.
    """
    from sepcli.catalog import card as cards
    from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
    from sepcli.priors.lass.table_job import encode
    from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
    from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
    from sepcli.training.loop import write_weights

    folder = tmp_path_factory.mktemp("priors") / "tiny"
    codec_config = Vqvae1dConfig(
        TINY_RATE,
        window=128,
        dim=16,
        encoder_dilations=(1,),
        decoder_dilations=(1,),
        vocabulary=32,
        code_dim=4,
    )
    prior_config = TransformerConfig(
        32, ("drums", "bass"), dim=16, layers=1, heads=2, head_dim=8, context=16, mlp_ratio=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec, prior = Vqvae1d(codec_config), TransformerPrior(prior_config)
        noise = 0.1 * torch.randn(8, 2, 64 * 128)
    for name, network, config in (("codec", codec, codec_config), ("transformer", prior, prior_config)):
        (folder / name).mkdir(parents=True)
        write_weights(network, folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(asdict(config)))
    counter = TripleCounter(32)
    counter.add(*encode(codec.eval(), noise[:, :, None], (0.5, 0.5)))
    (folder / "table").mkdir()
    digest = cards.sha256(folder / "codec" / "model.safetensors")
    LikelihoodTable.of(counter, digest).save(folder / "table" / "table.safetensors")
    stream = {"window": 0.4, "overlap": 0.1, "batch": 4}
    card = cards.Card(
        name="tiny",
        medium="audio",
        engine="lass",
        sources=("drums", "bass"),
        weights=(0.5, 0.5),
        sample_rate=TINY_RATE,
        settings={"lass": {"lam": 1.0}},
        stream=stream,
    )
    cards.write(cards.with_files(card, folder), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_slakh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in Slakh2100's layout: sines as bass, bursts of noise as drums, 4 s each, at 22,050 Hz."""
    root = tmp_path_factory.mktemp("slakh")
    rate, rng = 22050, np.random.default_rng(0)
    seconds = np.arange(4 * rate) / rate
    for split, track, hertz in (("train", 1, 80), ("train", 2, 120), ("validation", 3, 100)):
        folder = root / split / f"Track{track:05d}"
        (folder / "stems").mkdir(parents=True)
        bass = 0.4 * np.sin(2 * np.pi * hertz * seconds)
        drums = 0.4 * rng.standard_normal(len(seconds)) * np.exp(-20 * (seconds % 0.25))
        soundfile.write(folder / "stems" / "S00.flac", bass, rate)
        soundfile.write(folder / "stems" / "S01.flac", drums.clip(-1, 1), rate)
        (folder / "metadata.yaml").write_text(
            "audio_dir: stems\nstems:\n  S00: {inst_class: Bass, audio_rendered: true}\n"
            "  S01: {inst_class: Drums, audio_rendered: true}\n"
        )
    return root


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior of images, an untrained denoiser; copy it before changing it."""
    from sepcli.priors.images.denoiser import DenoiserConfig

    config = DenoiserConfig(size=(12, 12), widths=(8, 8), blocks=1, embedding=8, classes=("0-4", "5-9"))
    return _prior_of_images(tmp_path_factory.mktemp("priors") / "images", "digit", config)


@pytest.fixture(scope="session")
def tiny_colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior of 8 x 8 color images, an untrained denoiser; copy it before changing it."""
    from sepcli.priors.images.denoiser import DenoiserConfig

    config = DenoiserConfig(channels=3, size=(8, 8), widths=(8, 8), blocks=1, embedding=8)
    return _prior_of_images(tmp_path_factory.mktemp("priors") / "colors", "image", config)


@pytest.fixture(scope="session")
def tiny_flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior of gray images, an untrained flow; copy it before changing it."""
    from sepcli.priors.images.glow import GlowConfig

    config = GlowConfig(size=(28, 28), scales=1, steps=1, width=4, embedding=4)
    return _prior_of_images(tmp_path_factory.mktemp("priors") / "flow", "digit", config)


def _prior_of_images(folder: Path, source: str, config: DenoiserConfig | GlowConfig) -> Path:
    from sepcli.catalog import card as cards
    from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
    from sepcli.priors.images.glow import GlowPrior
    from sepcli.training.loop import write_weights

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = DenoiserPrior(config) if isinstance(config, DenoiserConfig) else GlowPrior(config)
        for parameter in prior.parameters():  # the last layers begin at zero
            parameter.data += 0.05 * torch.randn_like(parameter)
    part = folder / ("denoiser" if isinstance(config, DenoiserConfig) else "glow")
    part.mkdir(parents=True)
    write_weights(prior, part / "model.safetensors")
    (part / "config.json").write_text(json.dumps(asdict(config)))
    card = cards.Card(name=folder.name, medium="image", engine="score", sources=(source,))
    cards.write(cards.with_files(card, folder), folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server that this process takes for the Hugging Face Hub, with an empty cache in ``tmp_path/hf``."""
    from hub_server import as_the_hub

    with as_the_hub(tmp_path / "hf", monkeypatch) as server:
        yield server
