"""Threats × tests: what strangers' priors and files cannot do; every input here is harmless.

====================================================  ====================================================
Threat                                                Test
====================================================  ====================================================
a file changes between its check and its use          test_what_changes_after_the_check_is_not_loaded
an index beside the weights names other files         test_an_index_beside_the_weights_is_not_followed
                                                      test_every_shard_is_verified
a card or config changes in the Hub's cache           test_a_card_that_changed_in_the_cache_is_refused
a card lists no files, or not those that are loaded   test_a_card_lists_every_file_that_its_engine_reads
files lie beside a prior that nothing verifies        test_verify_lists_what_is_not_covered
a setting, an option or a card asks for 10⁹ steps     test_every_setting_has_a_range
                                                      test_a_card_does_not_widen_the_range_of_a_setting
an audio header claims any rate or 1,024 channels     test_audio_of_an_impossible_layout_is_refused
many channels take memory for each                    test_many_channels_take_little_memory
a header of images claims gigabytes                   test_an_idx_header_is_checked_first
YAML grows by aliases or nesting                      test_yaml_is_small_and_flat_with_its_aliases
a card is huge or nested                              test_cards_are_small_and_flat
a config is huge or nested                            test_configs_are_small_flat_objects
a config asks for a huge network                      test_a_network_is_costed_before_it_is_built
a checkpoint holds numbers that are none              test_numbers_of_a_checkpoint_are_validated
a checkpoint is of other tensors                      test_names_of_a_checkpoint_are_validated
a checkpoint past its budget is lost                  test_a_checkpoint_past_its_budget_is_kept
a checkpoint to be imported repeats one number        test_a_number_that_is_repeated_takes_no_memory
                                                      test_bytes_that_are_made_by_their_number_are_refused
an archive to be imported is compressed               test_a_compressed_archive_is_refused
a checkpoint to be imported calls a function          test_code_is_not_run
a token reaches another server, a record or output    test_gates_and_tokens (tests/catalog/test_files.py)
a source without a name                               test_every_source_has_a_name
a record is a pipe                                    test_a_pipe_is_refused_and_not_waited_for
bytes of a file look like a chunk of its header       test_only_a_chunk_of_the_header_is_changed
a link takes the place of a temporary file            test_a_link_put_in_place_is_not_written_through
                                                      (tests/media/test_stem_writer.py)
an image is of a format that starts other programs    test_only_listed_formats_are_tried
                                                      (tests/media/test_images.py)
an image claims gigabytes                             test_images_that_would_fill_the_memory_are_refused
                                                      (tests/media/test_images.py)
a playlist names other files or servers               test_a_playlist_is_no_audio_file
                                                      (tests/media/test_whole_files.py)
a folder of outputs is a link                         test_a_track_folder_that_is_a_link_is_named
                                                      (tests/cli/test_cli_batch.py)
an edited record names files to be deleted            test_a_record_cannot_make_it_remove_other_files
                                                      (tests/cli/test_cli_resume.py)
samples depend on the threads                         test_samples_and_progress_do_not_depend_on_the_threads
                                                      (tests/contracts/test_engine_laws.py)
a run is killed at any moment                         tests/kill_runs.py
a file with any other damage                          tests/test_trust_fuzz.py, tests/fuzz.py
====================================================  ====================================================
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from encoding import encode
from hub_server import Hub
from msgspec import structs
from safetensors.torch import load_file, save_file

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.verified import Verified, verified
from sepcli.cli.app import run
from sepcli.errors import PriorError, UsageError
from sepcli.media.file_format import FileFormat
from sepcli.priors.complete import check_complete
from sepcli.priors.images.load import load_image_prior
from sepcli.priors.load import load_selection
from sepcli.priors.select import choose

CONFIG, WEIGHTS = "denoiser/config.json", "denoiser/model.safetensors"


@pytest.fixture
def prior(tiny_images: Path, tmp_path: Path) -> Path:
    """A copy of a prior of images, to be changed."""
    return Path(shutil.copytree(tiny_images, tmp_path / "images"))


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A diffusion model as the package diffusers saves it."""
    pytest.importorskip("diffusers", exc_type=(ImportError, AttributeError))  # or another torch
    from tiny_unet import save_ddpm

    return save_ddpm(tmp_path / "ddpm")


def zeroed(path: Path) -> None:
    """Write other weights of the same names and shapes, thus of the same size."""
    save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_what_changes_after_the_check_is_not_loaded(prior: Path, name: str) -> None:
    files = verified(cards.read(prior), prior)
    load_image_prior(files)
    if name == WEIGHTS:
        zeroed(prior / name)
    else:
        (prior / name).write_text((prior / name).read_text() + " ")
    load_image_prior(prior)  # what this program has written itself is not compared
    with pytest.raises(PriorError, match=name):
        load_image_prior(files)


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_what_changes_after_the_check_of_a_diffusion_model_is_not_loaded(pipeline: Path, name: str) -> None:
    files = verified(*resolve.find(str(pipeline)))
    load_image_prior(files)
    (pipeline / name).write_text((pipeline / name).read_text() + " ")
    with pytest.raises(PriorError, match=name):
        load_image_prior(files)


@pytest.mark.parametrize("shard", ["other.safetensors", "other.bin"])
def test_an_index_beside_the_weights_is_not_followed(pipeline: Path, shard: str) -> None:
    weights = pipeline / "unet/diffusion_pytorch_model.safetensors"
    expected = load_file(weights)
    other = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    save_file(other, pipeline / "unet" / shard)
    suffix = "safetensors" if shard.endswith("safetensors") else "bin"
    index = {"metadata": {}, "weight_map": dict.fromkeys(expected, shard)}
    (pipeline / f"unet/diffusion_pytorch_model.{suffix}.index.json").write_text(json.dumps(index))
    network = load_image_prior(Verified(*resolve.find(str(pipeline))))
    state = network.unet.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(tensor, state[name]) for name, tensor in expected.items())


