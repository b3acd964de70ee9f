#!/usr/bin/env bash
# FFmpeg's libraries (PyAV) lose the end of ALAC in CAF, also of files by FFmpeg's own muxer, and refuse some by libsndfile.
#
# Seen: of 44,100 samples 43,144 are decoded, of 3,000 samples 1,904, of 2,048 none, without an error; the header says the right length. The last packet holds only the samples that are left, and FFmpeg cuts off once more what it lacks to 4,096, if it is at least half full. libsndfile reads its own files exactly; those of a multiple of 4,096 samples FFmpeg refuses, though it reads its own.
# Memory would have guessed: the packet table of CAF gives the exact length, and a lossless file decodes to it.
# For separation: mixtures and stems in CAF lose up to 46 ms at the end; compare the decoded length with the header's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6 soundfile==0.14.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import av
import numpy as np
import soundfile as sf


def encode(path, values):
    """Write mono samples (T,) by FFmpeg's encoder and muxer."""
    with av.open(path, "w") as container:
        stream = container.add_stream("alac", rate=44_100, layout="mono")
        stream.codec_context.format = "s16p"
        frame = av.AudioFrame.from_ndarray(values[None], "s16p", "mono")
        frame.sample_rate = 44_100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def decode(path):
    """Length in the header and decoded samples of a mono file, or the name of the error."""
    try:
        with av.open(path) as container:
            frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
            return container.streams.audio[0].duration, np.concatenate([np.zeros(0, np.int16), *frames])
    except av.error.FFmpegError as error:
        return 0, type(error).__name__


print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "libsndfile", sf.__libsndfile_version__)
for length, expected in ((1000, 1000), (2048, 0), (3000, 1904), (10_000, 10_000), (40_960, 40_960), (44_100, 43_144)):
    values = np.random.default_rng(0).integers(-3000, 3000, length).astype(np.int16)
    sf.write("x.caf", values, 44_100, "ALAC_16")
    assert np.array_equal(sf.read("x.caf", dtype="int16")[0], values)
    encode("y.caf", values)
    header, found = decode("y.caf")
    _, of_sndfile = decode("x.caf")
    print(length, "samples by FFmpeg: header", header, "decoded", len(found), "| by libsndfile:", of_sndfile if isinstance(of_sndfile, str) else len(of_sndfile))
    assert header == length and np.array_equal(found, values[:expected])
    if length % 4096:
        assert np.array_equal(of_sndfile, values[:expected])
    else:
        assert of_sndfile == "InvalidDataError"
END
