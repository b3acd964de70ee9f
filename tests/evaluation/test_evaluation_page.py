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
from sepcli.evaluation.previews import LARGEST, SECONDS, Clip, ClipsOf, encode_audio, encode_image
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Failure, Report, csv_text, make_report
from sepcli.evaluation.score import TrackScore

NASTY = '<script>alert(1)</script> & "$x_{$" \'_\u4e2d'


class Reader(HTMLParser):
    """Tags that are open, attributes, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data")]

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


def test_names_are_text_and_nothing_is_fetched() -> None:
    def clips(track: str) -> list[Clip]:
        return [Clip(NASTY, NASTY, "audio/flac", b"sound"), Clip(NASTY, NASTY, "image/png", b"image")]

    page = page_with(report(1.0, 2.0, 4.0, name=NASTY), clips)
    reader = read(page)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert NASTY in reader.text
    assert reader.tags.count("audio") == 3
    assert all(link.startswith("data:") for link in reader.links)
    assert "default-src 'none'" in page
    for link in reader.links:
        if link.startswith("data:image/svg"):
            drawn = base64.b64decode(link.partition(",")[2]).decode()
            assert "<script" not in drawn
            assert not re.search(r"(href|src|url)\s*[=(]\s*[\"']?(https?:)?//", drawn)
            assert "$x_{$" in drawn  # not taken for a formula


def test_names_that_fonts_and_svg_refuse_are_drawn() -> None:
    links = read(html_page(report(1.0, 2.0, name="\udcff\x01\n" + 300 * "n"))).links
    drawn = [base64.b64decode(link.partition(",")[2]) for link in links]
    assert drawn
    for raster in drawn:
        text = "".join(ElementTree.fromstring(raster).itertext())
        assert f"ours \ufffd\ufffd {31 * 'n'}…" in text
        assert 40 * "n" not in text


def test_tables_and_differences_are_in_it() -> None:
    reader = read(html_page(report(1.0, 2.0, 4.0)))
    for text in ("3.33 [2.00, 5.00]", "sdr minus that of ours track", "-1.00 [-1.00, -1.00]", "Not scored"):
        assert text in reader.text
    assert "audio" not in reader.tags
    assert html_page(report(1.0)) == html_page(report(1.0))


@pytest.mark.parametrize("values", [(math.nan,), (math.inf, -math.inf, 1.0)])
def test_values_that_cannot_be_drawn(values: tuple[float, ...]) -> None:
    assert "</html>" in html_page(report(*values, metric="ssim"))


def test_clips_that_are_gone_are_said() -> None:
    def gone(track: str) -> list[Clip]:
        raise InputError(f"{track} is gone", "-")

    assert "track 1 is gone" in "".join(read(page_with(report(1.0, 3.0), gone)).text)


def test_a_page_does_not_grow_without_end() -> None:

    def clips(track: str) -> list[Clip]:
        return [Clip("ours", str(k), "audio/flac", bytes(10)) for k in range(5)]

    reader = read(html_page(replace(report(1.0, 3.0), clips_of=clips), room=25))
    assert reader.tags.count("audio") == 2 * 2
    assert sum("3 more" in text for text in reader.text) == 2
    _, data = encode_image(np.zeros((3, 300, 3000)))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (LARGEST, round(LARGEST / 10))


def test_best_median_and_worst() -> None:
    cases = pick_cases(report(5.0, 1.0, math.nan, 9.0, 2.0))
    assert [(case.label, case.track, case.value) for case in cases] == [
        ("best", "track 3", 10.0),
        ("median", "track 4", 3.0),
        ("worst", "track 1", 2.0),
    ]
    assert [case.label for case in pick_cases(report(5.0))] == ["best"]
    assert pick_cases(report(math.nan)) == []


def test_sounds_are_the_middle_and_images_whole(tmp_path: Path) -> None:
    rate, ramp = 1000, np.linspace(0, 1, 40000, dtype=np.float32)
    mime, data = encode_audio(np.stack([ramp, -ramp / 2], 1), rate)
    sound, found = soundfile.read(io.BytesIO(data))
    assert mime == "audio/flac"
    assert (found, sound.shape) == (rate, (round(SECONDS * rate),))
    assert sound.mean() == pytest.approx(0.125, abs=1e-3)
    for folder, names in (("est", ["a"]), ("ref", ["a", "mixture"])):
        for name in names:
            (tmp_path / folder / "t").mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / folder / "t" / f"{name}.wav", [0.5, 2.0], rate, subtype="FLOAT")
            Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / folder / "t" / f"{name}.png")
    clips = track_clips(pair_folders(tmp_path / "est", tmp_path / "ref", SOUNDS).tracks[0], False)
    assert [clip[:3] for clip in clips] == [
        ("mixture", "mixture", "audio/flac"),
        ("reference", "a", "audio/flac"),
        ("estimates", "a", "audio/flac"),
    ]
    shown = track_clips(pair_folders(tmp_path / "est", tmp_path / "ref", IMAGES).tracks[0], True)
    assert [clip[:3] for clip in shown] == [("reference", "a", "image/png"), ("estimates", "a", "image/png")]
    with Image.open(io.BytesIO(shown[1].data)) as image:
        assert image.getpixel((0, 0)) == (9, 8, 7)


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
