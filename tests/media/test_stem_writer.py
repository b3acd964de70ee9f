"""Writing: the mixture's own sample format, exact sums, and all files or none."""

from __future__ import annotations

import errno
import os
import re
import resource
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from sepcli.errors import OutputError, UsageError
from sepcli.media.audio import AudioInfo, AudioReader
from sepcli.media.stem_format import Container, Encoding, stem_format
from sepcli.media.stems import StemWriter
from sepcli.media.tags import Tags

LOSSLESS = [("wav", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")] + [
    ("flac", name) for name in ("PCM_S8", "PCM_16", "PCM_24")
]


def info(subtype: str = "PCM_16", kind: str = "WAV", channels: int = 2, frames: int = 1000) -> AudioInfo:
    return AudioInfo(Path("mixture"), 44100, channels, frames, kind, subtype)


def stems_for(mixture: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([0.3 * mixture, 0.7 * mixture]) + 0.05 * rng.standard_normal((2, *mixture.shape))


def store(
    paths: list[Path],
    mixture: AudioInfo,
    signal: np.ndarray,
    then: Callable[[], object] = lambda: None,
    overwrite: bool = False,
) -> None:
    """Write stems (K, C, T) in blocks, and do something before the writer is left."""
    with StemWriter(paths, mixture, overwrite=overwrite) as writer:
        for start in range(0, signal.shape[-1], 1750):
            writer.write(signal[..., start : start + 1750])
        then()


def load(path: Path) -> np.ndarray:
    return soundfile.read(path, always_2d=True)[0].T


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(("extension", "subtype"), LOSSLESS)
def test_stems_keep_the_format_and_sum_to_the_mixture(
    tmp_path: Path, extension: str, subtype: str, channels: int
) -> None:
    source = tmp_path / f"mixture.{extension}"
    signal = np.random.default_rng(0).uniform(-1, 1, (1000, channels))
    signal[::10] = np.sign(signal[::10])
    soundfile.write(source, signal, 48000, subtype=subtype)
    paths = [tmp_path / "out" / f"{name}.{extension}" for name in ("a", "b")]
    with AudioReader(source) as reader, StemWriter(paths, reader.info) as writer:
        stored = []
        while (mixture := reader.read(300)).shape[-1]:
            stored.append(writer.write(stems_for(mixture), mixture))
    written = np.stack([load(path) for path in paths])
    np.testing.assert_array_equal(written, np.concatenate(stored, axis=-1))
    for path in paths:
        assert soundfile.info(path).subtype == subtype
        assert soundfile.info(path).samplerate == 48000
        assert soundfile.info(path).format == soundfile.info(source).format
    error = np.abs(written.sum(axis=0) - load(source))
    assert error.max() <= (0 if "PCM" in subtype else 1e-7)
    assert files(tmp_path / "out") == [f"a.{extension}", f"b.{extension}"]


@pytest.mark.parametrize(
    ("mixture", "container", "expected"),
    [
        (info(), None, ("WAV", "PCM_16", "wav")),
        (info(kind="WAVEX", channels=6), None, ("WAVEX", "PCM_16", "wav")),
        (info("PCM_24", "FLAC"), None, ("FLAC", "PCM_24", "flac")),
        (info("PCM_S8", "FLAC"), "wav", ("WAV", "PCM_U8", "wav")),
        (info("MPEG_LAYER_III", "MP3"), None, ("WAV", "FLOAT", "wav")),
        (info("VORBIS", "OGG"), None, ("WAV", "FLOAT", "wav")),
        (info("ULAW", "WAV"), None, ("WAV", "FLOAT", "wav")),
        (info("PCM_24", "AIFF"), None, ("WAV", "PCM_24", "wav")),
        (info("FLOAT"), "flac", ("FLAC", "PCM_24", "flac")),
        (info("PCM_32"), "flac", ("FLAC", "PCM_24", "flac")),
        (info("PCM_U8"), "flac", ("FLAC", "PCM_S8", "flac")),
        (info("PCM_16", frames=1 << 30), None, ("RF64", "PCM_16", "wav")),
    ],
)
def test_the_stem_format(mixture: AudioInfo, container: str | None, expected: tuple[str, ...]) -> None:
    chosen = stem_format(mixture, Encoding(container))  # type: ignore[arg-type]
    assert (chosen.format, chosen.subtype, chosen.extension) == expected


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (Encoding("wav", depth="24"), ("WAV", "PCM_24", None)),
        (Encoding("wav", depth="32f"), ("WAV", "FLOAT", None)),
        (Encoding("flac", depth="24"), ("FLAC", "PCM_24", None)),
        (Encoding("mp3"), ("MP3", "", 320_000)),
        (Encoding("ogg", bitrate=96_000), ("OGG", "VORBIS", 96_000)),
        (Encoding("opus"), ("OPUS", "", 160_000)),
        (Encoding("m4a"), ("M4A", "", 256_000)),
    ],
)
def test_the_encoding_decides(encoding: Encoding, expected: tuple[object, ...]) -> None:
    chosen = stem_format(info(), encoding)
    assert (chosen.format, chosen.subtype, chosen.bitrate) == expected


