"""Compare sepcli's audio reader with the program ffmpeg over encoders × tags × sample rates.

    python examples/reproduce/decoding.py --out examples/reproduce/results/decoding.json

Every file is made here, by libsndfile or FFmpeg's libraries, and decoded by both. Equal: the same length, and
no sample apart by more than 2^-15. Other files are listed with both lengths and the largest difference:

- M4A, whose padding at the end only the program keeps;
- AAC in Matroska, whose priming old versions of the program keep;
- Opus, which the program decodes by code of its own and at 48,000 Hz;
- MS ADPCM as libsndfile encodes it (see ``findings/ms-adpcm.sh``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import scipy.signal
import soundfile

from sepcli.media.audio import AudioReader

RATES = (8000, 22050, 44100, 48000, 96000)
SNDFILE = {
    "wav": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM"),
    "flac": ("PCM_S8", "PCM_16", "PCM_24"),
    "aiff": ("PCM_16", "PCM_24"),
    "caf": ("PCM_16", "FLOAT"),
    "w64": ("PCM_16",),
    "ogg": ("VORBIS",),
    "opus": ("OPUS",),
    "mp3": ("MPEG_LAYER_III",),
}
LIBAV = {
    "mp3": "libmp3lame",
    "m4a": "aac",
    "mka": "aac",
    "mp2": "mp2",
    "wma": "wmav2",
    "ac3": "ac3",
    "wv": "wavpack",
}
LOSSLESS = {"m4a": "alac", "mka": "flac", "oga": "flac", "tta": "tta"}
ID3 = b"ID3\x03\0\0\0\0\x08\0" + b"Info" * 256
APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (40).to_bytes(4, "little") + bytes(16) + bytes(40)


def main() -> None:
    """Parse the command line, run all cases and write the report."""
    parser = argparse.ArgumentParser(description="Compare sepcli's audio reader with the program ffmpeg.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rates", type=int, nargs="*", default=RATES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(path, name) for path, name in cases(Path(folder), options.rates)]
    equal = [row for row in rows if row["equal"]]
    version = subprocess.run(
        ["ffmpeg", "-version"], capture_output=True, text=True, check=True
    ).stdout.split()[2]
    document = {
        "versions": {"ffmpeg": version, "av": av.__version__, "libsndfile": soundfile.__libsndfile_version__},
        "files": len(rows),
        "equal": len(equal),
        "others": [row for row in rows if not row["equal"]],
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{len(equal)} of {len(rows)} files are equal to ffmpeg's; others:")
    for row in document["others"]:
        print(" ", row)


def signal(rate: int) -> np.ndarray:
    """Two seconds of low noise, (T, 2)."""
    noise = np.random.default_rng(rate).standard_normal((2 * rate + 1, 2))
    return 0.03 * scipy.signal.lfilter([1], [1, -0.95], noise, axis=0)


def cases(folder: Path, rates: tuple[int, ...]) -> Iterator[tuple[Path, str]]:
    """Yield files and their names."""
    for rate in rates:
        samples = signal(rate)
        for kind, subtypes in SNDFILE.items():
            for subtype in subtypes:
                path = folder / f"x.{kind}"
                if soundfile.check_format("OGG" if kind == "opus" else kind.upper(), subtype) and known(
                    kind, rate
                ):
                    soundfile.write(path, samples, rate, subtype, format="OGG" if kind == "opus" else None)
                    yield path, f"{kind} {subtype} {rate}"
        for table in (LIBAV, LOSSLESS):
            for kind, codec in table.items():
                path = folder / f"x.{kind}"
                if encode(path, codec, samples, rate):
                    yield path, f"{kind} {codec} {rate}"
        if encode(folder / "x.mp3", "libmp3lame", samples, rate, tag=False):
            bare = (folder / "x.mp3").read_bytes()
            for name, before, after in (
                ("untagged", b"", b""),
                ("id3", ID3, b""),
                ("two id3", 2 * ID3, b""),
                ("ape", b"", APE),
                ("joined", b"", bare),
                ("joined with id3", b"", ID3 + bare),
            ):
                (folder / "x.mp3").write_bytes(before + bare + after)
                yield folder / "x.mp3", f"mp3 {name} {rate}"


def known(kind: str, rate: int) -> bool:
    """Whether an encoder of libsndfile has a rate."""
    return rate <= 48000 if kind == "mp3" else rate in (8000, 48000) if kind == "opus" else True


def encode(path: Path, codec: str, samples: np.ndarray, rate: int, *, tag: bool = True) -> bool:
    """Encode samples (T, 2) by FFmpeg's libraries; False if the encoder does not have the rate."""
    plain = {"write_xing": "0", "id3v2_version": "0"} if not tag else {}
    encoder = av.codec.Codec(codec, "w")
    if encoder.audio_rates and rate not in encoder.audio_rates:
        return False
    form = next(
        name for name in ("fltp", "flt", "s16p", "s16") if name in [f.name for f in encoder.audio_formats]
    )
    with av.open(str(path), "w", options=plain) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo", format=form)
        try:
            stream.codec_context.open()
        except av.error.ArgumentError:  # of encoders that do not list their rates
            return False
        size = stream.codec_context.frame_size or 1024
        values = samples if form.startswith("f") else np.rint(samples * 32767)
        for start in range(0, len(values), size):
            part = values[start : start + size].astype(np.float32 if form.startswith("f") else np.int16)
            block = part.T if form.endswith("p") else part.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), form, "stereo")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return True


def compare(path: Path, name: str) -> dict[str, object]:
    """Decode a file by sepcli and by the program."""
    with AudioReader(path) as reader:
        ours = reader.read(reader.info.frames).T
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-f",
        "f64le",
        "-c:a",
        "pcm_f64le",
        "-",
    ]
    theirs = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, "<f8")
    theirs = theirs.reshape(-1, ours.shape[1])
    both = min(len(ours), len(theirs))
    apart = float(np.abs(ours[:both] - theirs[:both]).max(initial=0.0))
    equal = len(ours) == len(theirs) and apart <= 2**-15
    return {
        "file": name,
        "equal": equal,
        "sepcli": len(ours),
        "ffmpeg": len(theirs),
        "difference": round(apart, 7),
    }


if __name__ == "__main__":
    main()