def test_every_shard_is_verified(pipeline: Path) -> None:
    weights = pipeline / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    shard = weights.with_name("diffusion_pytorch_model-00001-of-00001.safetensors")
    weights.rename(shard)
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, shard.with_name("other"))
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "other")}
    weights.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    files = verified(*resolve.find(str(pipeline)))
    state = load_image_prior(files).unet.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(tensor, state[name]) for name, tensor in tensors.items())
    zeroed(shard)
    with pytest.raises(PriorError, match=shard.name):
        load_image_prior(files)


def test_a_card_that_changed_in_the_cache_is_refused(hub: Hub, tiny_images: Path) -> None:
    hub.publish("tester/tiny", tiny_images)
    card, folder = resolve.fetch("hf:tester/tiny")
    blob = (folder / "card.toml").resolve()
    blob.write_text(blob.read_text().replace('"digit"', '"other"'))
    with pytest.raises(PriorError, match=r"card\.toml"):
        resolve.find("hf:tester/tiny")
    assert resolve.fetch("hf:tester/tiny") == (card, folder)


@pytest.mark.parametrize("listed", [(), (CONFIG,), (WEIGHTS,)])
def test_a_card_lists_every_file_that_its_engine_reads(
    prior: Path, tmp_path: Path, listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.new("L", (12, 12), 90).save(tmp_path / "mix.png")
    card = cards.read(prior)
    part = {"denoiser": cards.Part("denoiser")}
    files = {name: card.files[name] for name in listed}
    cards.write(structs.replace(card, files=files, parts=part), prior)
    missing = next(name for name in (CONFIG, WEIGHTS) if name not in listed)
    commands = (
        ["separate", str(tmp_path / "mix.png"), "--prior", str(prior), "-o", str(tmp_path / "out")],
        ["fetch-priors", "--verify", str(prior)],
    )
    for command in commands:
        assert run(command) == 4
        assert missing in capsys.readouterr().err
    assert not list(tmp_path.glob("out/**/*.png"))
    with pytest.raises(PriorError, match=r"denoiser/"):
        load_image_prior(Verified(cards.read(prior), prior))


def test_loading_reads_every_file_once(prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, opened, extra = cards.read(prior), Counter[str](), prior / "extra" / "model.safetensors"
    extra.parent.mkdir()
    extra.write_bytes(b"no engine reads this")
    cards.write(
        structs.replace(card, files={**card.files, "extra/model.safetensors": cards.entry(extra)}), prior
    )
    whole = Path.open

    def counted(path: Path, *options: Any, **named: Any) -> Any:
        opened[path.name if path.parent == prior else path.relative_to(prior).as_posix()] += 1
        return whole(path, *options, **named)

    selection = choose(str(prior))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", counted)
        load_selection(selection)
    assert opened == dict.fromkeys((*card.files, "extra/model.safetensors"), 1)
    for name in (*card.files, "extra/model.safetensors"):
        data = (prior / name).read_bytes()
        (prior / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(PriorError, match=name):
            load_selection(selection)
        (prior / name).write_bytes(data)


@pytest.mark.parametrize("fixture", ["tiny_prior", "tiny_images", "tiny_flow"])
def test_each_family_demands_its_files(fixture: str, request: pytest.FixtureRequest) -> None:
    card = cards.read(request.getfixturevalue(fixture))
    check_complete(card, card.engine)
    for name in card.files:
        fewer = {other: entry for other, entry in card.files.items() if other != name}
        parts = {key.partition("/")[0]: key for key in card.files}
        families = {"codec": "vqvae", "table": "table"}
        entries = {part: cards.Part(families.get(part, part)) for part in parts}
        with pytest.raises(PriorError, match=name):
            check_complete(structs.replace(card, files=fewer, parts=entries), card.engine)


def test_verify_lists_what_is_not_covered(prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = ("denoiser/extra.bin", "glow/config.json", "glow/model.safetensors")
    (prior / "glow").mkdir()
    for name in extra:
        (prior / name).write_bytes(b"{}")
    (prior / "notes.txt").write_text("nothing loads this")
    assert run(["fetch-priors", "--verify", str(prior), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["priors"][0]
    assert (record["verified"], tuple(record["not_covered"])) == (True, extra)
    assert run(["fetch-priors", "--verify", str(prior)]) == 0
    assert all(name in capsys.readouterr().out for name in extra[:1])
    load_image_prior(Verified(cards.read(prior), prior))


@pytest.mark.parametrize("names", [("", "b"), (" ", "b")])
def test_every_source_has_a_name(prior: Path, names: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="empty name"):
        choose(str(prior), names=names)
    with pytest.raises(UsageError, match="sources"):
        structs.replace(cards.read(prior), sources=names)
    path = prior / "card.toml"
    path.write_text(path.read_text().replace('"digit"', f'"{names[0]}"'))
    with pytest.raises(PriorError, match="sources"):
        cards.read(prior)


def test_only_a_chunk_of_the_header_is_changed(tmp_path: Path) -> None:
    samples = np.frombuffer(b"PEAK" + b"\x11" * 60, np.int16).reshape(-1, 1)
    encode(tmp_path / "a.wav", samples.astype(np.int32) << 16, FileFormat("WAV", 8000, 1, "PCM_16"))
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16", always_2d=True)[0], samples)
