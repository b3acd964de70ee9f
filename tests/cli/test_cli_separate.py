"""``sepcli separate`` end to end: real files in, real files out, with a prior of tiny untrained networks."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import sepcli
from sepcli.atomic import temporary
from sepcli.cli import run_record
from sepcli.cli.app import run
from sepcli.errors import OutputError
from sepcli.priors.lass.engine import LassEngine
from sepcli.separation.seeds import sample_seeds

STEMS = ("drums", "bass")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in an empty folder of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_COLOR", "1")
    return folder


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.4, 0.4, (frames, channels))


def write(
    path: str | Path, frames: int = 2000, channels: int = 1, rate: int = 8000, seed: int = 0, **options: str
) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), noise(frames, channels, seed), rate, **options)
    return Path(path)


def read(path: str | Path) -> np.ndarray:
    return soundfile.read(os.fsencode(path), always_2d=True, dtype="float64")[0]


def files(folder: str | Path = ".") -> list[str]:
    """All files, temporary ones too."""
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def two_lines(text: str) -> tuple[str, str]:
    """The two lines of an error, which the counts of a batch may follow."""
    first, second, *counts = text.splitlines()
    assert not counts or re.fullmatch(r"\d+ done, \d+ failed", *counts)
    assert first.startswith("error: ")
    assert second.startswith("  → ")
    assert len(second) > 6
    return first, second


@pytest.fixture
def separate(tiny_prior: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command with the tiny prior; return exit code, stdout and stderr."""

    def call(*words: object, prior: str | Path | None = None) -> tuple[int, str, str]:
        code = run(["separate", *map(str, words), "--prior", str(prior or tiny_prior)])
        return code, *capsys.readouterr()

    return call


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize(
    ("name", "rate", "channels", "options", "stored"),
    [
        ("mix.wav", 44100, 2, {"subtype": "PCM_16"}, ("WAV", "PCM_16")),
        ("mix.wav", 8000, 1, {"subtype": "PCM_U8"}, ("WAV", "PCM_U8")),
        ("mix.wav", 96000, 1, {"subtype": "PCM_24"}, ("WAV", "PCM_24")),
        ("mix.wav", 4000, 6, {"subtype": "PCM_32"}, ("WAV", "PCM_32")),
        ("mix.flac", 44100, 2, {"subtype": "PCM_24"}, ("FLAC", "PCM_24")),
        ("mix.flac", 16000, 1, {"subtype": "PCM_16"}, ("FLAC", "PCM_16")),
        ("mix.wav", 22050, 2, {"subtype": "FLOAT"}, ("WAV", "FLOAT")),
        ("mix.ogg", 44100, 2, {"subtype": "VORBIS"}, ("WAV", "FLOAT")),
        ("mix.mp3", 44100, 2, {"subtype": "MPEG_LAYER_III"}, ("WAV", "FLOAT")),
    ],
)
def test_stems_are_stored_like_the_mixture_and_sum_to_it(
    separate, name: str, rate: int, channels: int, options: dict[str, str], stored: tuple[str, str]
) -> None:
    write(name, rate // 3, channels, rate, **options)
    code, out, err = separate(name)
    assert (code, err) == (0, "")
    extension = "flac" if stored[0] == "FLAC" else "wav"
    assert files("separated") == ["mix/bass." + extension, "mix/drums." + extension, "mix/run.json"]
    assert out.startswith(f"{Path('separated/mix')}: drums, bass ")
    mixture = read(name)
    stems = [read(f"separated/mix/{stem}.{extension}") for stem in STEMS]
    for stem in STEMS:
        info = soundfile.info(f"separated/mix/{stem}.{extension}")
        assert (info.format, info.subtype, info.samplerate, info.channels) == (*stored, rate, channels)
        assert info.frames == len(mixture)
    if stored[1].startswith("PCM"):
        assert np.array_equal(stems[0] + stems[1], mixture)
    else:
        decoders = 2**-15 if name.endswith("mp3") else 1e-7  # libsndfile's and FFmpeg's differ
        np.testing.assert_allclose(stems[0] + stems[1], mixture, atol=decoders)
    assert all(np.abs(stem).max() > 0.001 for stem in stems)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_one_sample_is_separated(separate, rate: int) -> None:
    write("mix.wav", 1, 2, rate)
    assert separate("mix.wav")[0] == 0
    assert np.array_equal(sum(read(f"separated/mix/{stem}.wav") for stem in STEMS), read("mix.wav"))


@pytest.mark.parametrize("consistency", ["wiener", "residual", "project", "none"])
def test_silence_stays_silent(separate, consistency: str) -> None:
    soundfile.write("mix.wav", np.zeros((5000, 2)), 8000)
    code, _, err = separate("mix.wav", "--consistency", consistency)
    assert (code, err) == (0, "")
    for stem in STEMS:
        assert not read(f"separated/mix/{stem}.wav").any()


def test_a_constant_offset_is_an_ordinary_mixture(separate) -> None:
    soundfile.write("mix.wav", np.full(3000, 0.5), 8000)
    assert separate("mix.wav")[0] == 0
    assert np.array_equal(sum(read(f"separated/mix/{stem}.wav") for stem in STEMS), read("mix.wav"))


def test_format_changes_the_container(separate) -> None:
    write("mix.wav", subtype="PCM_16")
    assert separate("mix.wav", "--format", "flac")[0] == 0
    assert soundfile.info("separated/mix/bass.flac").subtype == "PCM_16"


def test_samples_are_kept_and_differ(separate) -> None:
    write("mix.wav", 6000)
    assert separate("mix.wav", "--samples", 3, "--seed", 5)[0] == 0
    sets = [[read(f"separated/mix/0{n}/{stem}.wav") for stem in STEMS] for n in (1, 2, 3)]
    assert len(files("separated")) == 7
    for stems in sets:
        assert np.array_equal(stems[0] + stems[1], read("mix.wav"))
    assert (sets[0][0] != sets[1][0]).any()
    assert (sets[1][0] != sets[2][0]).any()
    assert separate("mix.wav", "--consistency", "none", "-o", "one", "--seed", 5)[0] == 0
    assert separate("mix.wav", "--consistency", "none", "-o", "two", "--seed", 5, "--samples", 2)[0] == 0
    drawn = [draw["seed"] for draw in json.loads(Path("two/mix/run.json").read_text())["samples"]]
    place = 1 + drawn.index(sample_seeds(5, 0, 1)[0])
    assert np.array_equal(read("one/mix/bass.wav"), read(f"two/mix/0{place}/bass.wav"))


def test_the_seed_decides(separate) -> None:
    write("mix.flac", 6000)
    for out, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 2**63 - 1)):
        assert separate("mix.flac", "-o", out, "--seed", seed)[0] == 0
    for stem in STEMS:
        assert Path(f"a/mix/{stem}.flac").read_bytes() == Path(f"b/mix/{stem}.flac").read_bytes()
    assert Path("a/mix/bass.flac").read_bytes() != Path("c/mix/bass.flac").read_bytes()


