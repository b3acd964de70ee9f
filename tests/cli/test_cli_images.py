"""``sepcli separate`` and ``sepcli evaluate`` on images, from words to files."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from msgspec import structs
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.cli import separate as separate_command
from sepcli.cli.app import run
from sepcli.cli.settings import parse_weights
from sepcli.errors import UsageError
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.separation.seeds import sample_seeds
from sepcli.training.loop import write_weights

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).integers(60, 190, (12, 14), np.uint8)
    Image.fromarray(data).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


def separate(prior: Path, mixture: Path, out: Path, *more: str) -> int:
    return run(
        [
            "separate",
            str(mixture),
            "--prior",
            str(prior),
            "-o",
            str(out),
            "--set",
            "steps=3",
            "--device",
            "cpu",
            *more,
        ]
    )


def test_a_image_becomes_its_sources(tiny_images: Path, mixture: Path, tmp_path: Path) -> None:
    assert separate(tiny_images, mixture, tmp_path / "out", "--sources", "3") == 0
    folder = tmp_path / "out" / "mix"
    names = [f"digit-{k}.png" for k in (1, 2, 3)]
    assert sorted(p.name for p in folder.iterdir()) == ["contact.png", *names, "run.json"]
    assert np.asarray(Image.open(folder / names[0])).shape == (12, 14)
    record = json.loads((folder / "run.json").read_text())
    assert record["weights"] == pytest.approx([1 / 3] * 3)
    assert record["report"]["evaluations"] == 3
    assert record["report"]["size"] == [12, 14]
    assert record["sampler"] == "projected"
    assert separate(tiny_images, mixture, tmp_path / "out", "--sources", "3") == 1
    assert separate(tiny_images, mixture, tmp_path / "out", "--sources", "3", "--resume") == 0


def test_the_record_has_the_settings_of_the_sampler_that_ran(mixture: Path, tmp_path: Path) -> None:
    """The card of mnist has settings for halving, which is not what runs here."""
    words = ["separate", str(mixture), "--prior", "mnist", "--sampler", "projected", "--set", "steps=3"]
    assert run([*words, "-o", str(tmp_path), "--device", "cpu", "-q"]) == 0
    record = json.loads((tmp_path / "mix" / "run.json").read_text())
    settings = record["settings"]
    assert record["sampler"] == "projected"
    assert (type(settings["steps"]), settings["steps"]) == (int, 3)
    assert settings["weigh"] is False
    own = {"sampler", "candidates", "decide_from", "decide_to", "endings", "end_from", "local"}
    assert not own & settings.keys()
    assert all(
        isinstance(value, bool | int | float) or (key, value) == ("moments", "diagonal")
        for key, value in settings.items()
    )


@pytest.mark.parametrize(
    "words",
    [(), ("--sources", "3"), ("--method", "score"), ("--method", "nmf"), ("--prior", "slakh-drums-bass")],
)
@pytest.mark.parametrize("kind", ["file", "unnamed", "folder", "glob"])
def test_an_image_without_a_prior_of_images_is_a_usage_error(
    mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], kind: str
) -> None:
    given = {"file": mixture, "unnamed": tmp_path / "scan", "folder": tmp_path, "glob": tmp_path / "*.png"}[
        kind
    ]
    shutil.copy(mixture, tmp_path / "scan")
    assert run(["separate", str(given), *words, "-o", str(tmp_path / "out"), "-q"]) == 2
    said, hint = capsys.readouterr().err.splitlines()
    assert ("scan" if kind == "unnamed" else "mix.png") in said
    for prior in ("cifar10", "mnist", "mnist-flow", *(["mnist-lass"] if "score" not in words else [])):
        assert prior in hint
    assert "slakh" not in hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["mix.wav", "mix.png"])
def test_audio_is_audio_whatever_its_name_and_beside_images(
    mixture: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    sound = np.random.default_rng(0).normal(0, 0.1, 8000).clip(-1, 1)
    soundfile.write(folder / name, sound, 8000, format="WAV")
    shutil.copy(mixture, folder / "a.png")
    given = folder if name == "mix.wav" else folder / name
    assert run(["separate", str(given), "--method", "hpss", "-o", str(tmp_path / "out")]) == 0
    assert ("a.png" in capsys.readouterr().err) == (given == folder)  # the image beside is passed over
    assert (tmp_path / "out" / "mix" / "drums.wav").is_file()


def test_draws_seeds_and_weights(
    tiny_images: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--samples", "2", "--weights", "0.75,0.25", "--json", "-q"]
    stored = []
    for seed in ("1", "1", "2"):
        out = tmp_path / f"out{len(stored)}"
        assert separate(tiny_images, mixture, out, "--seed", seed, *options) == 0
        document = json.loads(capsys.readouterr().out)
        assert len(document["results"][0]["stems"]) == 2
        stored.append((out / "mix" / "02" / "digit-1.png").read_bytes())
        assert (out / "mix" / "contact.png").is_file()
    assert stored[0] == stored[1] != stored[2]


def pixels(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / name)).astype(float)


def test_draws_are_ranked_and_summed_up(tiny_images: Path, mixture: Path, tmp_path: Path) -> None:
    assert separate(tiny_images, mixture, tmp_path / "out", "--samples", "4", "--seed", "2", "-q") == 0
    folder, names = tmp_path / "out" / "mix", ("digit-1.png", "digit-2.png")
    record = json.loads((folder / "run.json").read_text())
    parts = ["01", "02", "03", "04", "mean", "std"]
    assert sorted(p.name for p in folder.iterdir()) == sorted([*parts, "contact.png", "run.json"])
    bounds = [sample["log_prior"] for sample in record["samples"]]
    rest = np.array([sample["residual_rms"] for sample in record["samples"]])
    merits = [(r > rest.min() + 1 / 255, -bound) for r, bound in zip(rest, bounds, strict=True)]
    assert merits == sorted(merits)
    assert sorted(sample["seed"] for sample in record["samples"]) == sorted(sample_seeds(2, 0, 4))
    agreed = [sample["agreement_db"] for sample in record["samples"]]
    assert record["medoid"] == 1 + int(np.argmax(agreed))
    assert record["rank"]
    assert record["mean"] == [f"mean/{name}" for name in names]
    stored = np.array([[pixels(folder / part, name) for name in names] for part in parts])
    np.testing.assert_allclose(stored[:4].mean(0), stored[4], atol=1.01)
    spread = record["report"]["std_scale"] * stored[:4].std(0, ddof=1)
    np.testing.assert_allclose(spread, stored[5], atol=1.01 * record["report"]["std_scale"])
    assert stored[5].max() == 255
    total = pixels(mixture.parent, "mix.png") - stored[:4].mean(1)
    np.testing.assert_allclose(np.sqrt((total**2).mean((1, 2))) / 255, rest, atol=1 / 255)
    assert len(pixels(folder, "contact.png")) > 6 * 8 * 12  # six rows of images, magnified eight times


def test_the_rank_is_not_the_order_of_drawing(tiny_images: Path, mixture: Path, tmp_path: Path) -> None:
    """The draw of the first seed is the one that is drawn alone, wherever it is ranked."""
    assert separate(tiny_images, mixture, tmp_path / "one", "-q") == 0
    assert separate(tiny_images, mixture, tmp_path / "all", "-q", "--samples", "5") == 0
    record = json.loads((tmp_path / "all" / "mix" / "run.json").read_text())
    place = 1 + [sample["seed"] for sample in record["samples"]].index(sample_seeds(0, 0, 1)[0])
    found = [pixels(tmp_path / "all" / "mix" / f"{place:02d}", f"digit-{k}.png") for k in (1, 2)]
    alone = [pixels(tmp_path / "one" / "mix", f"digit-{k}.png") for k in (1, 2)]
    np.testing.assert_allclose(found, alone, atol=1)
    assert [sample["seed"] for sample in record["samples"]] != sample_seeds(0, 0, 5)
    single = json.loads((tmp_path / "one/mix/run.json").read_text())
    assert len(single["samples"]) == 1
    assert not {"rank", "medoid", "mean"} & single.keys()


def test_mean_and_deviation_take_the_place_of_the_number(
    tiny_images: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--samples", "2", "--filename", "{sample}-{stem}.{ext}", "-q"]
    out = tmp_path / "out"
    out.mkdir()
    (out / "mean-digit-2.png").write_bytes(b"mine")
    assert separate(tiny_images, mixture, out, *words) == 1
    assert "mean-digit-2.png" in capsys.readouterr().err
    assert len(list(out.iterdir())) == 1
    assert separate(tiny_images, mixture, out, *words, "--overwrite") == 0
    made = {f"{part}-digit-{k}.png" for part in ("01", "02", "mean", "std") for k in (1, 2)}
    assert {p.name for p in out.iterdir()} == made | {"mix.contact.png", "mix.run.json"}
    assert separate(tiny_images, mixture, out, *words, "--resume") == 0
    (out / "std-digit-1.png").unlink()
    assert separate(tiny_images, mixture, out, *words, "--resume") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert separate(tiny_images, mixture, out, *words, "--resume", "--overwrite") == 0
    assert (out / "std-digit-1.png").is_file()
    shutil.copy(mixture, out / "mean-digit-1.png")
    assert separate(tiny_images, out / "mean-digit-1.png", out, *words, "--overwrite") == 1
    assert "mean-digit-1.png" in capsys.readouterr().err


@pytest.fixture
def ink_and_dust(tiny_images: Path, tmp_path: Path) -> list[str]:
    """Two priors whose sources have names of their own, as words."""
    words = []
    for name in ("ink", "dust"):
        folder = shutil.copytree(tiny_images, tmp_path / "priors" / name)
        cards.write(structs.replace(cards.read(folder), name=name, sources=(name,)), folder)
        words += ["--prior", str(folder)]
    return words


def test_every_source_may_have_a_prior_of_its_own(
    ink_and_dust: list[str], mixture: Path, tmp_path: Path
) -> None:
    words = [
        "separate",
        str(mixture),
        "-o",
        str(tmp_path / "out"),
        "--set",
        "steps=2",
        "--device",
        "cpu",
        "-q",
    ]
    name = ["--filename", "{prior}/{track}/{sample}/{stem}.{ext}", "--samples", "2"]
    assert run([*words, *ink_and_dust, *ink_and_dust[:2], *name]) == 0
    folder = tmp_path / "out" / "ink+dust" / "mix"
    assert sorted(p.name for p in (folder / "01").iterdir()) == ["dust.png", "ink-1.png", "ink-2.png"]
    record = json.loads((folder / "run.json").read_text())
    assert record["prior"] == ["ink", "dust", "ink"]
    assert len(record["files"]) == len(record["weights"]) == 3
    assert run([*words, *ink_and_dust, "--weights", "0.2,0.8"]) == 0
    assert (tmp_path / "out" / "mix" / "dust.png").is_file()


def test_priors_that_do_not_fit_are_refused(
    ink_and_dust: list[str],
    tiny_prior: Path,
    mixture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["separate", str(mixture), "-o", str(tmp_path / "out"), "--device", "cpu"]
    sound = ["--prior", str(tiny_prior)]
    for wrong in (["--sources", "3"], ["--weights", "1,1,1"], ["--prior", ink_and_dust[1], "--sources", "2"]):
        assert run([*words, *ink_and_dust, *wrong]) == 2
        assert "--prior" in capsys.readouterr().err
    assert run([*words, *sound, *ink_and_dust]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "tiny" in told[0]
    assert run([*words, *ink_and_dust, *sound, "--sources", "3"]) == 2
    assert run([*words, *ink_and_dust, *sound, "--method", "nmf"]) == 2
    assert not (tmp_path / "out").exists()


def test_gray_and_color_priors_do_not_mix(
    tiny_images: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    color = shutil.copytree(tiny_images, tmp_path / "color")
    config = DenoiserConfig(channels=3, size=(12, 12), widths=(8, 8), blocks=1, embedding=8)
    write_weights(DenoiserPrior(config), color / "denoiser" / "model.safetensors")
    (color / "denoiser" / "config.json").write_text(json.dumps(asdict(config)))
    cards.write(cards.with_files(cards.read(color), color), color)
    assert separate(tiny_images, mixture, tmp_path / "out", "--prior", str(color)) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_source_cannot_be_called_like_the_contact_sheet(
    ink_and_dust: list[str], mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(ink_and_dust[1])
    cards.write(structs.replace(cards.read(folder), sources=("contact",)), folder)
    assert run(["separate", str(mixture), "-o", str(tmp_path / "out"), *ink_and_dust]) == 1
    assert "contact.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_and_bad_files(
    tiny_images: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mixture.parent / "broken.png").write_bytes(b"x")
    assert separate(tiny_images, mixture.parent, tmp_path / "out") == 3
    assert "broken.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "mix" / "digit-2.png").is_file()
    (tmp_path / "empty").mkdir()
    assert separate(tiny_images, tmp_path / "empty", tmp_path / "out2") == 1
    assert "empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ["--weights", "a,b"],
        ["--weights", "1"],
        ["--weights", "1,0"],
        ["--weights", "1,1", "--sources", "3"],
        ["--sampler", "beam"],
        ["--set", "lam=1"],
        ["--format", "wav"],
        ["--filename", "{track}-{stem}.jpg"],
    ],
)
def test_wrong_words_are_refused(tiny_images: Path, mixture: Path, tmp_path: Path, more: list[str]) -> None:
    assert separate(tiny_images, mixture, tmp_path / "out", *more) == 2
    assert not (tmp_path / "out").exists()


def test_image_options_are_for_images(tiny_prior: Path, mixture: Path, tmp_path: Path) -> None:
    assert (
        run(
            [
                "separate",
                str(mixture),
                "--prior",
                str(tiny_prior),
                "-o",
                str(tmp_path / "o"),
                "--sources",
                "2",
            ]
        )
        == 2
    )


def test_weights() -> None:
    assert parse_weights("1,-2", 2) == (1.0, -2.0)
    with pytest.raises(UsageError):
        parse_weights("1", None)


def test_digits_are_evaluated(tiny_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--dataset", "mnist", "--data", str(DIGITS), "--prior", str(tiny_images)]
    words += ["--pairs", "3", "--pairing", "class", "--set", "steps=2", "--device", "cpu"]
    out = tmp_path / "report.json"
    assert run([*words, "--metric", "psnr", "-o", str(out)]) == 0
    assert "PSNR" in capsys.readouterr().out
    document = json.loads(out.read_text())
    assert set(document["results"]["psnr"]["sepcli"]) == {"0-4", "5-9", "average"}
    assert document["cost"]["evaluations"] == 2
    for wrong in (["--metric", "sdr"], ["--method", "nmf"], ["--sampler", "beam"]):
        assert run([*words, *wrong]) == 2
    assert run(["evaluate", "--dataset", "mnist", "--data", str(DIGITS)]) == 2
    assert run(["evaluate", "--pairing", "class"]) == 2


def test_a_denoiser_is_trained_and_used(mixture: Path, tmp_path: Path) -> None:
    words = ["train-prior", "--family", "denoiser", "--data", str(DIGITS), "--out", str(tmp_path / "prior")]
    words += [
        "--preset",
        "tiny",
        "--steps",
        "2",
        "--batch",
        "4",
        "--device",
        "cpu",
        "--set",
        "classes=halves",
        "-q",
    ]
    assert run(words) == 0
    assert run(words) == 1
    assert run([*words, "--sources", "a,b", "--overwrite"]) == 2
    assert run([*words, "--family", "vqvae", "--overwrite"]) == 2
    assert separate(tmp_path / "prior", mixture, tmp_path / "out", "-q") == 0


def test_audio_and_images_in_one_call_go_to_their_own_separators(
    mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --prior, images go to the bundled prior that alone fits, here for its engine."""
    monkeypatch.setattr(separate_command, "fitting_images", lambda *_: ("mnist",))
    sound = np.random.default_rng(0).normal(0, 0.1, 8000).clip(-1, 1)
    soundfile.write(tmp_path / "song.wav", sound, 8000)
    words = [
        "separate",
        str(mixture),
        str(tmp_path / "song.wav"),
        "-o",
        str(tmp_path / "out"),
        "--json",
        "-q",
    ]
    assert run([*words, "--sampler", "projected", "--set", "steps=2", "--device", "cpu"]) == 0
    records = json.loads(capsys.readouterr().out)["results"]
    assert [Path(record["input"]).name for record in records] == ["mix.png", "song.wav"]
    assert [len(record["stems"][0]) for record in records] == [2, 3]
    for record in records:
        assert record["format"] == 1
        assert {"samples", "seed", "settings", "sampler", "report", "versions"} <= record.keys()
        stored = json.loads(Path(record["record"]).read_text())
        assert stored.keys() | {"record"} == record.keys()
        assert (Path(record["record"]).parent / stored["input"]).resolve() == Path(record["input"]).resolve()
