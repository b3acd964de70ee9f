"""``sepcli import-prior --family musicgen``: from a folder of transformers to two stems, and refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from tiny_musicgen import CODEBOOKS, CONTEXT, HOP, RATE, VOCABULARY, make_musicgen, make_prior, save_musicgen
from two_lines import two_lines

import sepcli
from sepcli.catalog import card as cards
from sepcli.cli.app import run

MODEL = "model.safetensors"
LONGEST = (CONTEXT - CODEBOOKS) * HOP / RATE


def imported(folder: Path, out: Path, *more: str) -> int:
    return run(["import-prior", str(folder), "--family", "musicgen", "-o", str(out), *more])


def change(folder: Path, part: str, **changes: Any) -> None:
    """Change fields of a part's config; None: of the whole."""
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(changes)
    (folder / "config.json").write_text(json.dumps(config))


def test_from_a_folder_to_stems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub, drums, bass = save_musicgen(tmp_path / "hub"), tmp_path / "drums", tmp_path / "bass"
    assert imported(hub, drums, "--sources", "drums") == 0
    told = capsys.readouterr().out
    assert all(part in told for part in (f"{RATE} Hz", f"{CODEBOOKS} codebooks", f"{VOCABULARY} codes"))
    assert imported(hub, drums) == 1
    assert imported(hub, drums, "--overwrite", "--json", "--sources", "drums") == 0
    make_prior(bass, "bass", 1)
    card = cards.read(drums)
    assert (card.engine, card.sample_rate, card.sources) == ("lass", RATE, ("drums",))
    assert card.stream == {"window": int(100 * LONGEST) / 100, "overlap": 0.03}
    kept = load_file(drums / "musicgen" / MODEL)
    released = make_musicgen()
    assert kept.keys() == released.decoder.state_dict().keys()
    mix = 0.1 * np.random.default_rng(0).standard_normal((1800, 2))
    soundfile.write(tmp_path / "mix.wav", mix, 2 * RATE)
    words = ["separate", str(tmp_path / "mix.wav"), "--prior", str(drums), "--prior", str(bass), "-q"]
    assert run([*words, "-o", str(tmp_path / "out"), "--device", "cpu"]) == 0
    stems = [soundfile.read(tmp_path / "out" / "mix" / f"{name}.wav")[0] for name in ("drums", "bass")]
    assert all(stem.shape == mix.shape and stem.std() > 0 for stem in stems)
    np.testing.assert_allclose(sum(stems), mix, atol=1e-3)
    assert not np.allclose(stems[0], stems[1], atol=1e-3)
    capsys.readouterr()
    assert run([*words, "-o", str(tmp_path / "long"), "--set", "window=3"]) == 2
    assert "window" in two_lines(capsys.readouterr().err)[1]
    separator = sepcli.load([str(drums), str(bass)])
    result = separator.separate(mix[:400, 0], sample_rate=RATE, seed=1)
    assert set(result.names) == {"drums", "bass"}


def test_older_names_and_shards_are_read(tmp_path: Path) -> None:
    hub = save_musicgen(tmp_path / "hub")
    tensors = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor.half()
        for name, tensor in load_file(hub / MODEL).items()
    }
    assert any(name.endswith("weight_g") for name in tensors)
    shards = {f"model-{n}-of-2.safetensors": dict(list(tensors.items())[n - 1 :: 2]) for n in (1, 2)}
    for name, part in shards.items():
        save_file(part, hub / name)
    index = {"weight_map": {tensor: name for name, part in shards.items() for tensor in part}}
    (hub / f"{MODEL}.index.json").write_text(json.dumps(index))
    (hub / MODEL).unlink()
    assert imported(hub, tmp_path / "prior") == 0
    stored = load_file(tmp_path / "prior" / "encodec" / MODEL)
    released = make_musicgen().audio_encoder.state_dict()
    assert stored.keys() == released.keys()
    for name, tensor in released.items():
        torch.testing.assert_close(stored[name], tensor, atol=1e-3, rtol=1e-3)
    (hub / f"{MODEL}.index.json").write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    assert imported(hub, tmp_path / "outside") == 1


