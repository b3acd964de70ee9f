"""Files of a newer format than this version reads exit with 4 and say that sepcli is to be updated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from sepcli import __version__
from sepcli.catalog import card as cards
from sepcli.catalog.network import read_config, write_config
from sepcli.cli.app import run
from sepcli.errors import FormatError, refuse_newer
from sepcli.priors.images.denoiser import DenoiserConfig


def newer_card(folder: Path) -> None:
    path = folder / "card.toml"
    path.write_text(path.read_text().replace("format = 1", "format = 2") + "\n[future]\n")


def newer_config(folder: Path) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "future": True}))


def newer_table(folder: Path) -> None:
    path = folder / "table" / "table.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata | {"version": "9"})


@pytest.mark.parametrize("change", [newer_card, newer_config, newer_table])
def test_a_newer_file_of_a_prior(
    change: Callable[[Path], None], tiny_prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import soundfile

    folder = shutil.copytree(tiny_prior, tmp_path / "newer")
    change(folder)
    if change is not newer_card:
        cards.write(cards.with_files(cards.read(folder), folder), folder)
    soundfile.write(tmp_path / "mix.wav", np.full(2000, 0.1), 4000)
    command = ["separate", str(tmp_path / "mix.wav"), "--prior", str(folder), "-o", str(tmp_path / "out")]
    assert run(command) == 4
    first, second = capsys.readouterr().err.splitlines()
    assert "newer sepcli" in first
    assert "update" in second


def test_a_config_has_its_format_beside_its_fields(tmp_path: Path) -> None:
    config = DenoiserConfig(size=(8, 8))
    write_config(tmp_path, config)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["format"] == 1
    fields = read_config(tmp_path)
    assert "format" not in fields
    assert fields["size"] == [8, 8]


@pytest.mark.parametrize("version", [None, 0, 1, "2", True, 1.5])
def test_other_formats_are_not_newer(version: object) -> None:
    refuse_newer("it", version, 1)


def test_the_version_that_wrote_it_is_named() -> None:
    with pytest.raises(FormatError, match=r"format 3.*sepcli >= 2\.0"):
        refuse_newer("it", 3, 1, "2.0")


def test_this_version_is_not_asked_for() -> None:
    with pytest.raises(FormatError) as unknown:
        refuse_newer("it", 3, 1)
    with pytest.raises(FormatError) as caught:
        refuse_newer("it", 3, 1, __version__)
    assert caught.value.message == unknown.value.message