@pytest.mark.parametrize(
    ("encoding", "argument"),
    [
        (Encoding("wav", bitrate=1000), "bitrate"),
        (Encoding("flac", depth="32f"), "depth"),
        (Encoding("mp3", depth="16"), "depth"),
    ],
)
def test_an_encoding_that_does_not_exist_is_refused(encoding: Encoding, argument: str) -> None:
    with pytest.raises(UsageError) as caught:
        stem_format(info(), encoding)
    assert caught.value.argument == argument


@pytest.mark.parametrize("container", ["mp3", "ogg", "opus", "m4a"])
def test_lossy_stems_keep_length_and_alignment(tmp_path: Path, container: str) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 2, 50_001))
    signal = 0.03 * scipy.signal.lfilter([1], [1, -0.95], noise) * np.hanning(50_001)
    paths = [tmp_path / f"{name}.{container}" for name in ("a", "b")]
    with StemWriter(paths, info(frames=50_001), encoding=Encoding(container)) as writer:  # type: ignore[arg-type]
        for start in range(0, 50_001, 7000):
            writer.write(signal[..., start : start + 7000])
    for path, expected in zip(paths, signal, strict=True):
        with AudioReader(path) as reader:
            found = reader.read(reader.info.frames)
        if container == "opus":
            expected = soxr.resample(expected.T, 44100, 48000, "VHQ").T
        assert found.shape == expected.shape
        assert np.square(found - expected).sum() < 0.07 * np.square(expected).sum()


def test_a_huge_mixture_gets_rf64_stems(tmp_path: Path) -> None:
    with StemWriter([tmp_path / "a.wav"], info(frames=1 << 31)) as writer:
        writer.write(np.zeros((1, 2, 100)))
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"


def test_float_stems_in_flac_sum_to_the_rounded_mixture(tmp_path: Path) -> None:
    paths = [tmp_path / "a.flac", tmp_path / "b.flac"]
    mixture = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 500))
    with StemWriter(paths, info("FLOAT"), encoding=Encoding("flac")) as writer:
        writer.write(stems_for(mixture), mixture)
    np.testing.assert_array_equal(sum(load(p) for p in paths) * 2**23, np.rint(mixture * 2**23))


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with StemWriter([tmp_path / name], info("FLOAT")) as writer:
            writer.write(np.full((1, 2, 100), 0.25))
    header = (tmp_path / "a").read_bytes()
    assert header == (tmp_path / "b").read_bytes()
    assert header[header.index(b"PEAK") + 12 :][:4] == bytes(4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    paths = [tmp_path / "new" / "folder" / name for name in ("a.wav", "b.wav")]
    seen: list[str] = []

    def interrupt() -> None:
        seen.extend(files(tmp_path / "new" / "folder"))
        raise error

    with pytest.raises(error):
        store(paths, info(), np.zeros((2, 2, 100)), interrupt)
    assert len(seen) == 2
    assert not {"a.wav", "b.wav"} & set(seen)
    assert files(tmp_path) == []


def test_an_interrupted_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, done = Path.replace, []

    def once(self: Path, target: Path) -> Path:
        if done:
            raise OSError(28, "No space left on device")
        done.append(target)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(OutputError, match="no space"):
        store([tmp_path / "a.wav", tmp_path / "b.wav"], info(), np.zeros((2, 2, 100)))
    assert done
    assert files(tmp_path) == []


def test_existing_files_are_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"a\.wav"), StemWriter([tmp_path / "0.wav", path], info()):
        pass
    assert files(tmp_path) == ["a.wav"]

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store([path], info(), np.zeros((1, 2, 10)), interrupt, overwrite=True)
    assert path.read_text() == "precious"
    store([path], info(), np.zeros((1, 2, 10)), overwrite=True)
    assert load(path).shape == (2, 10)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(OutputError, match=r"a\.wav"):
        store([path], info(), np.zeros((1, 2, 10)), lambda: path.write_text("precious"))
    assert files(tmp_path) == ["a.wav"]
    assert path.read_text() == "precious"