def test_a_mixture_does_not_depend_on_its_batch_of_files(separate) -> None:
    for n in range(3):
        write(f"in/{n}.wav", 4000 + n, seed=n)
    assert separate("in", "-o", "all")[0] == 0
    assert separate("in/1.wav", "-o", "one", "--set", "batch=1")[0] == 0
    assert Path("all/1/bass.wav").read_bytes() == Path("one/1/bass.wav").read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        ["--sampler", "greedy"],
        ["--sampler", "beam", "--set", "width=2"],
        ["--sampler", "top-k", "--set", "top_k=3"],
        ["--sampler", "ancestral", "--set", "temperature=0.7", "--set", "lam=2"],
        ["--set", "max_candidates=5", "--set", "shortlist=3"],
        ["--set", "draws=2", "--set", "window=0.3", "--set", "overlap=0", "--set", "fft_seconds=0.01"],
        ["--set", "max_candidates=999999999", "--set", "shortlist=4096"],
    ],
    ids=" ".join,
)
def test_samplers_and_settings(separate, words: list[str]) -> None:
    write("mix.wav", 3000)
    code, _, err = separate("mix.wav", *words)
    assert (code, err) == (0, "")
    assert np.array_equal(sum(read(f"separated/mix/{stem}.wav") for stem in STEMS), read("mix.wav"))


# ---------------------------------------------------------------- the record and the document


