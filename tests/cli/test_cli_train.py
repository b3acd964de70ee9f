"""``sepcli train-prior`` end to end on a data set of a few seconds, and what it refuses."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from two_lines import two_lines

from sepcli.catalog import card as cards
from sepcli.cli import console
from sepcli.cli.app import run
from sepcli.cli.settings import parse_duration
from sepcli.cli.train import recorded_command
from sepcli.errors import UsageError
from sepcli.media.images import read_image
from sepcli.priors import FAMILIES, resolve

TINY = ("--preset", "tiny", "--batch", 3, "--tokens", 32, "--quiet")


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command; return exit code, stdout and stderr."""
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sepcli", "train-prior", *map(str, words)])
        code = run(["train-prior", *map(str, words)])
        return code, *capsys.readouterr()

    return call


def test_a_codec_then_a_prior(train, tiny_slakh: Path, tmp_path: Path) -> None:
    out = tmp_path / "my prior"
    common = ("--data", tiny_slakh, "-o", out, "--cache", tiny_slakh / "cache", *TINY)
    code, text, err = train(*common, "--steps", 2)
    assert (code, err) == (0, "")
    assert text.startswith(f"{out / 'codec'}: 2 ")
    code, text, err = train(*common, "--family", "transformer", "--time-budget", "0.01s", "--json")
    assert (code, err) == (0, "")
    document = json.loads(text)
    assert (document["out"], document["family"]) == (str(out), "transformer")
    assert document["steps"] >= 1
    assert document["history"][-1]["valid_nll"] > 0
    card = (out / "card.toml").read_text()
    assert 'name = "my prior"' in card
    assert "sepcli train-prior --data" in card
    assert sorted(path.name for path in out.iterdir()) == ["card.toml", "codec", "transformer"]
    code, text, err = train(*common, "--steps", 2)
    assert (code, text) == (1, "")
    assert "codec" in two_lines(err)[0]


