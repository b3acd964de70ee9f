"""Small inputs that claim to be large: settings, headers, cards, configs, metadata. See ``test_trust.py``."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.datasets.idx import read_idx
from sepcli.datasets.metadata import read_yaml
from sepcli.datasets.slakh2100 import read_stems
from sepcli.errors import InputError, PriorError, UsageError
from sepcli.media.audio import AudioReader
from sepcli.priors.images.load import load_image_prior
from sepcli.priors.lass.settings import LassSettings
from sepcli.samplers import SAMPLERS, names
from sepcli.separation.settings import StreamSettings
from sepcli.settings import parse
from sepcli.signal import consistency


@pytest.fixture
def prior(tiny_images: Path, tmp_path: Path) -> Path:
    """A copy of a prior of images, to be changed."""
    return Path(shutil.copytree(tiny_images, tmp_path / "images"))


def settings_of() -> list[tuple[type, str]]:
    """Every setting that is a number."""
    kinds = [SAMPLERS[name].load() for domain in ("signal", "token") for name in names(domain)]
    return [
        (kind, key)
        for kind in dict.fromkeys([*kinds, StreamSettings, LassSettings])
        for key, field in kind.__dataclass_fields__.items()
        if field.init and any(number in str(field.type) for number in ("int", "float", "Power"))
    ]


@pytest.mark.parametrize(("kind", "key"), settings_of())
@pytest.mark.parametrize("value", [1e30, -1e30, float("nan"), float("inf")])
def test_every_setting_has_a_range(kind: type, key: str, value: float) -> None:
    with pytest.raises(UsageError, match=key):
        parse(kind, {key: value})


def test_a_card_does_not_widen_the_range_of_a_setting(
    prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.new("L", (12, 12), 90).save(tmp_path / "mix.png")
    card = cards.read(prior)
    (prior / "card.toml").write_text(
        (prior / "card.toml")
        .read_text()
        .replace("[files", "[settings.score]\nsteps = 1000000000\n\n[files", 1)
    )
    assert cards.read(prior).settings == {"score": {"steps": 10**9}}
    out = str(tmp_path / "out")
    assert run(["separate", str(tmp_path / "mix.png"), "--prior", str(prior), "-o", out]) in (2, 4)
    assert "steps" in capsys.readouterr().err
    cards.write(card, prior)
    for option, value in (("--samples", "1001"), ("--sources", "257")):
        assert (
            run(["separate", str(tmp_path / "mix.png"), "--prior", str(prior), "-o", out, option, value]) == 2
        )


@pytest.mark.parametrize(
    ("rate", "channels", "subject"),
    [(1, 1, "1 Hz"), (2**31 - 1, 1, "2,147,483,647 Hz"), (48000, 1024, "1,024 channels")],
)
def test_audio_of_an_impossible_layout_is_refused(
    tmp_path: Path, rate: int, channels: int, subject: str
) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, np.zeros((100, 1)), 8000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[22:36] = struct.pack("<HIIHH", channels, rate, min(rate * 2, 2**32 - 1), 2, 16)[:14]
    if channels > 1:
        soundfile.write(path, np.zeros((100, channels)), rate, subtype="PCM_16")
    else:
        path.write_bytes(data)
    with pytest.raises(InputError, match=subject):
        AudioReader(path)


def test_many_channels_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mix.wav"
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, (400, 40))
    soundfile.write(path, signal, 22050, subtype="FLOAT")
    with AudioReader(path) as reader:
        mixture = torch.from_numpy(reader.read(400))
    estimates = torch.stack([mixture[0], mixture[1]])[None]
    counts: list[int] = []
    original = torch.istft

    def counted(spectrum: torch.Tensor, **options: object) -> torch.Tensor:
        counts.append(len(spectrum) if spectrum.dim() > 2 else 1)
        return original(spectrum, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "istft", counted)
    stems = consistency.wiener(estimates, mixture, n_fft=64, hop=16)
    assert max(counts) <= 8
    alone = torch.cat([consistency.wiener(estimates, c[None], n_fft=64, hop=16) for c in mixture], dim=1)
    torch.testing.assert_close(stems, alone, rtol=0, atol=1e-6)  # spectra in float32
    torch.testing.assert_close(stems.sum(dim=0), mixture, rtol=0, atol=1e-12)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_header_is_checked_first(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "images"
    for lengths in ([2**31, 2], [2**15, 2**15], [1] * 5):
        data = bytes((0, 0, 8, len(lengths))) + struct.pack(f">{len(lengths)}I", *lengths) + b"\1" * 50
        path.write_bytes(gzip.compress(data) if zipped else data)
        tracemalloc.start()
        with pytest.raises(InputError):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 21 or lengths == [2**15, 2**15]  # never touched
        tracemalloc.stop()


YAMLS = {
    "aliases": "a0: &a0 [x, x]\n"
    + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(20))
    + "stems: {S00: {inst_class: *a20}}\n",
    "circles": "stems: &a {S00: {inst_class: *a}}\n",
    "nesting": "[" * 20000 + "]" * 20000,
    "size": "stems: {}\n" + "# filler\n" * 120_000,
}


@pytest.mark.parametrize("kind", YAMLS)
def test_yaml_is_small_and_flat_with_its_aliases(tmp_path: Path, kind: str) -> None:
    (tmp_path / "metadata.yaml").write_text(YAMLS[kind])
    with pytest.raises(ValueError, match=r"aliases|bytes"):
        read_yaml(tmp_path / "metadata.yaml")
    with pytest.raises(InputError, match=r"metadata\.yaml"):
        read_stems(tmp_path)


def test_a_value_that_occurs_twice_may_be_an_alias(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("a: &a {b: [1, 2]}\nc: *a\nd: *a\n")
    assert read_yaml(tmp_path / "metadata.yaml")["d"] == {"b": [1, 2]}


TOMLS: dict[str, Callable[[str], str]] = {
    "lists in lists": lambda card: card + "\n[figures]\nx = " + "[" * 5000 + "]" * 5000,
    "tables in tables": lambda card: card + "\n[figures]\n" + ".".join(["a"] * 3000) + " = 1",
    "size": lambda card: card + "\n# " + "x" * 1_000_000,
    "sources": lambda card: card.replace('"digit"', ", ".join(f'"{n}"' for n in range(300))),
    "size of a file": lambda card: re.sub("size = .*", f"size = {2**62}", card),
    "resolution": lambda card: "resolution = [1000000000, 1]\n" + card,
}


@pytest.mark.parametrize("kind", TOMLS)
def test_cards_are_small_and_flat(prior: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = prior / "card.toml"
    path.write_text(TOMLS[kind](path.read_text()))
    with pytest.raises(PriorError, match=r"card\.toml"):
        cards.read(prior)
    assert run(["fetch-priors", "--verify", str(prior)]) == 4
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  → ")


@pytest.mark.parametrize(
    "change", [{"embedding": 10**9}, {"blocks": 10**9}, {"widths": [8] * 100_000}, {"classes": ["x"] * 10**5}]
)
def test_a_network_is_costed_before_it_is_built(prior: Path, change: dict[str, object]) -> None:
    path = prior / "denoiser/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    tracemalloc.start()
    with pytest.raises(PriorError, match="denoiser"):
        load_image_prior(prior)
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "[1]", '{"a": ' * 1000 + "1" + "}" * 1000, " " * 1_100_000 + "{}"]
)
def test_configs_are_small_flat_objects(prior: Path, text: str) -> None:
    (prior / "denoiser/config.json").write_text(text)
    with pytest.raises(PriorError, match="denoiser"):
        load_image_prior(prior)