def test_the_record_says_how_to_repeat_the_run(separate, tiny_prior: Path) -> None:
    write("mix.wav", 3000)
    assert (
        separate("mix.wav", "--seed", 7, "--sampler", "top-k", "--set", "top_k=4", "--set", "draws=2")[0] == 0
    )
    record = json.loads(Path("separated/mix/run.json").read_text())
    assert record["format"] == 1
    assert record["input"] == "../../mix.wav"
    assert record["stems"] == [[f"{stem}.wav" for stem in STEMS]]
    assert record["prior"] == "tiny"
    assert set(record["files"]) >= {"codec/model.safetensors", "transformer/model.safetensors"}
    assert all(len(digest) == 64 for digest in record["files"].values())
    assert (record["seed"], record["sampler"], record["device"]) == (7, "top-k", str(_device()))
    assert (record["settings"]["lam"], record["settings"]["top_k"]) == (1.0, 4)
    assert record["stream"]["samples"] == 2
    assert record["stream"]["window"] == 0.4
    assert record["versions"]["sepcli"] == sepcli.__version__
    assert record["threads"] == torch.get_num_threads()
    assert record["report"]["residual"] == 0
    assert record["report"]["frames"] == 3000
    assert [stem["name"] for stem in record["report"]["sets"][0]] == list(STEMS)


def _device() -> torch.device:
    from sepcli.api import choose_device

    return choose_device("auto")


def test_json_is_one_document(separate) -> None:
    write("in/a.wav")
    write("in/b.wav")
    Path("in/c.wav").write_text("no audio")
    code, out, err = separate("in", "--json")
    assert code == 3
    document = json.loads(out)
    assert [Path(track["input"]).name for track in document["results"]] == ["a.wav", "b.wav"]
    assert document["results"][0]["report"]["frames"] == 2000
    (failed,) = document["failed"]
    assert failed["input"] == str(Path("in/c.wav"))
    assert "c.wav" in failed["error"]
    assert failed["hint"]
    two_lines(err)


# ---------------------------------------------------------------- which inputs, which outputs


def test_files_folders_and_globs(separate) -> None:
    write("one.wav")
    write("songs/two.wav")
    write("songs/three.flac")
    write("songs/.hidden.wav")
    Path("songs/cover.jpg").write_bytes(b"x")
    Path("songs/folder.wav").mkdir()
    write("more/four.wav")
    write("more/deep/five.wav")
    write("odd/six[1].wav")
    code, out, err = separate("one.wav", "songs", "more/**/*.wav", "odd/six[1].wav", "one.wav")
    assert code == 0
    (note,) = (line for line in err.splitlines() if "cover.jpg" in line)  # not passed over in silence
    assert note.startswith("songs: ")
    tracks = sorted(path.name for path in Path("separated").iterdir())
    assert tracks == ["five", "four", "one", "six[1]", "three", "two"]
    assert len(out.splitlines()) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.wav"], "missing.wav"),
        (["empty"], "empty"),
        (["*.nothing"], "*.nothing"),
        ([""], "empty"),
        (["x" * 300], "x" * 300),
    ],
    ids=["file", "folder", "glob", "word", "long"],
)
def test_missing_inputs(separate, words: Sequence[str], message: str) -> None:
    Path("empty").mkdir()
    code, out, err = separate(*words)
    assert (code, out) == (1, "")
    assert message in two_lines(err)[0]
    assert files() == []


def test_tracks_of_one_name_are_kept_apart_by_their_folders(separate) -> None:
    write("a/mix.wav")
    write("b/c/mix.wav", seed=1)
    assert separate("a/mix.wav", "b/c/mix.wav", "-o", "out")[0] == 0
    assert {name.rpartition("/")[0] for name in files("out")} == {"a/mix", "b/c/mix"}
    assert separate("a", "b", "-o", "two")[0] == 0
    assert {name.rpartition("/")[0] for name in files("two")} == {"mix", "c/mix"}
    template = "{stem}-{track}/{folder}.{ext}"
    assert separate("a/mix.wav", "b/c/mix.wav", "-o", "own", "--filename", template)[0] == 0
    assert {"bass-mix/a.wav", "bass-mix/b/c.wav"} <= {*files("own")}


def test_of_clashing_tracks_the_first_is_separated(separate) -> None:
    write("a/mix.wav")
    write("b/mix.wav", seed=1)
    write("b/other.wav", seed=2)
    words = ("a/mix.wav", "b/mix.wav", "b/other.wav", "--filename", "{stem}/{track}.{ext}")
    code, out, err = separate(*words)
    assert code == 3
    assert "b/mix.wav" in two_lines(err)[0]
    assert "{folder}" in two_lines(err)[1]
    assert len(out.splitlines()) == 2
    tracks = ("mix", "other")
    stems = [f"{stem}/{track}.wav" for stem in ("bass", "drums") for track in tracks]
    assert files("separated") == sorted([*stems, *(f"{track}.run.json" for track in tracks)])


