"""Commands on damaged inputs, records and checkpoints: all of what they promise is written, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from fuzz_bench import Bench, command, contents, damage, damaged_seed, train_a_little
from fuzz_inputs import fresh
from fuzz_mutations import BINARY, TEXT, change_progress

from sepcli.catalog import card as cards
from sepcli.catalog.verified import verified
from sepcli.cli.records import FORMAT
from sepcli.errors import InputError, SepError
from sepcli.media.audio import AudioReader
from sepcli.media.images import read_image
from sepcli.priors.images.load import load_image_prior
from sepcli.training.checkpoints import CHECKPOINT, FINISHED

AUDIO_FORMATS = ("stem.mp4", "wav", "flac", "mp3", "ogg", "opus", "m4a")
IMAGE_FORMATS = ("png", "jpg", "webp", "tiff")


def read_record(bench: Bench, rng: np.random.Generator) -> str:
    """Resume and replace a run whose record is damaged."""
    folder = fresh(bench.finished, bench.folder / "work" / "run")
    record = next(folder.rglob("run.json"))
    name = damage(record, TEXT, rng)
    before = contents(bench.batch)
    damaged, newer = record.read_bytes(), says_newer(record)
    command("separate", folder / "a.png", *bench.options(folder), "--resume")
    code = command("separate", folder / "a.png", *bench.options(folder), "--overwrite")
    after = contents(folder)
    if newer:  # what a later version writes is left alone
        assert code == 4
        assert record.read_bytes() == damaged
    else:
        assert code == 0
        json.loads(record.read_bytes())
    assert all(after[name] == data for name, data in before.items())
    assert {*after} == {*contents(bench.finished)}
    return f"run.json {name}"


def says_newer(record: Path) -> bool:
    """Whether a record says that it is of a newer format."""
    try:
        document = json.loads(record.read_bytes())
    except (ValueError, RecursionError):
        return False
    version = document.get("format") if isinstance(document, dict) else None
    return isinstance(version, int) and version > FORMAT


def separate_batch(bench: Bench, rng: np.random.Generator) -> str:
    """Separate three files, of which one is damaged: the others are separated, and nothing is left over."""
    folder = fresh(bench.batch, bench.folder / "work" / "batch")
    sound = bool(rng.integers(2))
    seed, name, damaged = damaged_seed(bench, "audio" if sound else "image", rng, folder)
    suffix, prior = (".wav", bench.lass) if sound else (".png", bench.images)
    words = ["--sampler", "greedy"] if sound else ["--set", "steps=2"]
    inputs = [folder / f"a{suffix}", damaged, folder / f"b{suffix}"]
    code = command("separate", *inputs, "--prior", prior, "-o", folder / "out", *words, "-q")
    written = {path.parent.name: path.parent for path in (folder / "out").rglob("run.json")}
    assert {"a", "b"} <= {*written}
    assert (damaged.stem in written) == (code == 0)
    assert code in (0, 3)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".sepcli")]
    for stems in written.values():
        record = json.loads((stems / "run.json").read_bytes())
        assert all((stems / stem).stat().st_size for sample in record["stems"] for stem in sample)
    return f"{seed.name} {name} in a batch"


def separate_to_format(bench: Bench, rng: np.random.Generator) -> str:
    """Separate a damaged file into stems of a format: whole ones of its length or size, or none."""
    folder = fresh(bench.empty, bench.folder / "work" / "formats")
    sound = bool(rng.integers(3))
    seed, name, path = damaged_seed(bench, "audio" if sound else "image", rng, folder)
    form = str(rng.choice(AUDIO_FORMATS if sound else IMAGE_FORMATS))
    prior, words = (bench.lass, ["--sampler", "greedy"]) if sound else (bench.images, ["--set", "steps=2"])
    code = command("separate", path, "--prior", prior, "-o", folder / "out", "--format", form, *words, "-q")
    written = [file for file in folder.rglob("*") if file.is_file() and file != path]
    if code:
        assert not written, f"exit code {code}, and {written[0].name}"
        raise InputError(f"{seed.name} {name}", "it is refused")
    (record,) = (file for file in written if file.name.endswith("run.json"))
    stems = {
        (record.parent / stem).resolve()
        for sample in json.loads(record.read_bytes())["stems"]
        for stem in sample
    }
    assert stems == {file for file in written if file != record and file.stem != "contact"}
    for stem in stems:
        (check_sound if sound else check_picture)(path, stem)
    return f"{seed.name} {name} to {form}"


def check_sound(path: Path, stem: Path) -> None:
    """A stem, or a file of them, is read whole and is as long as the mixture."""
    with AudioReader(path) as mixture, AudioReader(stem) as reader:
        samples = mixture.info.frames * reader.info.sample_rate / mixture.info.sample_rate
        assert abs(reader.read(reader.info.frames + 1).shape[-1] - samples) < 1, (
            f"{stem.name} of other length"
        )
        assert reader.info.tags.cover in (None, mixture.info.tags.cover)


def check_picture(path: Path, stem: Path) -> None:
    """An image is as large as the mixture."""
    mixture, image = (read_image(one, first=True).pixels for one in (path, stem))
    assert image.shape[1:] == mixture.shape[1:], f"{stem.name} of other size"


def resume_training(bench: Bench, rng: np.random.Generator) -> str:
    """Resume a training whose checkpoint is damaged: to a prior that is whole, or nothing changes."""
    folder = fresh(bench.training, bench.folder / "work" / "training")
    path = folder / "out" / "denoiser" / FINISHED
    if rng.integers(2):
        name = damage(path, BINARY, rng)
    else:
        path.write_bytes(change_progress(path.read_bytes(), rng))
        name = "change_progress"
    if rng.integers(2):
        path = path.rename(path.with_name(CHECKPOINT))
    before = contents(folder)
    try:
        train_a_little(folder, steps=3)
    except SepError:
        assert contents(folder) == before
        raise
    load_image_prior(verified(cards.read(folder / "out"), folder / "out"))
    assert not [file for file in folder.rglob("*") if file.name.startswith(".sepcli")]
    return f"checkpoint {name}"
