"""Import of MusicGen from a folder of the package transformers, as a prior of LASS; nothing in it is run.

The folder holds ``config.json`` and safetensors as ``MusicgenForConditionalGeneration.save_pretrained``
writes them. Codec and decoder are read, the text encoder is not: generation is without a text. The library's
unconditional mode gives the decoder's cross-attention zeros, whose keys and values are zero, too; leaving it
out is the same function.

Source: Copet et al. 2023, "Simple and Controllable Music Generation"; on the Hub facebook/musicgen-small,
    -medium and -large, whose weights are under CC-BY-NC-4.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog.bounded import read_json
from sepcli.errors import InputError
from sepcli.priors.checkpoint import check_tensors
from sepcli.priors.lass.imported import check_target, write_part
from sepcli.priors.lass.music_networks import (
    CODEC,
    DECODER,
    ENCODEC,
    MUSICGEN,
    EncodecSizes,
    MusicgenSizes,
    library_config,
    make_encodec,
    make_musicgen,
    require_library,
)
from sepcli.separation.settings import StreamSettings

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PREFIXES: Mapping[str, str] = {CODEC: "audio_encoder.", DECODER: "decoder."}
"""Part → the beginning of its tensors' names there."""
OLD: Mapping[str, str] = {
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}
"""Ends of names of normalized weights before PyTorch 2.1 → now."""
CODEC_FIELDS: Mapping[str, Any] = {
    "audio_channels": 1,
    "normalize": False,
    "chunk_length_s": None,
    "codebook_dim": None,
}
DECODER_FIELDS: Mapping[str, Any] = {
    "audio_channels": 1,
    "tie_word_embeddings": False,
    "pad_token_id": None,
    "bos_token_id": None,
}
"""What else is read, and the value that it must have; None there: see ``_sizes``."""
HINT = "name a folder of MusicgenForConditionalGeneration as save_pretrained writes it, of one channel"


@dataclass(frozen=True)
class ImportedMusic:
    """What was imported."""

    codec: EncodecSizes
    decoder: MusicgenSizes