def test_folders_are_searched_but_not_those_of_outputs_and_devices(separate) -> None:
    for name in ("a", "deep/b", "deep/er/a", ".hidden/c", "@eaDir/a", "#recycle/d"):
        write(f"in/{name}.wav")
    code, out, err = separate("in", "-o", "in/stems")
    assert code == 0
    assert len(out.splitlines()) == 3
    folders = {Path(name).parent.as_posix() for name in files("in/stems")}
    assert folders == {"a", "deep/b", "deep/er/a"}
    note, counts = err.splitlines()
    assert counts == "3 done"
    assert "3 entries" in note
    assert all(name in note for name in ("#recycle", ".hidden", "@eaDir"))
    code, out, err = separate("in", "-o", "in/stems", "--resume")
    assert (code, out) == (0, "")
    assert "stems" in err.splitlines()[0]
    assert "3 of 3 " in err.splitlines()[1]
    assert separate("in", "-o", "in")[0] == 0
    before = files("in")
    assert separate("in", "-o", "in", "--resume", "-q") == (0, "", "")
    assert files("in") == before


def test_quiet_prints_errors_only(separate) -> None:
    write("in/a.wav")
    Path("in/notes.txt").write_text("mine")
    assert separate("in", "-q") == (0, "", "")
    assert separate("in", "-q", "--resume") == (0, "", "")
    code, out, err = separate("in", "-q")
    assert (code, out) == (1, "")
    two_lines(err)
    assert json.loads(separate("in", "-q", "--resume", "--json")[1])["results"][0]["skipped"] is True


def test_an_argument_without_files_does_not_stop_the_others(separate) -> None:
    write("a.wav")
    Path("empty").mkdir()
    code, out, err = separate("empty", "*.nothing", "missing.wav", "a.wav")
    assert code == 3
    assert len(out.splitlines()) == 1
    assert [word in err for word in ("empty", "*.nothing", "missing.wav")] == [True] * 3


def test_leftovers_of_killed_runs_go(separate) -> None:
    write("mix.wav")
    assert separate("mix.wav")[0] == 0
    part = temporary(Path("separated/mix/bass.wav"))
    machine, process, rest = part.name.removeprefix(".sepcli-").split("-", 2)
    ended = part.with_name(f".sepcli-{machine}-4194304999-{rest}")
    elsewhere = part.with_name(f".sepcli-000000-{process}-{rest}")
    for path in (part, ended, elsewhere, part.with_name(".sepcli-notes.part")):
        path.touch()
    assert separate("mix.wav", "--overwrite")[0] == 0
    assert not ended.exists()
    assert all(path.exists() for path in (part, elsewhere, part.with_name(".sepcli-notes.part")))


def test_records_of_tracks_that_share_a_folder_do_not_collide(separate) -> None:
    write("in/all.wav")
    write("in/b.wav")
    code, _, err = separate("in", "-o", "b/out", "--filename", "all/{track} {stem}.{ext}", "-q")
    assert (code, err) == (0, "")
    assert files("b/out") == [
        "all/all bass.wav",
        "all/all drums.wav",
        "all/b bass.wav",
        "all/b drums.wav",
        "all/b.run.json",
        "all/run.json",
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{prior}/{track} - {stem}.{ext}", ["mix.run.json", "mix - bass.wav", "mix - drums.wav"]),
        ("{track}/{sample}-{stem}.{ext}", ["run.json", "01-bass.wav", "01-drums.wav"]),
        ("{stem}", ["bass.wav", "drums.wav", "mix.run.json"]),
        ("{track}.{stem}", ["mix.bass.wav", "mix.drums.wav", "mix.run.json"]),
        ("{{x}}{stem}.wav", ["{x}bass.wav", "{x}drums.wav", "mix.run.json"]),
        ("./a/../{stem}.wav", ["bass.wav", "drums.wav", "mix.run.json"]),
    ],
)
def test_the_template_names_the_files(separate, template: str, expected: list[str]) -> None:
    write("mix.wav")
    code, _, err = separate("mix.wav", "--filename", template)
    assert (code, err) == (0, "")
    assert sorted(Path(name).name for name in files("separated")) == sorted(expected)


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{track}.{ext}", 2),
        ("{stem", 2),
        ("{}", 2),
        ("{stem}{0}", 2),
        ("{stem}{nonsense}", 2),
        ("{stem.__class__}{stem}", 2),
        ("{stem}{track.__init__.__globals__}", 2),
        ("{stem:>999999999999}", 2),
        ("{stem!r}", 2),
        ("{stem}{sample:.0}", 2),
        ("../{stem}.{ext}", 1),
        ("/tmp/{stem}.{ext}", 1),
        ("{track}/../../{stem}.{ext}", 1),
        ("{stem}.mp3", 1),
        ("{stem}.flac", 1),
    ],
)
def test_hostile_templates_are_refused(separate, tmp_path: Path, template: str, code: int) -> None:
    write("mix.wav")
    write("other.wav")
    found, out, err = separate("mix.wav", "other.wav", "--filename", template)
    assert (found, out) == (code, "")
    two_lines(err)
    assert files(tmp_path) == [str(Path("here/mix.wav")), str(Path("here/other.wav"))]


