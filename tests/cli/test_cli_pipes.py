"""stdin and stdout, and notes on what of a file is not kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.cli.app import run

RATE = 8000


class Pipe:
    """stdin that holds bytes."""

    def __init__(self, data: bytes, terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def sound(form: str = "FLAC") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (4000, 2))
    soundfile.write(file, noise, RATE, format=form, subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stdin_is_separated(here: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(sound()))
    assert run(["separate", "-", "--prior", str(tiny_prior), "-q"]) == 0
    Path("mix.flac").write_bytes(sound())
    assert run(["separate", "mix.flac", "--prior", str(tiny_prior), "-q"]) == 0
    for stem in ("drums.flac", "bass.flac"):
        assert Path("separated/stdin", stem).read_bytes() == Path("separated/mix", stem).read_bytes()
    record = json.loads(Path("separated/stdin/run.json").read_text())
    assert record["input"].endswith("stdin")


def test_an_image_from_stdin_is_an_image(
    here: Path, tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save(file, "PNG")
    monkeypatch.setattr("sys.stdin", Pipe(file.getvalue()))
    assert run(["separate", "-", "--prior", str(tiny_images), "--set", "steps=2", "-q"]) == 0
    assert Path("separated/stdin/contact.png").is_file()


def test_one_stem_goes_to_stdout(
    here: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(sound("WAV")))
    assert run(["separate", "-", "-o", "-", "--only", "bass", "--prior", str(tiny_prior)]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    assert not list(here.iterdir())
    Path("mix.wav").write_bytes(sound("WAV"))
    assert run(["separate", "mix.wav", "--prior", str(tiny_prior), "-q"]) == 0
    assert out == Path("separated/mix/bass.wav").read_bytes()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--only"),
        (["--only", "drums,bass"], "--only"),
        (["--only", "bass", "--samples", "2"], "--samples"),
        (["--only", "bass", "--format", "flac"], "--format"),
        (["--only", "bass", "--json"], "--json"),
        (["--only", "bass", "--dry-run"], "--dry-run"),
        (["--only", "bass", "other.wav"], "one file"),
    ],
)
def test_what_does_not_fit_stdout_is_refused(
    here: Path, words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["separate", "mix.wav", "-o", "-", *words]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "stdout" in first
    assert named in second


@pytest.mark.parametrize(("data", "terminal", "code"), [(b"", False, 1), (b"x", True, 2)])
def test_an_empty_stdin_and_a_terminal_are_refused(
    here: Path,
    data: bytes,
    terminal: bool,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(data, terminal))
    assert run(["separate", "-"]) == code
    assert "stdin" in capsys.readouterr().err.splitlines()[0]


def test_the_stream_that_is_read_and_a_cover_are_noted(
    here: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with av.open("two.mkv", "w") as file:
        streams = [file.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            samples = np.full((1, 4000), 1000 * (number + 1), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate = RATE
            for packet in (*stream.encode(frame), *stream.encode(None)):
                file.mux(packet)
    assert run(["separate", "two.mkv", "--prior", str(tiny_prior), "--format", "wav"]) == 0
    assert capsys.readouterr().err == "two: the first of 2 audio streams is separated\n"
    stems = [soundfile.read(f"separated/two/{stem}.wav", dtype="int16")[0] for stem in ("drums", "bass")]
    assert (stems[0] + stems[1] == 1000).all()
    assert run(["separate", "two.mkv", "--prior", str(tiny_prior), "--overwrite", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_a_cover_is_copied_or_noted(here: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import mutagen.flac

    Path("mix.flac").write_bytes(sound())
    image = io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    picture = mutagen.flac.Picture()
    picture.data, picture.mime, picture.type = image.getvalue(), "image/png", 3
    tagged = mutagen.flac.FLAC("mix.flac")
    tagged.add_picture(picture)
    tagged.save()
    assert run(["separate", "mix.flac", "--prior", str(tiny_prior)]) == 0
    assert capsys.readouterr().err == ""
    assert mutagen.flac.FLAC("separated/mix/drums.flac").pictures[0].data == image.getvalue()
    assert run(["separate", "mix.flac", "--prior", str(tiny_prior), "--format", "wav", "-o", "wav"]) == 0
    assert capsys.readouterr().err == "mix: its cover image is not copied to the stems\n"
