"""``sepcli colorize``, from words to files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from sepcli.cli.app import run
from sepcli.priors.images import colorizer as colors
from sepcli.separation.colorize import at_equal_chroma
from sepcli.separation.ranking import COLOR_RULE
from sepcli.separation.seeds import sample_seeds
from sepcli.signal.chroma import GRAYS

GRAY = np.random.default_rng(0).integers(40, 215, (12, 14), np.uint8)


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    Image.fromarray(GRAY).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def colorize(prior: Path, raster: Path | str, out: Path, *more: str) -> int:
    words = ["colorize", str(raster), "--prior", str(prior), "-o", str(out), "--device", "cpu"]
    return run([*words, "--set", "steps=3", *more])


def stored(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def gray_of(image: Image.Image, gray: str = "luma") -> np.ndarray:
    luma = image.convert("RGB").convert("L")
    return (
        np.asarray(luma if gray == "luma" else image.convert("RGB"))
        .astype(float)
        .reshape(image.height, image.width, -1)
        .mean(-1)
    )


@pytest.mark.parametrize("gray", ["luma", "mean"])
def test_a_gray_image_is_colorized(tiny_colors: Path, raster: Path, tmp_path: Path, gray: str) -> None:
    assert colorize(tiny_colors, raster, tmp_path / "out", "--gray", gray) == 0
    folder = tmp_path / "out" / "photo"
    assert sorted(p.name for p in folder.iterdir()) == ["colorized.png", "contact.png", "run.json"]
    made = stored(folder / "colorized.png")
    assert made.shape == (12, 14, 3)
    assert np.ptp(made.astype(int), axis=-1).max() > 20
    assert np.abs(gray_of(Image.fromarray(made), gray) - GRAY).max() <= 1
    record = json.loads((folder / "run.json").read_text())
    assert (record["prior"], record["gray"], record["report"]["had_colors"]) == ("colors", gray, False)
    report = record["report"]
    assert (report["size"], report["working_size"]) == ([12, 14], [8, 9])
    assert record["settings"]["sigma_max"] == 20
    assert (record["sampler"], report["evaluations"]) == ("projected", 3)
    assert record["samples"][0]["residual_rms"] < 1
    assert len(record["files"]) == 2
    assert sum(record["weights"]) == pytest.approx(1)


def test_draws_are_ranked_and_summed_up(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "photo.png"
    Image.fromarray(GRAY[:8, :8]).save(flat)  # of the prior's size: nothing is enlarged
    documents = []
    for seed in ("1", "1", "2"):
        out = tmp_path / f"out{len(documents)}"
        assert colorize(tiny_colors, flat, out, "--samples", "3", "--seed", seed, "--json", "-q") == 0
        documents.append(json.loads(capsys.readouterr().out)["results"][0])
    folder = tmp_path / "out0" / "photo"
    names = ["01", "02", "03", "mean", "std", "contact"]
    assert sorted(p.stem for p in folder.glob("*.png")) == sorted(names)
    assert stored(folder / "02.png").tolist() == stored(tmp_path / "out1/photo/02.png").tolist()
    assert stored(folder / "02.png").tolist() != stored(tmp_path / "out2/photo/02.png").tolist()
    record = documents[0]
    assert sorted(sample["seed"] for sample in record["samples"]) == sorted(sample_seeds(1, 0, 3))
    rest = [sample["residual_rms"] for sample in record["samples"]]
    bounds = torch.tensor([sample["log_prior"] for sample in record["samples"]])
    draws = np.stack([stored(folder / f"{n}.png") for n in names[:3]]).astype(float)
    excess = at_equal_chroma(bounds, torch.from_numpy(draws / 255).movedim(-1, 1)).tolist()
    merits = [(r > min(rest) + 1 / 255, -nats) for r, nats in zip(rest, excess, strict=True)]
    assert merits == sorted(merits)
    assert record["rank"] == COLOR_RULE
    np.testing.assert_allclose(draws.mean(0), stored(folder / "mean.png"), atol=1.01)
    spread = record["report"]["std_scale"] * np.sqrt((draws.std(0, ddof=1) ** 2).mean(-1))
    np.testing.assert_allclose(spread, stored(folder / "std.png"), atol=2 * record["report"]["std_scale"])
    assert stored(folder / "std.png").max() == 255
    apart = [np.sqrt(((draws[a] - draws[b]) ** 2).mean()) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert record["report"]["diversity"] == pytest.approx(np.mean(apart), abs=0.5)
    assert stored(folder / "contact.png")[..., 0].size > 6 * (8 * 14) ** 2  # gray, samples, mean, std


def save_every_kind(folder: Path) -> dict[str, np.ndarray]:
    """Files of many kinds → the gray (luma) that their colorizations must have."""
    folder.mkdir()
    image, rgb = Image.fromarray(GRAY), np.random.default_rng(1).integers(0, 256, (12, 14, 3), np.uint8)
    color, exif = Image.fromarray(rgb), Image.Exif()
    exif[0x0112] = 6
    clear = color.copy()
    clear.putalpha(Image.fromarray(GRAY))
    deep = Image.fromarray((GRAY.astype(np.uint16) * 257 + 90).astype(np.uint16))
    frames = [image, Image.fromarray(GRAY[::-1].copy())]
    saved: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "gray.bmp": (image, {}),
        "same.png": (image.convert("RGB"), {}),
        "rgb.png": (color, {}),
        "rgba.png": (clear, {}),
        "palette.png": (color.quantize(16), {}),
        "deep.png": (deep, {}),
        "cmyk.jpg": (color.convert("CMYK"), {}),
        "turned.jpg": (image, {"exif": exif}),
        "moving.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "dot.png": (Image.fromarray(GRAY[:1, :1]), {}),
        "long.png": (Image.fromarray(np.tile(GRAY, (2, 220))[:20, :3000]), {}),
    }
    for name, (made, options) in saved.items():
        made.save(folder / name, **options)  # type: ignore[arg-type]
    found = {}
    for name in saved:
        with Image.open(folder / name) as opened:
            found[Path(name).stem] = gray_of(opened) if name != "deep.png" else GRAY + 90 / 257
    return found | {"turned": np.rot90(found["turned"], -1)}


def test_any_image_is_colorized_and_keeps_its_gray(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grays = save_every_kind(tmp_path / "in")
    assert colorize(tiny_colors, tmp_path / "in", tmp_path / "out", "--samples", "2") == 0
    told = capsys.readouterr()
    notes = [line.replace(":", " ").split() for line in told.err.splitlines()[:-1]]
    assert sorted(note[0] for note in notes) == ["cmyk", "moving", "palette", "rgb", "rgba"]
    assert any("2" in note for note in notes if note[0] == "moving")
    assert len(told.out.splitlines()) == len(grays)
    for name, gray in grays.items():
        folder = tmp_path / "out" / name
        record = json.loads((folder / "run.json").read_text())
        assert record["report"]["had_colors"] == (name in ("rgb", "rgba", "palette", "cmyk"))
        for file in ("01.png", "02.png", "mean.png"):
            with Image.open(folder / file) as made:
                found = gray_of(made) if name != "deep" else stored_deep(folder / file)
                assert (made.mode == "RGBA") == (name == "rgba")
            assert found.shape == gray.shape
            assert np.abs(found - gray).max() <= (1 if name != "deep" else 0.01)
    assert np.array_equal(stored(tmp_path / "out/rgba/01.png")[..., 3], GRAY)
    assert json.loads((tmp_path / "out/moving/run.json").read_text())["report"]["frames"] == 2
    assert json.loads((tmp_path / "out/long/run.json").read_text())["report"]["size"] == [20, 3000]


def stored_deep(path: Path) -> np.ndarray:
    """The luma of a PNG of 16 bits per channel, in 8-bit levels, without Pillow, which drops half of them."""
    import struct
    import zlib

    data, place, packed = path.read_bytes(), 8, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, bits, color = struct.unpack(">IIBB", body[:10])
            assert (bits, color) == (16, 2)
        packed += body if kind == b"IDAT" else b""
        place += length + 12
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    values = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").reshape(height, width, 3)
    return values @ np.array([0.299, 0.587, 0.114]) / 257


def hint(path: Path, size: tuple[int, int] = (14, 12)) -> Path:
    strokes = Image.new("RGBA", size)
    strokes.paste((255, 60, 60, 255), (0, 0, size[0] // 2, size[1]))
    strokes.save(path)
    return path


def test_hints_are_kept_to(tiny_colors: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat.png"
    Image.fromarray(np.full((12, 14), 120, np.uint8)).save(flat)
    words = ["--hint", str(hint(tmp_path / "hint.png")), "--set", "steps=10", "--set", "hint_sigma=0.01"]
    assert colorize(tiny_colors, flat, tmp_path / "out", *words, "-q") == 0
    made = stored(tmp_path / "out/flat/colorized.png").astype(float)
    wanted = 120 + np.array([255, 60, 60]) - (0.299 * 255 + 0.701 * 60)
    assert np.abs(made[:, :5] - wanted).max() < 8
    assert np.abs(made[:, 8:] - wanted).max() > 8
    assert json.loads((tmp_path / "out/flat/run.json").read_text())["hint"] == "../../hint.png"


def test_resume_tells_hints_apart(
    tiny_colors: Path, raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", hint(tmp_path / "hint.png")
    words = ["--resume", "--hint", str(file)]
    assert colorize(tiny_colors, raster, out, *words) == 0
    assert colorize(tiny_colors, raster, out, *words) == 0
    assert colorize(tiny_colors, raster, out, "--resume") == 1
    assert "run.json" in capsys.readouterr().err
    with Image.open(file) as painted:
        ImageOps.invert(painted.convert("RGB")).save(file)
    assert colorize(tiny_colors, raster, out, *words) == 1
    assert "hint_sha256" in capsys.readouterr().err


def test_hints_that_cannot_be_used_are_refused(
    tiny_colors: Path, raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (14, 12)).save(tmp_path / "opaque.png")
    Image.new("RGBA", (14, 12)).save(tmp_path / "empty.png")
    for file, said in (
        (hint(tmp_path / "small.png", (7, 6)), "7 x 6"),
        (tmp_path / "opaque.png", "opaque.png"),
        (tmp_path / "empty.png", "empty.png"),
        (tmp_path / "missing.png", "missing.png"),
    ):
        assert colorize(tiny_colors, raster, tmp_path / "out", "--hint", str(file)) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert said in lines[0]
    assert colorize(tiny_colors, tmp_path, tmp_path / "out", "--hint", str(tmp_path / "small.png")) == 2
    assert not (tmp_path / "out").exists()


def test_a_result_without_colors_is_warned_of(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "white.png")
    assert colorize(tiny_colors, tmp_path / "white.png", tmp_path / "out", "--samples", "2") == 0
    told = capsys.readouterr().err
    assert "01.png" in told
    assert "02.png" in told


def test_nothing_is_replaced_unasked_and_batches_go_on(
    tiny_colors: Path, raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (tmp_path / "broken.png").write_bytes(b"x")
    assert colorize(tiny_colors, f"{tmp_path}/*.png", out) == 3
    assert "broken.png" in capsys.readouterr().err
    before = (out / "photo" / "colorized.png").stat().st_mtime_ns
    assert colorize(tiny_colors, raster, out) == 1
    assert "colorized.png" in capsys.readouterr().err
    assert colorize(tiny_colors, raster, out, "--resume", "--json") == 0
    (skipped,) = json.loads(capsys.readouterr().out)["results"]
    assert (skipped["input"], skipped["skipped"]) == (str(raster), True)
    assert (out / "photo" / "colorized.png").stat().st_mtime_ns == before
    assert colorize(tiny_colors, raster, out, "--overwrite") == 0
    assert (out / "photo" / "colorized.png").stat().st_mtime_ns > before
    template = ["--filename", "{prior}-{track}-{sample}.{ext}", "--samples", "2"]
    assert colorize(tiny_colors, raster, tmp_path / "flat", *template) == 0
    made = {f"colors-photo-{part}.png" for part in ("01", "02", "mean", "std")}
    assert {p.name for p in (tmp_path / "flat").iterdir()} == made | {"photo.contact.png", "photo.run.json"}


def test_a_place_that_cannot_be_written(
    tiny_colors: Path, raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert colorize(tiny_colors, raster, tmp_path / "file") == 1
    assert "file" in capsys.readouterr().err
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        assert colorize(tiny_colors, raster, tmp_path / "locked") == 1


def test_wrong_words_are_refused(
    tiny_colors: Path,
    tiny_images: Path,
    raster: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    for more in (
        ["--gray", "green"],
        ["--sampler", "beam"],
        ["--set", "lam=1"],
        ["--set", "hint_sigma=-1"],
        ["--filename", "{track}.jpg"],
        ["--filename", "{track}.{ext}", "--samples", "2"],
        ["--samples", "0"],
    ):
        assert colorize(tiny_colors, raster, out, *more) == 2
        assert len(capsys.readouterr().err.splitlines()) == 2
    assert colorize(tiny_images, raster, out) == 4
    assert "images" in capsys.readouterr().err
    assert colorize(Path("no-such-prior"), raster, out) == 4
    assert "no-such-prior" in capsys.readouterr().err
    assert not out.exists()


def save_saying(path: Path, word: str, data: np.ndarray = GRAY, kind: str = "tEXt") -> Path:
    """A PNG file that says what its gray is."""
    said = PngInfo()
    if kind == "iTXt":
        said.add_itxt("sepcli:gray", word)
    else:
        said.add_text("sepcli:gray", word, zip=kind == "zTXt")
    Image.fromarray(data).save(path, pnginfo=said)
    return path


def test_what_the_gray_is_of_is_found_for_every_file(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rgb = tmp_path / "in", np.random.default_rng(1).integers(0, 256, (12, 14, 3), np.uint8)
    folder.mkdir()
    Image.fromarray(GRAY).save(folder / "a-plain.png")
    Image.fromarray(GRAY).convert("RGB").save(folder / "b-stored.png")
    Image.fromarray(rgb).save(folder / "c-color.png")
    for kind in ("tEXt", "zTXt", "iTXt"):
        save_saying(folder / f"d-{kind}.png", "mean", kind=kind)
    save_saying(folder / "e-says-luma.png", "luma")
    save_saying(folder / "f-color.png", "mean", rgb)
    for number, word in enumerate(("MEAN", "mean ", "", "green", "mean\x00", "x" * 1000)):
        save_saying(folder / f"g-other{number}.png", word)
    loaded: list[Path] = []

    def load(folder: Path, own: Callable[[Path], object] = colors.load_image_prior) -> object:
        loaded.append(folder)
        return own(folder)

    monkeypatch.setattr(colors, "load_image_prior", load)
    assert colorize(tiny_colors, folder, tmp_path / "out") == 0
    assert len(loaded) == 1
    told = capsys.readouterr()
    assert sorted(line.split()[0] for line in told.err.splitlines()[:-1]) == ["c-color", "f-color"]
    expected = {
        "a": ("luma", "usual"),
        "b": ("luma", "stored"),
        "c": ("luma", "color"),
        "d": ("mean", "said"),
        "e": ("luma", "said"),
        "f": ("mean", "said"),
        "g": ("luma", "usual"),
    }
    reasons = set()
    for raster, line in zip(sorted(folder.iterdir()), told.out.splitlines(), strict=True):
        record = json.loads((tmp_path / "out" / raster.stem / "run.json").read_text())
        gray, why = expected[raster.stem[0]]
        reasons.add((why, record["gray_from"]))
        assert (record["gray"], record["options"]["gray"]) == (gray, "auto")
        assert record["weights"] == list(GRAYS[gray])
        assert gray in line
        assert line.endswith(record["gray_from"])
        made = Image.open(tmp_path / "out" / raster.stem / "colorized.png")
        with Image.open(raster) as file:
            assert np.abs(gray_of(made, gray) - gray_of(file, gray)).max() <= 1
    assert len(reasons) == len({why for why, _ in reasons}) == len({found for _, found in reasons}) == 4


def test_the_option_goes_before_what_the_file_says(tiny_colors: Path, tmp_path: Path) -> None:
    raster = save_saying(tmp_path / "photo.png", "mean")
    assert colorize(tiny_colors, raster, tmp_path / "out", "--gray", "luma") == 0
    record = json.loads((tmp_path / "out/photo/run.json").read_text())
    assert record["gray"] == "luma"
    assert "--gray" in record["gray_from"]
    assert record["weights"] == list(GRAYS["luma"])
    made = Image.open(tmp_path / "out/photo/colorized.png")
    assert np.abs(gray_of(made, "luma") - GRAY).max() <= 1


def test_a_run_is_resumed_with_the_same_gray(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raster = save_saying(tmp_path / "photo.png", "mean")
    out = tmp_path / "out"
    assert colorize(tiny_colors, raster, out, "--resume") == 0
    assert colorize(tiny_colors, raster, out, "--resume") == 0
    for word in ("luma", "mean"):
        assert colorize(tiny_colors, raster, out, "--resume", "--gray", word) == 1
        assert "run.json" in capsys.readouterr().err


def test_a_text_that_is_too_large_is_not_unpacked(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raster = save_saying(tmp_path / "photo.png", "mean" * 10**6, kind="zTXt")
    assert raster.stat().st_size < 10**5
    assert colorize(tiny_colors, raster, tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "photo.png" in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "out").exists()


def test_audio_has_no_colors(tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default prior's remark does not come first."""
    (tmp_path / "a song.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    song = str(tmp_path / "a song.wav")
    for prior in ([], ["--prior", str(tiny_colors)]):
        assert run(["colorize", song, *prior]) == 2
        first, second = capsys.readouterr().err.splitlines()
        assert song in first
        assert f"sepcli separate '{song}'" in second
    Image.fromarray(GRAY).save(tmp_path / "gray.png")
    assert colorize(tiny_colors, tmp_path / "gray.png", tmp_path / "out", song) == 3
    assert song in capsys.readouterr().err
    assert (tmp_path / "out/gray/colorized.png").is_file()
