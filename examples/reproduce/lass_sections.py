"""Sections of RESULTS.md on LASS: many codes, beam search beside the released package, drafts, cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sections import markdown

DECODERS = {
    "diba": "released, float32",
    "sepcli": "sepcli, float32",
    "sepcli_fast": "sepcli, fastest type",
}
"""Key in a report → name in the table."""


def codes(document: Mapping[str, Any]) -> str:
    """Return the section on 16,384 codes, from ``examples/benchmarks/lass_codes.py``."""
    tokens, images = document["tokens"], document["images"]
    rows = [(step, f"{row['seconds']:g} s", f"{row['peak_mb']} MB") for step, row in images.items()]
    rows += [
        (f"{tokens['nonzeros']:,} triples counted", f"{tokens['seconds_counting']:g} s", "–"),
        (f"1,024 tokens decoded with {tokens['beams']} beams", f"{tokens['seconds_decoding']:g} s", "–"),
    ]
    about = (
        f"`examples/benchmarks/lass_codes.py`: {document['codes']:,} codes, images of 256 x 256 pixels, small"
        f" networks with random weights, {images['count']['tokens']:,} tokens counted. A table takes"
        f" {tokens['bytes_per_nonzero']} bytes per triple. {document['threads']} thread(s)."
        " The machine ran other programs, too. `start` is a command that only starts.\n"
    )
    return "\n".join(
        ["## LASS with 16,384 codes\n", about, markdown(("step", "time", "peak memory"), rows) + "\n"]
    )


def decode(document: Mapping[str, Any]) -> str:
    """Return the section on beam search, from ``examples/benchmarks/lass_decode.py``."""
    rows = []
    for row in document["rows"]:
        for name in ("diba", "sepcli", "sepcli_fast"):
            clock = row[name]
            ratio = row["diba"]["cpu_seconds"] / clock["cpu_seconds"]
            rows.append(
                (
                    str(row["windows"]),
                    DECODERS[name],
                    f"{clock['cpu_seconds']:.2f} s",
                    f"{ratio:.1f}",
                    f"{clock['log_posterior']:.1f}",
                )
            )
    heads = ("windows", "program", "CPU", "times faster", "log posterior")
    about = (
        f"`examples/benchmarks/lass_decode.py --diba PATH`: {document['tokens']} tokens, {document['beams']}"
        f" beams, the bundled slakh-drums-bass. Seconds of the processor, {document['threads']} thread(s),"
        f" beside other programs, the least of {document['repeats']} runs in turn; the fastest type is"
        f" {document['fast']}. Log posteriors are means over windows, in nats, up to a constant.\n"
    )
    return "\n".join(["## LASS beside the released package\n", about, markdown(heads, rows) + "\n"])


def drafts(document: Mapping[str, Any]) -> str:
    """Return the section on speculative decoding, from ``examples/benchmarks/lass_drafts.py``."""
    accepted, same = (f"{100 * document[name]:.0f} %" for name in ("accepted", "same_best"))
    return (
        "## LASS: drafts without the autoregressive prior\n\n"
        f"`examples/benchmarks/lass_drafts.py`: {document['windows']} windows of {document['seconds']:g} s."
        f" The rejection rule accepts {accepted} of the tokens drafted from unigrams and all likelihoods of"
        f" slakh-drums-bass; of {same}, the likeliest candidate is the posterior's. A pass of the network"
        f" over endless drafts would give {document['tokens_per_pass']:.2f} tokens. Speculative decoding is"
        " not implemented.\n"
    )


def cost(document: Mapping[str, Any]) -> str:
    """Return the section on the cost of LASS, from ``examples/benchmarks/separate_cost.py``."""
    rows = [
        (name, f"{row['minutes']:g} min", f"{row['cpu_seconds']:.0f} s", f"{row['peak_mb']} MB")
        for name, report in document["versions"].items()
        for row in report["speed"]
    ]
    about = (
        "`examples/benchmarks/separate_cost.py --minutes 0.8 --options --method lass --prior"
        " slakh-drums-bass`: one batch of windows, with start-up, one thread; one version after the other,"
        " beside other programs.\n"
    )
    heads = ("version", "audio", "CPU", "peak memory")
    return "\n".join(["## Cost of LASS of audio\n", about, markdown(heads, rows) + "\n"])
