"""``--only``, ``--two-stems``, ``--start`` and ``--length``: parts of recordings and of their stems."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.cli.app import run
from sepcli.cli.part import parse_clock
from sepcli.errors import UsageError

RATE = 8000


@pytest.fixture
def separate(tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Separate 6,000 samples of noise, with the tiny prior, into a folder; return the exit code."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (6000, 2))
    soundfile.write("mix.flac", noise, RATE, subtype="PCM_16")

    def call(out: str, *words: object, source: str = "mix.flac") -> int:
        prior = ["--prior", str(tiny_prior)]
        return run(
            ["separate", source, "-o", out, "-q", "--filename", "{stem}.{ext}", *prior, *map(str, words)]
        )

    return call


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def read(path: str) -> np.ndarray:
    return soundfile.read(path, always_2d=True, dtype="int16")[0].astype(int)


@pytest.mark.parametrize("consistency", ["wiener", "none"])
def test_one_stem_is_written_as_among_all(separate, consistency: str) -> None:
    for out, words in (("all", ()), ("one", ("--only", "drums"))):
        assert separate(out, "--consistency", consistency, *words) == 0
    assert files("one") == ["drums.flac", "mix.run.json"]
    assert Path("one/drums.flac").read_bytes() == Path("all/drums.flac").read_bytes()
    record = json.loads(Path("one/mix.run.json").read_text())
    assert (record["stems"], record["options"]["only"]) == ([["drums.flac"]], ["drums"])
    assert [stem["name"] for stem in record["report"]["sets"][0]] == ["drums", "bass"]


def test_two_stems_sum_to_the_mixture(separate) -> None:
    assert separate("all") == 0
    assert separate("two", "--two-stems", "bass") == 0
    assert files("two") == ["bass.flac", "mix.run.json", "no_bass.flac"]
    assert np.array_equal(read("two/bass.flac") + read("two/no_bass.flac"), read("mix.flac"))
    np.testing.assert_allclose(read("two/bass.flac"), read("all/bass.flac"), atol=1)
    assert json.loads(Path("two/mix.run.json").read_text())["report"]["residual"] < 1e-12


@pytest.mark.parametrize("kind", ["flac", "mp3"])
def test_a_part_is_separated_as_if_it_were_the_file(separate, kind: str) -> None:
    source, part = f"mix.{kind}", "part.flac"
    if kind == "mp3":
        soundfile.write(source, np.random.default_rng(1).uniform(-0.4, 0.4, 6000), RATE)
        from sepcli.media.audio import AudioReader

        with AudioReader(Path(source)) as reader:
            samples = reader.read(6000).T
        soundfile.write("part.wav", samples[1000:3400], RATE, subtype="DOUBLE")
        part = "part.wav"
    else:
        soundfile.write(part, read(source)[1000:3400].astype(np.int16), RATE, subtype="PCM_16")
    assert separate("of-all", "--start", "0.125", "--length", "0:00.3", source=source) == 0
    assert separate("alone", source=part) == 0
    suffix = Path(part).suffix
    for stem in ("drums", "bass"):
        found, expected = (soundfile.read(f"{out}/{stem}{suffix}")[0] for out in ("of-all", "alone"))
        assert len(found) == 2400
        np.testing.assert_allclose(found, expected, atol=1e-6 if kind == "mp3" else 0)
    record = json.loads(Path("of-all/mix.run.json").read_text())
    chosen = record["options"]
    assert (chosen["start"], chosen["length"], record["report"]["frames"]) == (0.125, 0.3, 2400)


def test_a_part_ends_with_the_file_and_begins_in_it(separate, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate("end", "--start", "0.7", "--length", "9") == 0
    assert np.array_equal(read("end/drums.flac") + read("end/bass.flac"), read("mix.flac")[5600:])
    assert separate("none", "--start", "0.75") == 1
    assert "mix.flac ends at 0.750 s" in capsys.readouterr().err
    assert not Path("none").exists()


def test_resume_tells_parts_apart(separate) -> None:
    assert separate("out", "--length", "0.5") == 0
    assert separate("out", "--length", "0.50", "--resume") == 0
    assert separate("out", "--resume") == 1
    assert separate("out", "--length", "0.5", "--start", "0.1", "--resume") == 1


def test_the_time_reference_of_a_part_is_later(separate) -> None:
    bext = bytearray(602)
    bext[338:346] = (2**32 - 500).to_bytes(8, "little")
    soundfile.write("field.wav", np.random.default_rng(1).uniform(-0.4, 0.4, 4000), RATE, subtype="PCM_16")
    with Path("field.wav").open("r+b") as file:
        data = file.read()
        size = len(data) + len(bext) + 8
        file.seek(4)
        file.write((size - 8).to_bytes(4, "little"))
        file.seek(len(data))
        file.write(b"bext" + len(bext).to_bytes(4, "little") + bext)
    assert separate("out", "--start", "0.25", source="field.wav") == 0
    stored = Path("out/drums.wav").read_bytes()
    place = stored.index(b"bext") + 8 + 338
    assert int.from_bytes(stored[place : place + 8], "little") == 2**32 - 500 + 2000


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--only", "piano"], "piano"),
        (["--only", ""], "--only"),
        (["--two-stems", "piano"], "piano"),
        (["--two-stems", "bass", "--only", "drums"], "contradict"),
        (["--start", "soon"], "soon"),
        (["--start", "-1"], "-1"),
        (["--length", "0"], "--length"),
        (["--length", "1e3"], "1e3"),
        (["--start", "nan"], "nan"),
    ],
)
def test_wrong_parts(separate, words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert separate("out", *words) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert named in first
    assert second.startswith("  → ")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.1", Fraction(1, 10)), ("1:30", 90), ("1:02:03.5", Fraction(7447, 2)), (" 075 ", 75)],
)
def test_times(text: str, seconds: Fraction) -> None:
    assert parse_clock(text, "--start") == seconds


@pytest.mark.parametrize("text", ["", ":", "1:", ":30", "1:2:3:4", "1.5:00", "٣", "inf", "1,5"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError):
        parse_clock(text, "--start")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["separate", "song.mp3", "-n", "htdemucs"], "use --prior NAME"),
        (["separate", "song.mp3", "--mp3"], "use --format mp3"),
        (["separate", "song.mp3", "--mp3-bitrate", "320"], "--bitrate 320"),
        (["separate", "song.mp3", "--shifts", "4"], "--set draws=4"),
        (["separate", "song.mp3", "--overlap", "0.1"], "--set overlap"),
        (["separate", "song.mp3", "-d", "cuda"], "--device cuda"),
        (["separate", "song.mp3", "--int24"], "--bit-depth 24"),
        (["separate", "song.mp3", "--float32"], "--bit-depth 32f"),
        (["separate", "-p", "spleeter:2stems", "song.mp3"], "--prior NAME"),
        (["-n", "htdemucs", "song.mp3"], "sepcli separate with --prior"),
        (["my song.mp3", "-o", "out"], "sepcli separate 'my song.mp3' -o out"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_habits_of_other_separators_are_answered(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert hint in second


def test_other_unknown_words_are_answered_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["separate", "a.wav", "--nonsense"], ["evaluate", "-q", "-z"], ["zzz", "a.wav"]):
        assert run(words) == 2
        assert "--help" in capsys.readouterr().err.splitlines()[1]
