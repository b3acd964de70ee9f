"""Tables of at most 80 columns, and the same as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io

import pytest

from sepcli.cli import tables
from sepcli.cli.app import run
from sepcli.cli.tables import TableStyle

Captured = pytest.CaptureFixture[str]
COLUMNS = ["sdr", "bass", "drums"]
ROWS = [["average", "1.0", "-2.0"], ["a|b_c", "10.0", "5 %"]]
STEMS = ["vocals", "drums", "bass", "other", "average"]


def shown(capsys: Captured) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_tables_are_aligned(capsys: Captured) -> None:
    tables.show(COLUMNS, ROWS, "dB")
    assert shown(capsys) == [
        "sdr      bass  drums",
        "average   1.0   -2.0",
        "a|b_c    10.0    5 %",
        "dB",
    ]


def test_other_styles(capsys: Captured) -> None:
    tables.show(COLUMNS, ROWS, "dB", TableStyle.MARKDOWN)
    assert shown(capsys) == [
        "| sdr | bass | drums |",
        "| :--- | ---: | ---: |",
        "| average | 1.0 | -2.0 |",
        "| a\\|b_c | 10.0 | 5 % |",
        "",
        "dB",
    ]
    tables.show(COLUMNS, ROWS, "dB", TableStyle.LATEX)
    assert shown(capsys) == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"sdr & bass & drums \\",
        r"\midrule",
        r"average & 1.0 & -2.0 \\",
        r"a|b\_c & 10.0 & 5 \% \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% dB",
    ]
    tables.show(COLUMNS, [*ROWS, ["=1+1", "x,y", ""]], "dB", TableStyle.CSV)
    found = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert found == [COLUMNS, *ROWS, ["'=1+1", "x,y", ""]]


def test_cells_that_are_too_wide_have_several_lines(capsys: Captured) -> None:
    text = "a sentence of words that is much too long for one line of a terminal " * 2
    tables.show(["name", "meaning", "value"], [["x", text, "5.00 [4.90, 5.10]"]], left=2)
    lines = shown(capsys)
    assert max(map(len, lines)) <= 80
    assert " ".join(line[6:61].strip() for line in lines[1:]).split() == text.split()
    assert lines[1].endswith("5.00 [4.90, 5.10]")


@pytest.mark.parametrize("name", ["a method", "/a/long/path/to/a/folder/of/a/prior/that/has/no/space/at/all"])
def test_a_table_of_many_columns_has_several_blocks(name: str, capsys: Captured) -> None:
    cells = [f"{n}.00 [4.90, {n}.10]" for n in range(5)]
    tables.show(["sdr", *STEMS, "median", "tracks"], [[name, *cells, "5.00", "450"]])
    lines = shown(capsys)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in (*STEMS, *cells, "median", "450"):
        assert text.count(word) == 1
    assert sum(line.startswith("sdr") for line in lines) == text.count("\n\n") + 1 > 1


def test_table_and_json_contradict(capsys: Captured) -> None:
    assert run(["samplers", "--table", "csv", "--json"]) == 2
    assert run(["fetch-priors", "mnist", "--verify", "--table", "csv"]) == 2
    assert capsys.readouterr().out == ""


def test_samplers_as_a_table(capsys: Captured) -> None:
    assert run(["samplers", "beam", "greedy", "--table", "csv"]) == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["sampler", "setting", "type", "default", "meaning"]
    assert ["beam", "width"] in [row[:2] for row in rows]
    assert {row[0] for row in rows} == {"beam", "greedy"}


def test_the_list_of_priors_says_what_they_are_for(capsys: Captured) -> None:
    assert run(["fetch-priors", "--list", "--table", "csv"]) == 0
    rows = {row["prior"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert {row["default"] for row in rows.values()} == {"", "separate", "evaluate", "colorize"}
    assert rows["songs"]["default"] == "separate"
    songs = rows["slakh-drums-bass"]
    assert (songs["separates"], songs["engine"], songs["default"]) == (
        "drums, bass",
        "score, lass",
        "evaluate",
    )
    assert songs["result"].endswith("dB SDR")
    assert float(songs["result"].split()[0]) > 5
    bundled = [row for row in rows.values() if row["where"] == "bundled"]
    assert all("?" not in row.values() for row in bundled)
    assert rows["church-256"]["separates"] == "churches"
