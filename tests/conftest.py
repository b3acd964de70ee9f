"""What several rooms' tests share: small priors that are built at once, a small data set to train on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: workers of pytest-xdist share the cores

import hypothesis
import numpy as np
import pytest
import soundfile

hypothesis.settings.register_profile("untimed", deadline=None)  # how fast a machine is proves nothing
hypothesis.settings.load_profile("untimed")

if TYPE_CHECKING:
    from hub_server import Hub


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LASS prior of untrained networks with a counted table; copy it before changing it.

    Its sources are drums and bass, its rate 4 kHz, its windows 0.4 s long: 25 tokens.
    """
    from tiny_priors import write_lass_prior

    return write_lass_prior(tmp_path_factory.mktemp("priors") / "tiny")


@pytest.fixture
def four_threads() -> Iterator[int]:
    """Four threads of PyTorch, whatever the machine has, in one test."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


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
    from tiny_priors import write_image_prior

    from sepcli.priors.images.denoiser import DenoiserConfig

    config = DenoiserConfig(size=(12, 12), widths=(8, 8), blocks=1, embedding=8, classes=("0-4", "5-9"))
    return write_image_prior(tmp_path_factory.mktemp("priors") / "images", "digit", config)


@pytest.fixture(scope="session")
def tiny_colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior of 8 x 8 color images, an untrained denoiser; copy it before changing it."""
    from tiny_priors import write_image_prior

    from sepcli.priors.images.denoiser import DenoiserConfig

    config = DenoiserConfig(channels=3, size=(8, 8), widths=(8, 8), blocks=1, embedding=8)
    return write_image_prior(tmp_path_factory.mktemp("priors") / "colors", "image", config)


@pytest.fixture(scope="session")
def tiny_flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior of gray images, an untrained flow; copy it before changing it."""
    from tiny_priors import write_image_prior

    from sepcli.priors.images.glow import GlowConfig

    config = GlowConfig(size=(28, 28), scales=1, steps=1, width=4, embedding=4)
    return write_image_prior(tmp_path_factory.mktemp("priors") / "flow", "digit", config)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server that this process takes for the Hugging Face Hub, with an empty cache in ``tmp_path/hf``."""
    from hub_server import as_the_hub

    with as_the_hub(tmp_path / "hf", monkeypatch) as server:
        yield server
