"""Model cards: what of a card they say, and that a card of any content has one."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml
from msgspec import structs

from sepcli.catalog.card import Card, Dataset, Part
from sepcli.catalog.measured import Draws
from sepcli.catalog.model_card import model_card

CARD = Card(
    name="duo",
    medium="audio",
    engine="lass",
    sources=("drums", "bass"),
    weights=(0.5, 0.25),
    sample_rate=22050,
    title="Two things",
    licence="CC-BY-4.0",
    data="songs",
    datasets=(Dataset("A", "MIT", "owner/a"), Dataset("B | C")),
    limits=("no voices",),
    settings={"lass": {}},
    parts={
        "codec": Part(
            "vqvae",
            {
                "command": "sepcli train-prior --data x --note a b -c, d --out y",
                "steps": 12000,
                "seconds": 7300,
                "validation": {"sdr": {"drums": 1.5}},
            },
            ({"prior": "p", "seconds": 600}, {"prior": "q", "seconds": 1200}),
            {"type": "int8", "version": 1, "relative_error": 0.0061},
        ),
        "table": Part("table"),
    },
    figures={
        "command": "sepcli evaluate",
        "first": {
            "protocol": "ten pairs",
            "sdr": {
                "sepcli": {"drums": {"mean": 1.0}, "average": {"mean": 2.5, "ci95": [2.0, 3.0]}},
                "average": {"drums": {"mean": 7.0}, "average": {"mean": 0.5}},
            },
        },
        "second": {"si_sdr": "4 [3, 5]"},
    },
)


def test_it_says_whether_several_samples_are_calibrated() -> None:
    assert "several samples" not in model_card(CARD, "duo")
    draws = Draws(mixtures=200, samples=19, p_value=0.31, coverage=0.9071)
    (line,) = (
        line
        for line in model_card(structs.replace(CARD, draws=draws), "duo").splitlines()
        if line.startswith("| several samples |")
    )
    for text in ("is calibrated", "200", "19", "p = 0.31", "90.7 %"):
        assert text in line
    failed = structs.replace(CARD, draws=structs.replace(draws, p_value=0.01))
    assert "is not calibrated" in model_card(failed, "duo")


def split(text: str) -> tuple[dict[str, Any], list[str]]:
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body.splitlines()


def test_a_card_becomes_a_model_card() -> None:
    head, lines = split(model_card(CARD, "hf:me/duo"))
    assert head == {
        "license": "cc-by-4.0",
        "library_name": "sepcli",
        "pipeline_tag": "audio-to-audio",
        "tags": ["source-separation", "generative-prior", "audio", "vqvae"],
        "datasets": ["owner/a"],
        "metrics": ["sdr", "si-sdr"],
    }
    for line in (
        "# duo",
        "sepcli separate song.wav --prior hf:me/duo",
        "| medium | audio, 22,050 Hz |",
        "| mixture | 0.5·drums + 0.25·bass |",
        "| engines | lass (default) |",
        "Songs.",
        "| A | MIT |",
        r"| B \| C | not stated |",
        "- steps: 12,000",
        "- time: 2.0 h",
        "- earlier trainings: 2, 30 min",
        "- validation: sdr · drums 1.5",
        "- storage: int8, which changes the weights by 0.0061 of their size",
        "sepcli train-prior --data x --out y",
        "- command: `sepcli evaluate`",
        "- protocol: ten pairs",
        "| sdr · sepcli | 2.5 [2, 3] |",
        "| sdr · average | 0.5 |",
        "| si sdr | 4 [3, 5] |",
        "- no voices",
    ):
        assert line in lines, line
    assert not any("drums | 1" in line or "| 7 |" in line for line in lines if "average" in line)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", ("mit", None)),
        ("GPL-3.0-or-later", ("gpl-3.0", None)),
        ("", ("other", None)),
        ("My own, v1", ("other", "my-own-v1")),
    ],
)
def test_licences_the_hub_does_not_list_have_a_name(licence: str, expected: tuple[str, str | None]) -> None:
    head, _ = split(model_card(structs.replace(CARD, licence=licence), "duo"))
    assert (head["license"], head.get("license_name")) == expected


def test_the_base_of_a_difference_is_named() -> None:
    part = Part("denoiser", storage={"type": "int8", "base": "songs-other", "rank": 32})
    card = structs.replace(CARD, parts={"denoiser": part})
    line = "- storage: int8, differences of rank 32 from the bundled prior `songs-other`"
    assert line in model_card(card, "hf:me/a").splitlines()


def test_a_plain_prior_of_images() -> None:
    card = Card(name="x", medium="image", engine="score", sources=("digit",), resolution=(28, 32))
    head, lines = split(model_card(card, "x"))
    assert head["pipeline_tag"] == "image-to-image"
    assert "| medium | images, 28 × 32 pixels |" in lines
    assert [line for line in lines if line.startswith("## ")] == ["## What it separates"]
    colors = structs.replace(card, settings={"colorize": {}})
    assert "sepcli colorize photo.jpg --prior x" in model_card(colors, "x")


def test_a_single_source_of_audio_is_separated_from_the_others() -> None:
    card = structs.replace(CARD, sources=("drums",), weights=(1.0,))
    assert "--prior duo --other" in model_card(card, "duo")


def test_entries_of_any_type_are_no_error() -> None:
    part = Part(
        "vqvae", {"steps": "many", "seconds": [1], "command": 3, "validation": 7}, ({"seconds": "x"},)
    )
    figures = {"a": {"mean": None, "ci95": 3}, "b": [1], "c": {"average": {"mean": "x"}}, "command": {}}
    text = model_card(structs.replace(CARD, parts={"codec": part}, figures=figures), "duo")
    assert "### a" in text


@pytest.mark.parametrize("note", ["a b -c", shlex.quote("Jane's -- it has --options"), "a"])
def test_a_command_is_shown_without_its_note(note: str) -> None:
    part = Part("vqvae", {"command": f"sepcli train-prior --note {note} --out y"})
    assert "\nsepcli train-prior --out y\n" in model_card(structs.replace(CARD, parts={"codec": part}), "duo")