@pytest.mark.parametrize(
    ("part", "changes", "subject"),
    [
        ("", {"model_type": "musicgen_melody"}, "musicgen_melody"),
        ("audio_encoder", {"model_type": "dac"}, "dac"),
        ("audio_encoder", {"normalize": True}, "normalize"),
        ("audio_encoder", {"chunk_length_s": 1.0}, "chunk_length_s"),
        ("audio_encoder", {"num_filters": "many"}, "num_filters"),
        ("audio_encoder", {"target_bandwidths": [0.8]}, "codebooks"),
        ("audio_encoder", {"upsampling_ratios": [5, 0]}, "strides"),
        ("decoder", {"audio_channels": 2}, "audio_channels"),
        ("decoder", {"vocab_size": 32}, "vocab_size"),
        ("decoder", {"bos_token_id": 0}, "bos_token_id"),
        ("decoder", {"num_attention_heads": 3}, "num_heads"),
        ("decoder", {"num_hidden_layers": 3}, "missing"),
        ("decoder", {"num_hidden_layers": 10**9}, "layers"),
        ("decoder", {"max_position_embeddings": 10**9}, "positions"),
    ],
)
def test_other_networks_are_refused(
    part: str, changes: dict[str, Any], subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = save_musicgen(tmp_path / "hub")
    change(hub, part, **changes)
    capsys.readouterr()
    assert imported(hub, tmp_path / "prior") == 1
    assert subject in two_lines(capsys.readouterr().err)[0]
    assert not (tmp_path / "prior" / "card.toml").exists()


def test_pickles_and_other_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = save_musicgen(tmp_path / "hub")
    assert imported(hub, tmp_path / "prior", "--size", "4") == 2
    (hub / MODEL).rename(hub / "weights")
    torch.save(load_file(hub / "weights"), hub / "pytorch_model.bin")
    capsys.readouterr()
    assert imported(hub, tmp_path / "prior") == 1
    first, second = two_lines(capsys.readouterr().err)
    assert MODEL in first
    assert "pickles" in second
    (hub / MODEL).write_bytes(b"no")
    assert imported(hub, tmp_path / "prior") == 1


def test_different_codecs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drums, voice = (
        make_prior(tmp_path / name, name, codec_seed=n) for n, name in enumerate(("drums", "voice"))
    )
    soundfile.write(tmp_path / "mix.wav", np.zeros(400), RATE)
    capsys.readouterr()
    words = ["separate", str(tmp_path / "mix.wav"), "--prior", drums, "--prior", voice]
    assert run([*words, "-o", str(tmp_path / "out")]) == 2
    assert "codecs" in two_lines(capsys.readouterr().err)[0]


def test_other_commands_take_or_refuse_such_a_prior(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drums = make_prior(tmp_path / "drums", "drums")
    (tmp_path / "data").mkdir()
    capsys.readouterr()
    assert run(["build-likelihood", "--prior", drums, "--data", str(tmp_path / "data"), "-q"]) == 4
    two_lines(capsys.readouterr().err)
    assert run(["samplers", "--prior", drums]) == 0
    assert "shortlist" in capsys.readouterr().out
    assert run(["import-prior", drums, "--storage", "int8", "-o", str(tmp_path / "small")]) == 0
    sepcli.load([str(tmp_path / "small")] * 2)
    capsys.readouterr()


@pytest.mark.parametrize("version", [None, "5.23.1"])
def test_without_the_package(
    version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, drums = save_musicgen(tmp_path / "hub"), make_prior(tmp_path / "drums", "drums")
    soundfile.write(tmp_path / "mix.wav", np.zeros(400), RATE)
    if version is None:
        monkeypatch.setitem(sys.modules, "transformers", None)
    else:
        monkeypatch.setattr("sepcli.priors.library.version", lambda name: version)
    capsys.readouterr()
    assert imported(hub, tmp_path / "prior") == 4
    assert "sepcli[music]" in two_lines(capsys.readouterr().err)[1]
    words = ["separate", str(tmp_path / "mix.wav"), "--prior", drums, "--prior", drums]
    assert run([*words, "-o", str(tmp_path / "out")]) == 4
    first, second = two_lines(capsys.readouterr().err)
    assert (version or "transformers") in first
    assert "sepcli[music]" in second