def test_kept_samples_need_a_name_each(separate) -> None:
    write("mix.wav")
    code, _, err = separate("mix.wav", "--samples", 2, "--filename", "{track}-{stem}.{ext}")
    assert code == 2
    assert "{sample}" in two_lines(err)[0]


@pytest.mark.parametrize(
    "name",
    ["-dash.wav", "größe 音楽.wav", "new\nline.wav", "con.wav", "a" * 240 + ".wav", "it's {stem} %s.wav"],
)
def test_odd_names(separate, name: str) -> None:
    write(f"in/{name}")
    code, out, err = separate("in")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    folder = next(Path("separated").iterdir())
    assert folder.name.isprintable()
    assert files(folder) == ["bass.wav", "drums.wav", "run.json"]


def test_a_dash_is_named_after_two(separate) -> None:
    write("-dash.wav")
    code = run(["separate", "--prior", "nowhere", "--", "-dash.wav"])
    assert code == 4  # so the name was accepted


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_that_is_no_text(separate) -> None:
    name = os.fsdecode(b"\xff")
    write(f"in/{name}.wav")
    code, out, err = separate(f"in/{name}.wav")
    assert (code, err) == (0, "")
    assert "\\udcff" in out
    record = json.loads(Path(f"separated/{name}/run.json").read_text("utf-8"))
    assert os.fsencode(record["input"]) == b"../../in/\xff.wav"
    _, out, _ = separate("in", "--json", "--overwrite")
    assert json.loads(out)["results"][0]["input"] == f"in/{name}.wav"
    Path(f"{name}.wav").write_text("no audio")
    code, _, err = separate(f"{name}.wav")
    assert code == 1
    two_lines(err)


def test_links_are_followed_in_and_replaced_out(separate) -> None:
    write("real/mix.wav")
    Path("link.wav").symlink_to("real/mix.wav")
    Path("out").mkdir()
    Path("out/link").symlink_to(Path("elsewhere").absolute(), target_is_directory=True)
    Path("elsewhere").mkdir()
    Path("elsewhere/bass.wav").symlink_to(Path("real/mix.wav").absolute())
    before = Path("real/mix.wav").read_bytes()
    code, _, err = separate("link.wav", "-o", "out")
    assert code == 1
    two_lines(err)
    code, _, err = separate("link.wav", "-o", "out", "--overwrite")
    assert code == 1
    assert "link.wav" in two_lines(err)[0]
    assert Path("real/mix.wav").read_bytes() == before
    Path("elsewhere/bass.wav").unlink()
    Path("elsewhere/bass.wav").symlink_to("dangling.wav")
    assert separate("link.wav", "-o", "out")[0] == 1
    assert separate("link.wav", "-o", "out", "--overwrite")[0] == 0
    assert not Path("elsewhere/bass.wav").is_symlink()
    assert not Path("elsewhere/dangling.wav").exists()


def test_a_broken_link_in_a_folder_is_not_passed_over(separate) -> None:
    write("in/mix.wav")
    Path("in/gone.wav").symlink_to("nowhere.wav")
    code, _, err = separate("in")
    assert code == 3
    assert "gone.wav" in two_lines(err)[0]


# ---------------------------------------------------------------- existing outputs