def test_recordings_have_families(train, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 8000)
    code, _, err = train("--data", tmp_path, "-o", tmp_path / "p")
    assert code == 2
    assert "denoiser" in two_lines(err)[1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--time-budget", "soon"], 2, "soon"),
        (["--time-budget", "0"], 2, "'0'"),
        (["--time-budget", "-5m"], 2, "-5m"),
        (["--family", "gan"], 2, "gan"),
        (["--preset", "huge"], 2, "huge"),
        (["--sources", ""], 2, "--sources"),
        (["--sources", "drums,Drums"], 2, "--sources"),
        (["--sources", "drums,kazoo"], 1, "kazoo"),
        (["--learning-rate", "0"], 2, "0"),
        (["--learning-rate", "nan"], 2, "nan"),
        (["--learning-rate", "-1"], 2, "-1"),
        (["--steps", "0"], 2, "--steps"),
        (["--seed", "-1"], 2, "--seed"),
        (["--seed", "99999999999999999999"], 2, "--seed"),
        (["--tokens", "16"], 2, "16"),
        (["--tokens", "65536"], 1, "drums"),
        (["--resume", "--overwrite"], 2, "--resume"),
        (["--device", "toaster"], 2, "toaster"),
        (["--family", "transformer"], 4, "codec"),
        (["--init", "mnist"], 2, "vqvae"),
        (["--family", "transformer", "--init", "mnist"], 4, "codec"),
        (["--family", "latent", "--init", "mnist"], 2, "latent"),
        (["--family", "context", "--init", "mnist"], 2, "context"),
        (["--data", "nowhere"], 1, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(
    train, tiny_slakh: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    common = ("--data", tiny_slakh, "-o", tmp_path / "p", "--cache", tmp_path / "cache", "--preset", "tiny")
    found, text, err = train(*common, *words)
    assert (found, text) == (code, "")
    assert message in two_lines(err)[0]
    assert not (tmp_path / "p" / "card.toml").exists()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 8 x 8 color images of two classes, PNG and JPEG."""
    rng, root = np.random.default_rng(0), tmp_path / "my images"
    for name, suffix in (("warm", "png"), ("cold", "jpg")):
        (root / "train" / name).mkdir(parents=True)
        for n in range(6):
            data = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(data).save(root / "train" / name / f"{n:04d}.{suffix}")
    return root


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C counts, also in tests that run in the background, where shells let it be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_stopped_run_goes_on_and_a_finished_one_is_extended(
    train, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = tmp_path / "p", []
    command = ("--family", "denoiser", "--data", images, "-o", out, "--preset", "tiny", "--batch", 2)

    @contextmanager
    def progress(*_: object):
        def on_progress(done: int, total: int) -> None:
            told.extend([done] if total == 1000 else [])  # of steps
            if len(told) == 2:
                signal.raise_signal(signal.SIGINT)

        yield on_progress

    monkeypatch.setattr(console, "progress", progress)
    code, text, err = train(*command, "--steps", 4)
    assert (code, text) == (130, "")
    assert "--resume" in err
    assert err.splitlines()[-1] == "interrupted"
    assert not (out / "card.toml").exists()
    for steps, taken in ((4, 4), (4, 4), (6, 6)):
        code, text, err = train(*command, "--resume", "--steps", steps)
        assert (code, len(told)) == (0, taken)
        assert text.startswith(f"{out / 'denoiser'}: {taken} ")
    assert cards.read(out).parts["denoiser"].training["steps"] == 6


def test_a_folder_of_images_separates_and_colors(train, images: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "p", ["--family", "denoiser", "--data", images, "--preset", "tiny"]
    words += ["--steps", 2, "--batch", 3, "--device", "cpu"]
    code, text, err = train(*words, "-o", out, "--set", "size=8", "--set", "noise_std=1.5")
    assert code == 0
    assert text.startswith(f"{out / 'denoiser'}: 2 ")
    (note, *_) = err.splitlines()
    assert "12" in note.split()
    config = json.loads((out / "denoiser" / "config.json").read_text())
    assert (config["channels"], config["size"], config["classes"]) == (3, [8, 8], [])
    assert (config["p_mean"], config["p_std"]) == (-0.8, 1.5)
    assert 'sources = [\n    "my images",\n]' in (out / "card.toml").read_text()
    more = ["--set", "size=8", "--set", "classes=folders", "--set", "flip=0", "--overwrite"]
    code, _, err = train(*words, "-o", out, *more)
    assert code == 0
    assert note not in err
    assert json.loads((out / "denoiser" / "config.json").read_text())["classes"] == ["cold", "warm"]
    assert "flip = false" in (out / "card.toml").read_text()
    mixture = images / "train" / "warm" / "0000.png"
    common = [str(mixture), "--prior", str(out), "--set", "steps=3", "--device", "cpu", "-q", "-o"]
    assert run(["separate", *common, str(tmp_path / "s")]) == 0
    stems = [tmp_path / "s" / "0000" / f"my images-{k}.png" for k in (1, 2)]
    assert all(read_image(stem).pixels.shape == (3, 8, 8) for stem in stems)
    assert run(["colorize", *common, str(tmp_path / "c")]) == 0
    assert read_image(tmp_path / "c" / "0000" / "colorized.png").pixels.shape == (3, 8, 8)


def test_a_flow_ranks_draws_by_its_density(train, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    common = ["--family", "glow", "--data", images, "--preset", "tiny", "--batch", 3, "--device", "cpu"]
    common += ["--set", "size=8", "-q", "-o", out]
    code, text, _ = train(*common, "--steps", 2, "--set", "clean=1")
    assert code == 0
    assert text.startswith(f"{out / 'glow'}: 2 ")
    code, _, err = train(*common, "--steps", 2)
    assert (code, "glow" in two_lines(err)[0]) == (1, True)
    code, text, _ = train(*common, "--steps", 4, "--set", "finetune_noise=1", "--set", "levels=2")
    assert code == 0
    assert text.startswith(f"{out / 'glow'}: 4 ")
    assert json.loads((out / "glow" / "config.json").read_text())["sigmas"] == [0.0, 0.01, 1.0]
    mixture = str(images / "train" / "warm" / "0000.png")
    steps = ["--set", "steps=2", "--set", "levels=3", "--device", "cpu", "-q"]
    common = [mixture, "--prior", str(out), *steps, "-o"]
    assert run(["separate", *common, str(tmp_path / "s"), "--samples", "3"]) == 0
    record = json.loads((tmp_path / "s" / "0000" / "run.json").read_text())
    assert record["sampler"] == "langevin"
    least = min(draw["residual_rms"] for draw in record["samples"])
    ranked = [d["log_prior"] for d in record["samples"] if d["residual_rms"] <= least + 1 / 255]
    assert ranked == sorted(ranked, reverse=True)
    assert len({draw["log_prior"] for draw in record["samples"]}) == 3
    assert run(["colorize", *common, str(tmp_path / "c"), "--sampler", "langevin"]) == 0
    odd = tmp_path / "odd.png"
    Image.new("RGB", (9, 8)).save(odd)
    assert run(["separate", str(odd), *common[1:], str(tmp_path / "o")]) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--set", "size=4"], 2, "size=4"),
        (["--set", "size=large"], 2, "size=large"),
        (["--set", "size"], 2, "--set"),
        (["--set", "channels=2"], 2, "channels=2"),
        (["--set", "classes=halves"], 2, "classes=halves"),
        (["--set", "classes=folders", "--data", "DIGITS"], 2, "classes=folders"),
        (["--set", "size=8", "--data", "DIGITS"], 2, "size"),
        (["--set", "noise_std=0"], 2, "noise_std=0"),
        (["--set", "noise_std=1", "--set", "noise_std=0"], 2, "noise_std=0"),
        (["--set", "noise_mean=nan"], 2, "noise_mean=nan"),
        (["--set", "noise_mean=0", "--family", "ncsn"], 2, "noise_mean"),
        (["--set", "noise_mean=0", "--family", "glow"], 2, "noise_mean"),
        (["--set", "clean=1"], 2, "clean"),
        (["--set", "finetune_noise=1"], 2, "finetune_noise"),
        (["--set", "finetune_noise=1", "--family", "glow"], 4, "p/glow"),
        (["--set", "size=9", "--family", "glow"], 1, "9 x 9"),
        (["--set", "size=9", "--family", "tarflow"], 1, "multiples of 4"),
        (["--set", "width=20", "--family", "tarflow"], 2, "width"),
        (["--set", "flip=1", "--family", "latent"], 2, "flip"),
        (["--tokens", "32", "--family", "glow"], 2, "--tokens"),
        (["--set", "size=8", "--data", "SLAKH"], 2, "size"),
        (["--family", "ncsn", "--data", "SLAKH"], 2, "ncsn"),
        (["--sources", "cat,dog"], 2, "cat,dog"),
        (["--data", "EMPTY"], 1, "EMPTY"),
        (["--data", "BOTH"], 1, "BOTH"),
        (["--data", "BROKEN"], 1, "0000.jpg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_of_images(
    train, images: Path, tiny_slakh: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    places = {"DIGITS": Path(__file__).parents[1] / "data" / "digits", "SLAKH": tiny_slakh}
    for name in ("EMPTY", "BOTH", "BROKEN"):
        places[name] = tmp_path / name
        places[name].mkdir()
    soundfile.write(places["BOTH"] / "a.wav", np.zeros(10), 8000)
    whole = (images / "train" / "cold" / "0000.jpg").read_bytes()
    (places["BOTH"] / "0000.jpg").write_bytes(whole)
    (places["BROKEN"] / "0000.jpg").write_bytes(whole[:-100])
    common = ["--family", "denoiser", "--data", images, "-o", tmp_path / "p", "--preset", "tiny", "-q"]
    found, text, err = train(*common, "--steps", 1, *(places.get(word, word) for word in words))
    assert (found, text) == (code, "")
    assert message in two_lines(err)[0]
    assert not (tmp_path / "p" / "card.toml").exists()


@pytest.mark.parametrize("missing", ["--data", "--out"])
def test_what_is_required(train, tiny_slakh: Path, tmp_path: Path, missing: str) -> None:
    given = {"--data": tiny_slakh, "--out": tmp_path / "p"}
    code, _, err = train(*(word for option in given.items() if option[0] != missing for word in option))
    assert code == 2
    assert missing in two_lines(err)[0]


def test_a_place_that_cannot_be_written(train, tiny_slakh: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("a file")
    code, _, err = train("--data", tiny_slakh, "-o", tmp_path / "p", "--cache", tiny_slakh / "cache", *TINY)
    assert code == 1
    two_lines(err)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("40m", 2400), ("1.5h", 5400), (" 2 m ", 120), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "1d", "1e3", "-1", "inf", "nan", "9" * 400, "١", "1 0", "0h", "0.0"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


def test_help_lists_the_options(train) -> None:
    code, text, _ = train("--help")
    assert code == 0
    options = {word for word in text.replace(",", " ").split() if word.startswith("--")}
    assert {"--data", "--out", "--family", "--preset", "--sources", "--set", "--list-options"} <= options
    assert {"--time-budget", "--steps", "--batch", "--tokens", "--learning-rate", "--seed"} <= options
    assert {"--cache", "--init", "--prior", "--device", "--note", "--resume", "--overwrite"} <= options
    assert {"--json", "--quiet"} <= options


@pytest.mark.parametrize("family", [name for name, row in FAMILIES.items() if row.training])
def test_every_family_lists_its_options(train, family: str) -> None:
    """Every option of every family stands in the list with its default and what it means."""
    code, text, err = train("--family", family, "--list-options")
    assert (code, err) == (0, "")
    code, document, _ = train("--family", family, "--list-options", "--json")
    listed = json.loads(document)
    assert code == 0
    assert set(listed) == set(FAMILIES[family].training)
    for medium, training in FAMILIES[family].training.items():
        assert callable(resolve(training.task))
        names = [field.name for field in fields(resolve(training.options))]
        assert [row["name"] for row in listed[medium]] == names
        for row in listed[medium]:
            assert row["meaning"]
            assert row["type"]
            assert row["name"] in text


def test_ranges_and_defaults_are_listed(train) -> None:
    _, document, _ = train("--family", "glow", "--list-options", "--json")
    found = {row["name"]: row for row in json.loads(document)["image"]}
    assert (found["size"]["type"], found["size"]["default"]) == ("integer ≥ 8, ≤ 1,024", "")
    assert (found["levels"]["default"], found["flip"]["type"]) == ("10", "0 or 1")
    assert found["classes"]["type"] == "none | halves | digits | folders"
    code, _, err = train("--family", "diffusers", "--list-options")
    assert (code, "diffusers" in two_lines(err)[0]) == (2, True)


def test_the_recorded_command_holds_no_absolute_paths() -> None:
    arguments = [
        "train-prior",
        "--data",
        "/home/jane/two digits",
        "--out=/tmp/x/prior",
        "--note",
        "a b",
        "-o",
        "p/q",
    ]
    assert recorded_command(arguments) == (
        "sepcli train-prior --data 'two digits' --out=prior --note 'a b' -o p/q"
    )