def import_musicgen(
    folder: Path, out: Path, *, source: str = "music", overwrite: bool = False
) -> ImportedMusic:
    """Write the prior of a folder into ``out``.

    Args:
        folder: see above.
        out: the prior's folder; its card is written last, so that it is a prior only when it is complete.
        source: name of what the recordings are of.
        overwrite: replace the networks in the folder.

    Raises:
        InputError: something is missing, damaged, or of another network.
        OutputError: ``out`` holds something, or cannot be written.
        PriorError: the package is not installed.
    """
    require_library(folder)
    check_target(out, overwrite, (CODEC, DECODER))
    files = _weights(folder)
    try:
        sizes = _sizes(read_json(folder / CONFIG))
    except (ArithmeticError, OSError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{folder} is no MusicGen: {error}", HINT) from error
    tensors = _read(files)
    _check(folder, tensors[CODEC], make_encodec, sizes.codec)
    _check(folder, tensors[DECODER], make_musicgen, sizes.decoder)
    write_part(out / CODEC, tensors[CODEC], sizes.codec)
    write_part(out / DECODER, tensors[DECODER], sizes.decoder)
    entry: dict[str, Any] = {"checkpoint": files[0].name, "sha256": cards.sha256(files[0])}
    digest = cards.sha256(out / CODEC / WEIGHTS)
    card = cards.Card(
        name=out.resolve().name,
        medium="audio",
        engine="lass",
        sources=(source,),
        sample_rate=sizes.codec.sample_rate,
        stream=_windows(sizes),
        parts={
            CODEC: cards.Part(CODEC, entry),
            DECODER: cards.Part(DECODER, {**entry, "codec": digest}),
        },
    )
    listed = cards.with_files(card, out).files
    cards.write(structs.replace(card, files=listed), out)
    return sizes


def _windows(sizes: ImportedMusic) -> dict[str, Any]:
    """Return the window and overlap that the card needs, where the default window has too many frames."""
    frames = sizes.decoder.context - sizes.decoder.codebooks  # one to spare, for rates are converted
    seconds = math.floor(100 * frames * sizes.codec.hop / sizes.codec.sample_rate) / 100
    default = StreamSettings()
    if seconds >= default.window:
        return {}
    share = default.overlap / default.window
    return {"window": seconds, "overlap": math.floor(100 * share * seconds) / 100}


def _weights(folder: Path) -> list[Path]:
    """Return the files of the weights: one, or the shards that an index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    try:
        names = sorted({str(name) for name in read_json(folder / INDEX)["weight_map"].values()})
    except (OSError, LookupError, AttributeError, ValueError) as error:
        raise InputError(
            f"{folder} holds neither {WEIGHTS} nor {INDEX}", f"{HINT}; pickles are not read"
        ) from error
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise InputError(f"{folder / INDEX} names other files than safetensors beside it", HINT)
    return [folder / name for name in names]


def _sizes(fields: Mapping[str, Any]) -> ImportedMusic:
    """Read the sizes; an error of Python if they are of another network."""
    from transformers import EncodecConfig, MusicgenDecoderConfig

    codec, decoder = fields["audio_encoder"], fields["decoder"]
    kinds = (fields["model_type"], codec["model_type"], decoder["model_type"])
    if kinds != ("musicgen", "encodec", "musicgen_decoder"):
        raise ValueError(f"its model types are {', '.join(map(str, kinds))}")
    encodec_config = _library(EncodecConfig, codec, (*ENCODEC.values(), *CODEC_FIELDS))
    _check_plain("codec", encodec_config, {**CODEC_FIELDS, "codebook_dim": encodec_config.hidden_size})
    encodec = EncodecSizes(
        **{here: _plain(getattr(encodec_config, there)) for here, there in ENCODEC.items()}
    )
    decoder_config = _library(MusicgenDecoderConfig, decoder, (*MUSICGEN.values(), *DECODER_FIELDS))
    start = dict.fromkeys(("pad_token_id", "bos_token_id"), decoder_config.vocab_size)
    _check_plain("decoder", decoder_config, {**DECODER_FIELDS, **start, "vocab_size": encodec.vocabulary})
    musicgen = MusicgenSizes(**{here: getattr(decoder_config, there) for here, there in MUSICGEN.items()})
    if musicgen.codebooks > encodec_config.num_quantizers:
        raise ValueError(
            f"{musicgen.codebooks} codebooks of a codec that has {encodec_config.num_quantizers}"
        )
    return ImportedMusic(encodec, musicgen)


def _library(kind: Any, fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Return the library's config of the fields that are read here; it has defaults of the others."""
    return library_config(kind, {name: fields[name] for name in names if name in fields})


def _check_plain(what: str, config: Any, plain: Mapping[str, Any]) -> None:
    other = [name for name, value in plain.items() if getattr(config, name) != value]
    if other:
        raise ValueError(f"another {what} by its {', '.join(other)}")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read(files: list[Path]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of codec and decoder under the library's newest names; no others are read."""
    tensors: dict[str, dict[str, Tensor]] = {part: {} for part in PREFIXES}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    for part, prefix in PREFIXES.items():
                        if name.startswith(prefix):
                            tensors[part][_newest(name.removeprefix(prefix))] = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot read {path}: {error}", "fetch it again") from error
    return tensors


def _newest(name: str) -> str:
    for old, now in OLD.items():
        if name.endswith(old):
            return name.removesuffix(old) + now
    return name


def _check(
    folder: Path,
    tensors: Mapping[str, Tensor],
    make: Callable[[Any], Any],
    sizes: EncodecSizes | MusicgenSizes,
) -> None:
    """Refuse tensors that are not those of the network: InputError."""
    try:
        if sizes.repeated > len(tensors):
            raise ValueError("more layers than tensors")
        with torch.device("meta"):  # shapes without memory: a config may claim any width
            expected = make(sizes).state_dict()
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{folder} is no MusicGen: {error}", HINT) from error
    check_tensors(folder, tensors, {name: tensor.shape for name, tensor in expected.items()}, HINT)