def test_existing_stems_are_kept_replaced_or_skipped(separate) -> None:
    write("in/a.wav")
    assert separate("in")[0] == 0
    before = {name: Path("separated", name).stat().st_mtime_ns for name in files("separated")}
    write("in/b.wav")
    code, out, err = separate("in/a.wav")
    assert (code, out) == (1, "")
    assert "separated/a/" in two_lines(err)[0]
    code, out, err = separate("in", "-o", "half")
    assert code == 0
    shutil.rmtree("half/b")
    code, out, err = separate("in", "-o", "half")
    assert code == 3
    assert "half/a/" in two_lines(err)[0]
    assert len(files("half")) == 6
    assert files("separated") == sorted(before)
    code, out, _ = separate("in", "--resume", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["results"][0]["skipped"] is True
    assert Path(document["results"][1]["input"]).name == "b.wav"
    assert {name: Path("separated", name).stat().st_mtime_ns for name in before} == before
    assert separate("in", "--overwrite", "--seed", 3)[0] == 0
    assert all(Path("separated", name).stat().st_mtime_ns > before[name] for name in before)
    assert len(files("separated")) == 6


@pytest.mark.parametrize("lost", ["bass.wav", "run.json"])
def test_resume_does_not_take_half_a_track_for_done(separate, lost: str) -> None:
    write("mix.wav")
    assert separate("mix.wav")[0] == 0
    Path("separated/mix", lost).unlink()
    code, _, err = separate("mix.wav", "--resume")
    assert code == 1
    assert "--overwrite" in two_lines(err)[1]
    assert separate("mix.wav", "--resume", "--overwrite")[0] == 0
    assert len(files("separated")) == 3


def test_resume_does_not_take_another_mixture_for_the_one_that_is_done(separate) -> None:
    write("mix.wav")
    assert separate("mix.wav")[0] == 0
    write("b/mix.wav", seed=1)
    code, _, err = separate("b/mix.wav", "--resume")
    assert code == 1
    assert "run.json" in two_lines(err)[0]
    Path("b/mix.wav").write_bytes(Path("mix.wav").read_bytes())  # the same sound, somewhere else
    assert separate("b/mix.wav", "--resume")[0] == 0


def test_without_a_record_nothing_is_left(separate, monkeypatch: pytest.MonkeyPatch) -> None:
    write("mix.wav")

    def full(*args: object) -> None:
        raise OutputError("cannot write run.json: No space left on device", "free some space")

    with monkeypatch.context() as patch:
        patch.setattr(run_record, "write_record", full)
        code, _, err = separate("mix.wav")
    assert code == 1
    assert "no space" in two_lines(err)[0].lower()
    assert files("separated") == []
    assert separate("mix.wav", "--resume")[0] == 0


@pytest.mark.parametrize(
    "words", [("--samples", 2, "--set", "draws=3"), ("--consistency", "none", "--set", "draws=3")]
)
def test_draws_that_would_not_be_drawn_are_refused(separate, words: tuple[object, ...]) -> None:
    write("mix.wav")
    code, _, err = separate("mix.wav", *words)
    assert code == 2
    assert str(words[0]) in two_lines(err)[0]


def test_a_record_of_another_run_is_not_replaced(separate) -> None:
    write("mix.wav")
    assert separate("mix.wav", "--filename", "{track}/1-{stem}.{ext}")[0] == 0
    before = Path("separated/mix/run.json").read_bytes()
    code, _, err = separate("mix.wav", "--filename", "{track}/2-{stem}.{ext}")
    assert code == 1
    assert "run.json" in two_lines(err)[0]
    assert Path("separated/mix/run.json").read_bytes() == before


def test_no_input_is_replaced(separate) -> None:
    write("bass.wav")
    before = Path("bass.wav").read_bytes()
    for words in (["bass.wav"], ["bass.wav", "--overwrite"]):
        code, _, err = separate(*words, "-o", ".", "--filename", "{stem}.{ext}")
        assert code == 1
        two_lines(err)
    write("mix.wav")
    write("separated/mix/bass.wav", seed=1)
    stem = Path("separated/mix/bass.wav").read_bytes()
    code, _, err = separate("mix.wav", "separated/mix/bass.wav", "--overwrite")
    assert code == 3
    assert "separated/mix/bass.wav" in two_lines(err)[0]
    assert Path("bass.wav").read_bytes() == before
    assert Path("separated/mix/bass.wav").read_bytes() == stem
    assert "mix/drums.wav" not in files("separated")


@pytest.mark.parametrize("out", ["taken", "taken/deeper", "/proc/nowhere"])
def test_places_that_cannot_be_written(separate, out: str) -> None:
    write("mix.wav")
    Path("taken").write_text("a file")
    code, stdout, err = separate("mix.wav", "-o", out)
    assert (code, stdout) == (1, "")
    two_lines(err)
    assert files() == ["mix.wav", "taken"]


def test_a_name_too_long_for_the_disk(separate) -> None:
    write("mix.wav")
    code, _, err = separate("mix.wav", "--filename", "x" * 300 + "{stem}.{ext}")
    assert code == 1
    two_lines(err)
    assert files() == ["mix.wav"]


# ---------------------------------------------------------------- errors


def test_damaged_inputs(separate) -> None:
    soundfile.write("nan.wav", np.array([0.1, np.nan, 0.1]), 8000, subtype="FLOAT")
    soundfile.write("inf.wav", np.array([0.1, np.inf, 0.1]), 8000, subtype="FLOAT")
    Path("cut.wav").write_bytes(write("whole.wav").read_bytes()[:2000])
    Path("text.wav").write_text("this is not audio\n" * 9)
    Path("empty.wav").touch()
    soundfile.write("none.wav", np.zeros((0, 1)), 8000)
    before = files()
    for name in ("nan.wav", "inf.wav", "cut.wav", "text.wav", "empty.wav", "none.wav"):
        code, out, err = separate(name)
        assert (code, out) == (1, ""), name
        assert name in two_lines(err)[0]
    assert files() == before


def test_one_bad_file_does_not_stop_the_others(separate) -> None:
    write("in/a.wav")
    Path("in/b.wav").write_text("no audio")
    soundfile.write("in/c.wav", np.array([0.1, np.nan]), 8000, subtype="FLOAT")  # found late
    write("in/d.wav")
    code, out, err = separate("in")
    assert code == 3
    assert [line.split(":")[0] for line in out.splitlines()] == ["separated/a", "separated/d"]
    lines = err.splitlines()
    assert [line[:4] for line in lines] == ["erro", "  → ", "erro", "  → ", "2 do"]
    assert "in/b.wav" in lines[0]
    assert "in/c.wav" in lines[2]
    assert lines[0].count("in/b.wav") == 1
    assert len(files("separated")) == 6


def test_nothing_but_bad_files_is_a_failure(separate) -> None:
    for name in ("a", "b"):
        Path(f"{name}.wav").write_text("no audio")
    code, out, err = separate("a.wav", "b.wav")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 5
    assert files() == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--set", "nonsense=1"], 2, "nonsense"),
        (["--set", "nonsense"], 2, "nonsense"),
        (["--set", "=1"], 2, "=1"),
        (["--set", "lam=much"], 2, "much"),
        (["--set", "lam=nan"], 2, "nan"),
        (["--set", "lam=inf"], 2, "inf"),
        (["--set", "lam=-1"], 2, "lam"),
        (["--set", "temperature=0"], 2, "temperature"),
        (["--set", "max_candidates=1.5"], 2, "max_candidates"),
        (["--set", "max_candidates=0"], 2, "max_candidates"),
        (["--set", "max_candidates=" + "9" * 40], 2, "max_candidates"),
        (["--set", "width=4"], 2, "width"),
        (["--sampler", "ancestral", "--set", "top_k=4"], 2, "top_k"),
        (["--sampler", "beam", "--set", "width=0"], 2, "width"),
        (["--sampler", "beam", "--set", "width=2", "--samples", "3"], 2, "2"),
        (["--sampler", "magic"], 2, "magic"),
        (["--sampler", ""], 2, "sampler"),
        (["--set", "sampler=beam"], 2, "sampler"),
        (["--set", "draws=0"], 2, "draws"),
        (["--set", "draws=1e99"], 2, "1e99"),
        (["--set", "draws=1000000000"], 2, "draws"),
        (["--set", "batch=99999999999999999999"], 2, "batch"),
        (["--set", "window=1e300"], 2, "window"),
        (["--set", "window=nan"], 2, "window"),
        (["--set", "overlap=0.39"], 2, "overlap"),
        (["--set", "fft_seconds=1e-9"], 2, "fft_seconds"),
        (["--set", "reference_rms=1e-300"], 2, "reference_rms"),
        (["--set", "exponent=1e9"], 2, "exponent"),
        (["--samples", "0"], 2, "--samples"),
        (["--seed", "-1"], 2, "--seed"),
        (["--format", "midi"], 2, "midi"),
        (["--device", "toaster"], 2, "toaster"),
        (["--device", "meta"], 2, "meta"),
        (["--device", "cuda:99"], 2, "cuda:99"),
        (["--nonsense"], 2, "--nonsense"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_options(separate, words: list[str], code: int, message: str) -> None:
    write("a.wav")
    write("b.wav")
    found, out, err = separate("a.wav", "b.wav", *words)
    assert (found, out) == (code, "")
    assert message in two_lines(err)[0]
    assert files() == ["a.wav", "b.wav"]


def test_unknown_priors(separate, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sepcli.catalog import index

    write("mix.wav")
    monkeypatch.setattr(index, "BUNDLED", tiny_prior.parent)
    for name, hint in (("tyni", "tiny"), ("zzz", "tiny")):
        code, out, err = separate("mix.wav", prior=name)
        assert (code, out) == (4, "")
        first, second = two_lines(err)
        assert name in first
        assert hint in second
    assert separate("mix.wav", prior="tiny")[0] == 0
    for name in (".", "x" * 300, "mix.wav"):
        code, _, err = separate("mix.wav", prior=name)
        assert code == 4
        two_lines(err)


def test_a_tampered_prior_is_not_used(separate, tiny_prior: Path) -> None:
    write("a.wav")
    write("b.wav")
    shutil.copytree(tiny_prior, "prior")
    weights = Path("prior/transformer/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    code, out, err = separate("a.wav", "b.wav", prior="prior")
    assert (code, out) == (4, "")
    assert "transformer/model.safetensors" in two_lines(err)[0]
    assert not Path("separated").exists()


@pytest.mark.parametrize("samples", [1, 2])
def test_an_interrupted_run_leaves_nothing(separate, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write("in/a.wav")
    write("in/b.wav", 9000)
    usual, calls = LassEngine.sample, []

    def interrupted(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        if len(calls) == 3:  # the second half of the second file
            raise KeyboardInterrupt
        return usual(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LassEngine, "sample", interrupted)
    code, _, err = separate("in", "--samples", samples, "--set", "batch=2")
    assert (code, err) == (130, "interrupted\n")
    assert len(calls) == 3
    assert {name.split(os.sep)[0] for name in files("separated")} == {"a"}
    assert [path.name for path in Path("separated").iterdir()] == ["a"]


@pytest.mark.parametrize(
    "problem", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_is_said_so(separate, problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    write("mix.wav")

    def greedy(*arguments: object) -> torch.Tensor:
        raise problem

    monkeypatch.setattr(LassEngine, "sample", greedy)
    code, _, err = separate("mix.wav")
    assert code == 1
    assert "mix.wav" in two_lines(err)[0]
    assert files() == ["mix.wav"]


def test_stems_that_hold_everything_or_nothing_are_warned_about(
    separate, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("mix.wav")

    def lopsided(self: LassEngine, mixture: torch.Tensor, *rest: object) -> torch.Tensor:
        return torch.stack([2 * mixture, torch.zeros_like(mixture)], dim=1)[:, None]

    monkeypatch.setattr(LassEngine, "sample", lopsided)
    assert separate("mix.wav", "--quiet", "-o", "quiet") == (0, "", "")
    code, _, err = separate("mix.wav")
    assert code == 0
    for line, stem in zip(err.splitlines(), STEMS, strict=True):
        assert line.startswith("warning: mix")
        assert stem in line


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["separate", "--help"]) == 0
    text = capsys.readouterr().out
    for option in (
        "--prior",
        "--out",
        "--filename",
        "--consistency",
        "--samples",
        "--sampler",
        "--set",
        "--format",
        "--seed",
        "--device",
        "--overwrite",
        "--resume",
        "--json",
        "--quiet",
    ):
        assert option in text


def test_json_is_printed_when_everything_failed(separate) -> None:
    Path("text.wav").write_text("this is not audio")
    code, out, err = separate("text.wav", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["results"] == []
    assert document["failed"][0]["input"] == "text.wav"
    assert "text.wav" in two_lines(err)[0]


def test_files_of_other_kinds_are_skipped_and_said_to_be(separate) -> None:
    write("in/mix.wav")
    Path("in/notes.txt").write_text("mine")
    Path("in/.hidden").write_text("mine")
    code, _, err = separate("in")
    assert code == 0
    (line,) = err.splitlines()
    assert "2 " in line
    assert ".hidden, notes.txt" in line
    assert separate("in", "--overwrite", "-q")[2] == ""
