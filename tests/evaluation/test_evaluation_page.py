"""The page and the CSV file: whole, closed, and safe whatever names hold."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.atomic import write_text
from sepcli.errors import InputError, OutputError
from sepcli.evaluation.folder_layouts import IMAGES, SOUNDS
from sepcli.evaluation.folder_pairs import pair_folders
from sepcli.evaluation.folders import track_clips
from sepcli.evaluation.html_report import html_page, pick_cases
from sepcli.evaluation.html_tracks import scores_of, show_track
from sepcli.evaluation.previews import REFERENCE, SECONDS, Clip, ClipsOf, clip, clips_of_rows
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Failure, Report, csv_text, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.summary import track_values

NASTY = '<script>alert(1)</script> & "$x_{$" \'_\u4e2d'


class Reader(HTMLParser):
    """Tags that are open, attributes, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.classes: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data")]
        self.classes += [value or "" for key, value in attrs if key == "class"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report(*values: float, name: str = "track", metric: str = "sdr") -> Report:
    scores = [
        TrackScore(f"{name} {track}", method, stem, metric, value + offset)
        for method, offset in ((f"ours {name}", 1.0), ("average", 0.0))
        for track, value in enumerate(values)
        for stem in (f"bass {name}", "drums")
    ]
    protocol = Protocol((metric,), name, (f"bass {name}", "drums"), "sum", len(values), settings={"of": name})
    return make_report(protocol, scores, [Failure(name, name)], [name])


def page_with(shown: Report, clips_of: ClipsOf) -> str:
    return html_page(replace(shown, clips_of=clips_of))


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def heard(track: str) -> list[Clip]:
    """A mixture, two references and two estimates of 1 s of audio."""
    tone = 0.1 * np.sin(np.arange(8000) / 9)[:, None].astype(np.float32)
    stems = [f"bass {NASTY}", "drums"]
    return clips_of_rows(stems, 2 * tone, {REFERENCE: [tone, tone], f"ours {NASTY}": [tone, 0 * tone]}, 8000)


def seen(track: str) -> list[Clip]:
    """The same of images."""
    half = np.full((1, 8, 8), 0.5, np.float32)
    return clips_of_rows(["a", "b"], half, {REFERENCE: [half, half], "ours": [half, 0 * half]})


def test_names_are_text_and_nothing_is_fetched() -> None:
    page = page_with(report(1.0, 2.0, 4.0, name=NASTY), heard)
    reader = read(page)
    assert not {"iframe", "object", "audio"} & set(reader.tags)
    assert reader.tags.count("script") == 1 + 3 * 5  # ours, and the clips of three tracks
    assert f"{NASTY} 0" in reader.text
    assert reader.classes.count("voice") == 3 * 5
    assert all(link.startswith(("data:", "#track-")) for link in reader.links)
    assert "default-src 'none'" in page.replace("&#39;", "'")
    for link in reader.links:
        if link.startswith("data:image/svg"):
            svg = base64.b64decode(link.partition(",")[2]).decode()
            assert "<script" not in svg
            assert not re.search(r"(href|src|url)\s*[=(]\s*[\"']?(https?:)?//", svg)
            assert "$x_{$" in svg  # not taken for a formula


def test_names_that_fonts_and_svg_refuse_are_drawn() -> None:
    links = read(html_page(report(1.0, 2.0, name="\udcff\x01\n" + 300 * "n"))).links
    drawn = [base64.b64decode(link.partition(",")[2]) for link in links if link.startswith("data:image/svg")]
    assert drawn
    for raster in drawn:
        text = "".join(ElementTree.fromstring(raster).itertext())
        assert f"ours \ufffd\ufffd {31 * 'n'}…" in text
        assert 40 * "n" not in text


def test_tables_and_differences_are_in_it() -> None:
    reader = read(html_page(report(1.0, 2.0, 4.0)))
    for text in ("3.33", "[2.00, 5.00]", "sdr minus that of ours track", "[-1.00, -1.00]", "Not scored"):
        assert text in reader.text
    assert "voice" not in reader.classes
    assert html_page(report(1.0)) == html_page(report(1.0))


@pytest.mark.parametrize("values", [(math.nan,), (math.inf, -math.inf, 1.0)])
def test_values_that_cannot_be_drawn(values: tuple[float, ...]) -> None:
    assert "</html>" in html_page(report(*values, metric="ssim"))


def test_clips_that_are_gone_are_said() -> None:
    def gone(track: str) -> list[Clip]:
        raise InputError(f"{track} is gone", "-")

    assert "track 1 is gone" in "".join(read(page_with(report(1.0, 3.0), gone)).text)


def test_estimates_have_scores_differences_and_errors() -> None:
    page = page_with(report(1.0, 2.0, 4.0, name=NASTY), heard)
    first = show_track(
        "t", f"{NASTY} 2", "best", heard(""), track_values(report(4.0, 1.0, name=NASTY).scores)
    )
    assert first.groups[2]["voices"][1]["note"] == ""  # no value of this track
    values = track_values(report(4.0, 1.0, name=NASTY).scores)
    groups = show_track("t", f"{NASTY} 1", "best", heard(""), values).groups
    assert groups[2]["voices"][0]["note"] == "SDR 2.00 dB"
    assert scores_of(values, f"{NASTY} 1", "average", "drums") == f"SDR 1.00 dB (-1.00 to ours {NASTY})"
    assert [bool(voice["error"]) for group in groups for voice in group["voices"]] == [
        *3 * [False],
        True,
        True,
    ]
    assert page.count('class="error"') == 3 * 2
    images = show_track("t", "x", "", seen(""), {}).groups
    assert [[one["name"] for one in group["images"]] for group in images] == [
        ["mixture"],
        ["a", "b"],
        ["a", "error of a", "b", "error of b"],
    ]


def test_a_page_does_not_grow_without_end() -> None:
    def page(previews: int | None, room: int, separated: bool = False) -> Reader:
        seeds = {"track 0": 1} if separated else {}
        return read(
            html_page(replace(report(1.0, 3.0, 4.0, 5.0), clips_of=heard, seeds=seeds), previews, room)
        )

    everything = page(None, 10**8)
    assert everything.classes.count("track") == 4
    assert page(2, 10**8).classes.count("track") == 2
    assert page(None, 10**8, separated=True).classes.count("track") == 3  # best, median and worst
    little = page(None, 1)
    assert little.classes.count("track") == 1
    assert sum("3 tracks" in text for text in little.text) == 1
    assert len([link for link in everything.links if link.startswith("#")]) == 4


def test_the_first_previews_are_best_median_and_worst() -> None:
    shown = replace(report(5.0, 1.0, 9.0, 2.0), clips_of=heard)
    names = re.findall(r'<summary>(track \d) <span class="dim">(\w+)', html_page(shown, 3))
    assert names == [("track 2", "best"), ("track 3", "median"), ("track 1", "worst")]


def test_the_protocol_is_folded_and_has_names() -> None:
    text = read(html_page(report(1.0, 2.0))).text
    for name in ("Data set", "95 % intervals", "Setting: of", "Left out"):
        assert name in text
    assert text.index("SDR") < text.index("Protocol")


def test_best_median_and_worst() -> None:
    cases = pick_cases(report(5.0, 1.0, math.nan, 9.0, 2.0))
    assert [(case.label, case.track, case.value) for case in cases] == [
        ("best", "track 3", 10.0),
        ("median", "track 4", 3.0),
        ("worst", "track 1", 2.0),
    ]
    assert [case.label for case in pick_cases(report(5.0))] == ["best"]
    assert pick_cases(report(math.nan)) == []


def test_audio_is_the_middle_and_images_are_whole(tmp_path: Path) -> None:
    rate, ramp = 1000, np.linspace(0, 1, 40000, dtype=np.float32)
    middle = clip("ours", "drums", np.stack([ramp, -ramp / 2], 1), rate)
    assert (middle.rate, middle.signal.shape) == (rate, (round(SECONDS * rate), 2))
    np.testing.assert_allclose(middle.signal.mean(axis=0), [0.5, -0.25], atol=1e-3)
    for folder, names in (("est", ["a"]), ("ref", ["a", "mixture"])):
        for name in names:
            (tmp_path / folder / "t").mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / folder / "t" / f"{name}.wav", [0.5, 2.0], rate, subtype="FLOAT")
            Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / folder / "t" / f"{name}.png")
    clips = track_clips(pair_folders(tmp_path / "est", tmp_path / "ref", SOUNDS).tracks[0], False)
    assert [(one.row, one.stem, one.rate) for one in clips] == [
        ("mixture", "mixture", rate),
        ("reference", "a", rate),
        ("estimates", "a", rate),
    ]
    shown = track_clips(pair_folders(tmp_path / "est", tmp_path / "ref", IMAGES).tracks[0], True)
    assert [(one.row, one.stem, one.rate) for one in shown] == [("reference", "a", 0), ("estimates", "a", 0)]
    np.testing.assert_allclose(255 * shown[1].signal[:, 0, 0], [9, 8, 7], rtol=1e-5)


def test_csv_has_a_row_per_score() -> None:
    shown = report(1.5, math.nan, math.inf, name=NASTY)
    rows = list(csv.DictReader(io.StringIO(csv_text(shown))))
    assert list(rows[0]) == ["track", "method", "stem", "metric", "value", "left_out", "excess"]
    assert len(rows) == len(shown.scores)
    assert (rows[0]["track"], rows[0]["value"]) == (f"{NASTY} 0", "2.5")
    assert [row["value"] for row in rows[2:6]] == ["", "", "inf", "inf"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_holds_no_formulas(first: str) -> None:
    name = f'{first}HYPERLINK("http://x")'
    scores = [TrackScore(name, name, name, "sdr", -1.5)]
    text = csv_text(make_report(Protocol(("sdr",), "x", (name,), "sum", 1), scores))
    (row,) = csv.DictReader(io.StringIO(text))
    assert [row[key] for key in ("track", "method", "stem")] == [f"'{name}"] * 3
    assert (row["metric"], row["value"]) == ("sdr", "-1.5")


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a", "x\udcff\n")
    assert (tmp_path / "a").read_bytes() == b"x\\udcff\n"

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match=r"(?i)no space"):
        write_text(tmp_path / "a", "y")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes()[:1] == b"x"