def test_equal_paths_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"a\.wav"),
        StemWriter([tmp_path / "a.wav", tmp_path / "x" / ".." / "a.wav"], info()),
    ):
        pass


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as caught, StemWriter([tmp_path / "file" / "a.wav"], info()):
        pass
    assert "a.wav" in caught.value.message
    with pytest.raises(OutputError), StemWriter([tmp_path / ("n" * 300) / "a.wav"], info()):
        pass
    assert files(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OutputError, match="Permission"), StemWriter([tmp_path / "x" / "a.wav"], info()):
        pass


@pytest.mark.parametrize(
    ("kind", "channels", "rate"), [("FLAC", 9, 8000), ("OGG", 256, 8000), ("OGG", 1, 200_001)]
)
def test_what_a_container_cannot_hold_is_refused(tmp_path: Path, kind: str, channels: int, rate: int) -> None:
    mixture = replace(info(kind=kind, channels=channels), sample_rate=rate)
    with (
        pytest.raises(OutputError, match=rf"(?=.*{kind})(?=.*\b{channels}\b)(?=.*\b{rate}\b)"),
        StemWriter([tmp_path / "a"], mixture, encoding=Encoding(kind.lower())),
    ):
        pass
    assert files(tmp_path) == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """A limit on the size of files: like a disk that is full after 30 000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
@pytest.mark.parametrize("frames", [7600, 100000])
@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_nothing(tmp_path: Path, kind: str, frames: int) -> None:
    signal = np.random.default_rng(0).uniform(-1, 1, (2, 2, frames))
    with pytest.raises(OutputError, match=re.escape(str(tmp_path))):
        store([tmp_path / "a", tmp_path / "b"], info(kind=kind), signal)
    assert files(tmp_path) == []


@pytest.mark.parametrize("container", ["wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4"])
@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_named_by_the_system(tmp_path: Path, container: Container, capfd) -> None:
    signal = np.random.default_rng(0).uniform(-1, 1, (1, 2, 200_000))
    with (
        pytest.raises(OutputError, match=os.strerror(errno.EFBIG)),
        StemWriter([tmp_path / "a"], info(), encoding=Encoding(container), names=("a",)) as writer,
    ):
        writer.write(signal, signal[0])
    assert files(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("container", ["wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4"])
def test_a_link_put_in_place_is_not_written_through(tmp_path: Path, container: Container) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    layout = replace(info(kind="WAVEX", frames=60_000), mask=0x3, tags=Tags({"title": "x"}, bytes(602)))

    def swap() -> None:
        silence, encoding = np.zeros((1, 2, 30_000)), Encoding(container)
        with StemWriter([tmp_path / "out" / "a"], layout, encoding=encoding, names=("a",)) as writer:
            writer.write(silence, silence[0])
            (part,) = (tmp_path / "out").iterdir()
            part.unlink()
            part.symlink_to(precious)
            writer.write(silence, silence[0])

    with pytest.raises(OutputError, match=r"out/a"):
        swap()
    assert precious.read_text() == "precious"
    assert files(tmp_path) == ["precious"]


@pytest.mark.parametrize("fails", [False, True])
def test_writers_may_exchange_their_names_before_they_are_done(tmp_path: Path, fails: bool) -> None:
    paths = [[tmp_path / "out" / name / "a.wav"] for name in ("01", "02", "03")]

    def exchange() -> None:
        with StemWriter(paths[0], info()) as one, StemWriter(paths[1], info()) as two:
            with StemWriter(paths[2], info()) as three:
                for size, (writer, own) in enumerate(
                    zip((one, two, three), paths[1:] + paths[:1], strict=True)
                ):
                    writer.write(np.full((1, 2, 5), 0.25 * (size + 1)))
                    writer.paths = tuple(own)
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            exchange()
        assert [path for path in tmp_path.rglob("*.wav") if path != paths[0][0]] == []
        assert not paths[2][0].parent.exists()
        return
    exchange()
    assert [soundfile.read(own[0])[0].max() for own in paths] == [0.75, 0.25, 0.5]
    assert not list(tmp_path.rglob("*.part"))
