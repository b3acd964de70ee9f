"""Summaries, documents, tables, the protocol and the journal."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from sepcli import metrics
from sepcli.evaluation.journal import append_journal, read_journal, start_journal
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import caption, difference_table, make_report, median_table, table
from sepcli.evaluation.score import TrackScore, score_track
from sepcli.evaluation.summary import AVERAGE, difference, summarise

METRICS = ["sdr", "usdr", "si-sdr", "si-sdri"]
PROTOCOL = Protocol(("sdr",), "test", ("bass", "drums"), "sum", tracks=3)


def _score(track: str, stem: str, value: float, method: str = "ours") -> TrackScore:
    return TrackScore(track, method, stem, "sdr", value)


def test_summary_leaves_nan_out() -> None:
    summary = summarise([1.0, math.nan, 3.0, 8.0])
    assert (summary.mean, summary.median, summary.n) == (4.0, 3.0, 3)
    assert summary.ci95[0] <= summary.mean <= summary.ci95[1]
    empty = summarise([math.nan])
    assert empty.n == 0
    assert math.isnan(empty.mean)


def test_average_takes_tracks_with_all_stems() -> None:
    scores = [
        _score("a", "bass", 2.0),
        _score("a", "drums", 4.0),
        _score("b", "bass", 9.0),
        _score("b", "drums", math.nan),
    ]
    results = make_report(PROTOCOL, scores).results["sdr"]["ours"]
    assert (results[AVERAGE].mean, results[AVERAGE].n) == (3.0, 1)
    assert (results["bass"].mean, results["bass"].n) == (5.5, 2)


def test_document_holds_numbers_protocol_and_tracks() -> None:
    scores = [_score(t, s, float(i)) for i, t in enumerate("abc") for s in ("bass", "drums")]
    document = make_report(PROTOCOL, scores).as_dict()
    assert "seeds" not in document  # nothing was separated
    assert set(document["results"]["sdr"]["ours"]["bass"]) == {"mean", "median", "ci95", "n"}
    assert document["results"]["sdr"]["ours"]["bass"]["mean"] == 1.0
    assert document["protocol"]["aggregation"] == {"sdr": metrics.METRICS["sdr"].rule}
    assert len(document["tracks"]) == 6
    json.dumps(document, allow_nan=False)


def test_table_has_methods_as_rows_and_stems_as_columns() -> None:
    scores = [
        _score("a", s, v, m) for m, v in (("ours", 5.0), ("average", math.nan)) for s in ("bass", "drums")
    ]
    columns, rows = table(make_report(PROTOCOL, scores).results, "sdr")
    assert columns == ["sdr", "bass", "drums", AVERAGE, "median", "tracks"]
    assert rows == [["ours", "5.00", "5.00", "5.00", "5.00", "1"], ["average", "-", "-", "-", "-", "0"]]


@pytest.mark.parametrize("tracks", ["a", "abc"])
def test_a_caption_promises_the_intervals_that_there_are(tracks: str) -> None:
    """One track has none."""
    scores = [
        _score(track, stem, n + shift, method)
        for method, shift in (("ours", 0.0), ("average", -2.0))
        for n, track in enumerate(tracks)
        for stem in ("bass", "drums")
    ]
    report = make_report(PROTOCOL, scores)
    _, rows = table(report.results, "sdr")
    _, apart = difference_table(report.differences, "sdr")
    for text in (caption("sdr", rows), caption("sdr", apart, differences=True)):
        assert ("95 %" in text) == (len(tracks) > 1)


def test_the_median_is_that_of_the_average() -> None:
    values = {"a": (0.0, 2.0), "b": (10.0, 0.0), "c": (3.0, 5.0)}
    scores = [
        _score(t, s, v) for t, row in values.items() for s, v in zip(("bass", "drums"), row, strict=True)
    ]
    _, rows = table(make_report(PROTOCOL, scores).results, "sdr")
    assert rows[0][-2] == "4.00"  # of 1, 5 and 4


def test_differences_are_paired_by_track() -> None:
    ours = {"a": 1.0, "b": 2.0, "c": 6.0, "d": math.nan, "e": math.inf}
    theirs = {"c": 3.0, "b": 3.0, "a": -1.0, "d": 7.0, "e": math.inf, "f": 0.0}
    found = difference(ours, theirs, "theirs")
    assert (found.against, found.n) == ("theirs", 3)
    assert found.mean == pytest.approx((2.0 - 1.0 + 3.0) / 3)
    assert found.better == pytest.approx(2 / 3)
    assert found.ci95[0] <= found.mean <= found.ci95[1]
    back = difference(theirs, ours, "ours")
    assert (back.mean, back.better) == (pytest.approx(-found.mean), pytest.approx(1 / 3))
    nothing = difference({"a": 1.0}, {"b": 1.0}, "x")
    assert nothing.n == 0
    assert math.isnan(nothing.better)


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(0)
    base = {str(track): 10 * value for track, value in enumerate(rng.standard_normal(50))}
    shifted = {track: value + 1 + 0.1 * rng.standard_normal() for track, value in base.items()}
    low, high = difference(shifted, base, "base").ci95
    assert 0.9 < low < 1 < high < 1.1


def test_every_method_is_compared_with_the_first() -> None:
    scores = [
        _score(t, s, float(i) + shift, m)
        for m, shift in (("ours", 0.0), ("average", -2.0), ("oracle", 3.0))
        for i, t in enumerate("abc")
        for s in ("bass", "drums")
    ]
    report = make_report(PROTOCOL, scores)
    document = report.as_dict()["differences"]["sdr"]
    assert list(document) == ["average", "oracle"]
    assert list(document["oracle"]) == ["bass", "drums", AVERAGE]
    assert document["average"][AVERAGE] == {
        "against": "ours",
        "mean": -2.0,
        "ci95": (-2.0, -2.0),
        "better": 0.0,
        "n": 3,
        "p_value": 0.25,  # the least of three tracks: two of eight orders of signs
        "p_holm": 1.0,
    }
    columns, rows = difference_table(report.differences, "sdr")
    assert columns == ["sdr minus that of ours", "bass", "drums", AVERAGE, "better", "p", "tracks"]
    assert rows[1] == ["oracle", *["+3.00 [+3.00, +3.00]"] * 3, "100 %", "1", "3"]
    assert not make_report(PROTOCOL, scores[:6]).differences


def test_significant_differences_have_a_star() -> None:
    apart = {"bass": lambda track: 0.001 * track * (-1) ** track, "drums": lambda track: 3.0 + 0.01 * track}
    scores = [
        _score(str(track), stem, scale * apart[stem](track), method)
        for method, scale in (("ours", 0.0), ("oracle", 1.0))
        for track in range(1, 21)
        for stem in apart
    ]
    report = make_report(PROTOCOL, scores)
    (row,) = difference_table(report.differences, "sdr")[1]
    assert [("*" in cell) for cell in row[1:4]] == [False, True, True]
    assert row[5] == "<0.001"
    by_stem = report.differences["sdr"]["oracle"]
    assert by_stem["drums"].p_value == pytest.approx(2 / 2**20)
    assert by_stem["drums"].p_holm == pytest.approx(3 * 2 / 2**20)
    assert by_stem["bass"].p_holm == by_stem["bass"].p_value > 0.5


def test_medians_of_medians_are_museval_s() -> None:
    values = {"a": (0.0, 2.0), "b": (10.0, 0.0), "c": (3.0, 5.0)}
    scores = [
        _score(t, s, v) for t, row in values.items() for s, v in zip(("bass", "drums"), row, strict=True)
    ]
    results = make_report(PROTOCOL, scores).results
    assert median_table(results, "sdr") == (["sdr, median", "bass", "drums"], [["ours", "3.00", "2.00"]])
    assert median_table(make_report(PROTOCOL, scores[:2]).results, "sdr") is None
    whole = make_report(PROTOCOL, [dataclasses.replace(score, metric="usdr") for score in scores]).results
    assert median_table(whole, "usdr") is None


def test_a_note_on_values_that_are_missing() -> None:
    scores = [_score("a", "bass", math.nan), _score("b", "bass", 1.0), _score("a", "drums", 2.0)]
    (note,) = make_report(PROTOCOL, scores).notes
    assert re.search(r"(?=.*\b1\b)(?=.*\bsdr\b)", note)


def test_notes_on_silence_and_infinity() -> None:
    scores = [TrackScore("a", "ours", "bass", "sdr", math.inf, left_out=2)]
    silence, infinite = make_report(PROTOCOL, scores).notes
    assert re.search(r"\b1\b", silence)
    assert infinite


def test_a_note_on_sources_that_are_never_silent() -> None:
    scores = [TrackScore("a", "ours", "bass", "pes", math.nan, left_out=2)]
    scores += [TrackScore("a", "ours", "drums", "pes", -40.0, left_out=1)]
    (note,) = make_report(PROTOCOL, scores).notes
    assert note == "1 value(s) of pes are in no mean: the source is never silent there"


def test_fingerprints_tell_protocols_apart() -> None:
    assert PROTOCOL.fingerprint() == dataclasses.replace(PROTOCOL).fingerprint()
    assert PROTOCOL.fingerprint() != dataclasses.replace(PROTOCOL, seed=1).fingerprint()
    assert PROTOCOL.fingerprint() != dataclasses.replace(PROTOCOL, settings={"beams": 2}).fingerprint()


def test_score_track_knows_its_metrics() -> None:
    x = np.random.default_rng(0).standard_normal((2, 300, 1)).astype(np.float32)
    scores = score_track("a", "ours", ("bass", "drums"), x, 0.9 * x, x.sum(0), METRICS, 100)
    by_metric = {s.metric: s.value for s in scores if s.stem == "bass"}
    assert by_metric["sdr"] == pytest.approx(20.0, abs=1e-4)
    assert by_metric["usdr"] == pytest.approx(20.0, abs=1e-4)
    assert by_metric["si-sdr"] > 100
    assert by_metric["si-sdri"] > 100
    with pytest.raises(ValueError, match="loudness"):
        score_track("a", "ours", ("bass", "drums"), x, x, x.sum(0), ["loudness"], 100)


def test_journal_comes_back_and_ignores_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "report.json.partial"
    assert read_journal(path, "p") == {}
    first = {"a": [_score("a", "bass", 1 / 3)], "b": [_score("b", "bass", math.inf)]}
    start_journal(path, "p", {})
    append_journal(path, first)
    append_journal(path, {"c": [_score("c", "bass", 2.0)]})
    assert read_journal(path, "p") == {**first, "c": [_score("c", "bass", 2.0)]}
    path.write_bytes(path.read_bytes()[:-9])
    assert read_journal(path, "p") == first
    path.write_bytes(path.read_bytes() + b'\xff{"d": 3}\n{"d": [{"track": 1}]}\n' + b"[" * 100_000 + b"\n")
    assert read_journal(path, "p") == first
    assert read_journal(path, "q") is None
    start_journal(path, "q", {})  # nothing finished: free for any protocol
    assert read_journal(path, "p") == {}
