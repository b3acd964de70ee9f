# /// script
# requires-python = ">=3.11"
# dependencies = ["mido", "numpy", "pyyaml", "scipy", "soundfile", "soxr"]
# ///
"""Render a folder of MIDI songs into the folder layout of Slakh2100, with free General MIDI SoundFonts.

The recipe of Slakh (Manilow et al., 2019) is MIDI → sampled instruments → stems. With FluidSynth it produces
clean stems for training priors from any MIDI songs with a suitable licence::

    apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont csound-soundfont
    pip install mido
    python examples/render_slakh.py my-songs --out my-slakh --split train --renderings 4 --rate 22050

writes ``my-slakh/train/TrackNNNNN/{mix.flac, metadata.yaml, stems/S00.flac, ...}``. A stem is a rendering of
the drum channel, or of the notes of General MIDI basses. Every rendering has random SoundFonts, drum kit,
bass, transposition, tempo and gains, which are recorded in ``metadata.yaml``. The mix is exactly the sum of
the stems. A repeated call continues where the previous one stopped.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydrogen_kits
import mido
import numpy as np
import soundfile
import soxr
import yaml

DRUM_CHANNEL, DRUM_KITS = 9, (0, 8, 16, 24, 25, 32, 40)
BASSES = {32: "Acoustic Bass", 33: "Electric Bass (finger)", 34: "Electric Bass (pick)", 35: "Fretless Bass"}
BASSES |= {36: "Slap Bass 1", 37: "Slap Bass 2", 38: "Synth Bass 1", 39: "Synth Bass 2"}
FAMILIES: tuple[str, ...] = ("Piano", "Chromatic Percussion", "Organ", "Guitar", "Bass", "Strings")
FAMILIES += ("Strings (continued)", "Brass", "Reed", "Pipe", "Synth Lead", "Synth Pad", "Synth Effects")
FAMILIES += ("Ethnic", "Percussive", "Sound Effects")  # eight programs each, named as in Slakh2100
SOUNDFONT_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/share/samples")
SOUNDFONTS = ("FluidR3_GM.sf2", "TimGM6mb.sf2", "sf_GMbank.sf2")
SYNTH_RATE, SYNTH_GAIN, TAIL_SECONDS, PEAK = 44100, 0.6, 1.5, 0.9
BANK_SELECT, UNDEFINED_CONTROL, DEFAULT_TEMPO, MAX_TEMPO = (0, 32), 119, 500_000, 0xFFFFFF

Event = tuple[int, Any]  # absolute tick, mido message
Keep = Callable[[int, int], bool]  # (channel, its program when the note starts) -> is the note in the stem?


class RenderError(Exception):
    """An error with a message and a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"error: {message}\n{hint}")


@dataclass(frozen=True)
class Part:
    """One stem: its notes and their instrument; ``program`` None: the instruments of the song.

    With ``varied`` each of the 128 programs of the song is played by ``varied[program]``, and with ``kit``
    the notes of the drums by recorded samples instead of the SoundFont.
    """

    inst_class: str
    keep: Keep
    program: int | None
    shift: int
    soundfont: Path
    gain: float
    varied: tuple[int, ...] | None = None
    kit: hydrogen_kits.Kit | None = None


def drums(channel: int, program: int) -> bool:
    """Return whether a note is on the drum channel."""
    return channel == DRUM_CHANNEL


def family(name: str) -> Keep:
    """Return a function that selects the pitched notes of one General MIDI family."""
    return lambda channel, program: channel != DRUM_CHANNEL and FAMILIES[program // 8] == name


def accompaniment(channel: int, program: int) -> bool:
    """Return whether a note is neither on the drum channel nor of a bass."""
    return channel != DRUM_CHANNEL and FAMILIES[program // 8] != "Bass"


def read_song(path: Path) -> tuple[int, list[Event]]:
    """Return the ticks per beat and the events of all tracks of a MIDI file, in order of time."""
    try:
        song = mido.MidiFile(path, clip=True)
    except Exception as error:  # mido raises various exceptions
        message = f"{path} is not a MIDI file that mido can read ({error})"
        raise RenderError(message, "remove it, or export it again with a MIDI editor") from error
    messages = mido.merge_tracks(song.tracks)
    ticks = itertools.accumulate(message.time for message in messages)
    events = list(zip(ticks, messages, strict=True))
    division = song.ticks_per_beat
    return (division, events) if division > 0 else in_beats(division, events)


def in_beats(division: int, events: Sequence[Event]) -> tuple[int, list[Event]]:
    """Return ticks per beat, and events at the default tempo, of a song whose ticks are parts of frames.

    The division of its file (SMPTE) is negative: minus the frames per second in the upper byte, the ticks per
    frame in the lower one. Tempo events have no effect on such a song.
    """
    frames, ticks = -(division >> 8), division & 0xFF
    if not ticks:
        raise RenderError("the division of a MIDI file has no ticks", "export it with ticks per beat")
    rate = 30 / 1.001 if frames == 29 else frames  # drop frame
    exact = rate * ticks * DEFAULT_TEMPO / 1_000_000
    beat = max(1, round(exact))
    return beat, [(round(tick * beat / exact), m) for tick, m in events if m.type != "set_tempo"]


def stretch(events: Sequence[Event], factor: float) -> list[Event]:
    """Return the tempo events, ``factor`` times as fast; the initial tempo is 120 beats per minute."""
    tempos = [(0, DEFAULT_TEMPO), *((tick, m.tempo) for tick, m in events if m.type == "set_tempo")]
    scaled = [(tick, min(MAX_TEMPO, round(tempo / factor))) for tick, tempo in tempos]
    return [(tick, mido.MetaMessage("set_tempo", tempo=tempo)) for tick, tempo in scaled]


def pick(
    events: Sequence[Event],
    keep: Keep,
    program: int | None,
    shift: int,
    varied: Sequence[int] | None = None,
) -> list[Event]:
    """Return the notes that ``keep`` selects, with the controllers and pitch bends of their channels.

    A note belongs to the program of its channel at its start. With ``program``, the selected channels use
    that program throughout, and program and bank changes are dropped. System exclusive messages are dropped,
    because they may turn other channels into drums.
    """
    programs, kept = [0] * 16, []
    sounding: dict[tuple[int, int], int] = {}
    for tick, message in events:
        if message.is_meta or not hasattr(message, "channel"):
            continue
        channel = message.channel
        if message.type in ("note_on", "note_off"):
            key = (channel, message.note)
            starts = message.type == "note_on" and message.velocity > 0
            if keep(channel, programs[channel]) if starts else sounding.get(key):
                sounding[key] = sounding.get(key, 0) + (1 if starts else -1)
                kept.append((tick, message.copy(note=transposed(message.note, shift))))
            continue
        if message.type == "program_change":
            programs[channel] = message.program
            message = message if varied is None else message.copy(program=varied[message.program])
        chooses = message.type == "program_change" or (message.is_cc() and message.control in BANK_SELECT)
        if message.type != "polytouch" and not (chooses and program is not None):
            kept.append((tick, message))
    channels = {m.channel for _, m in kept if m.type == "note_on"}
    kept = [(tick, m) for tick, m in kept if m.channel in channels]
    if program is None:
        return kept
    return [(0, mido.Message("program_change", channel=c, program=program)) for c in sorted(channels)] + kept


def transposed(note: int, shift: int) -> int:
    """Transpose a note by ``shift`` semitones, and back by an octave if that is outside the MIDI range."""
    note += shift
    return note + 12 if note < 0 else note - 12 if note > 127 else note


def to_midi(events: Sequence[Event], ticks_per_beat: int, end: int) -> mido.MidiFile:
    """Return a MIDI file of one track that lasts until the tick ``end``."""
    closing = mido.Message("control_change", channel=DRUM_CHANNEL, control=UNDEFINED_CONTROL, value=0)
    track, now = mido.MidiTrack(), 0
    for tick, message in [*sorted(events, key=lambda event: event[0]), (end, closing)]:
        track.append(message.copy(time=tick - now))
        now = tick
    return mido.MidiFile(type=0, ticks_per_beat=ticks_per_beat, tracks=[track])


def synthesize(song: mido.MidiFile, soundfont: Path, rate: int, stereo: bool) -> np.ndarray:
    """Return audio (T, channels), float64; rendered at 44.1 kHz, as FluidSynth aliases at lower rates."""
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "song.mid"), Path(folder, "song.wav")
        song.save(midi)
        command = f"fluidsynth -ni -q -g {SYNTH_GAIN} -r {SYNTH_RATE} -O float -T wav -F".split()
        command += [str(wav), str(soundfont), str(midi)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode or not wav.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RenderError(f"fluidsynth failed on {soundfont}: {last}", "check the SoundFont and the disk")
        signal, _ = soundfile.read(wav, always_2d=True)
    signal = signal if stereo else signal.mean(axis=1, keepdims=True)
    return np.asarray(
        signal if rate == SYNTH_RATE else soxr.resample(signal, SYNTH_RATE, rate, quality="VHQ")
    )


def sample_parts(
    rng: np.random.Generator,
    soundfonts: Sequence[Path],
    kits: Sequence[hydrogen_kits.Kit],
    options: argparse.Namespace,
) -> tuple[list[Part], float, int]:
    """Sample the parts, the tempo factor and the transposition in semitones of one rendering.

    Args:
        rng: source of all choices.
        soundfonts: one is chosen for each part.
        kits: a share of the renderings take their drums from one of these, if there are any.
        options: with ``other`` there is a part for each family of other instruments, with ``accompaniment``
            one for all of them, half of which are replaced by others of their families.
    """
    tempo, shift = round(float(rng.uniform(0.85, 1.15)), 4), int(rng.integers(-5, 7))

    def part(inst_class: str, keep: Keep, program: int | None, transposition: int) -> Part:
        gain = round(float(10 ** rng.uniform(-0.3, 0.0)), 4)  # −6..0 dB
        return Part(
            inst_class, keep, program, transposition, soundfonts[int(rng.integers(len(soundfonts)))], gain
        )

    parts = [part("Drums", drums, int(rng.choice(DRUM_KITS)), 0)]
    parts += [part("Bass", family("Bass"), int(rng.choice(tuple(BASSES))), shift)]
    if options.other:
        parts += [part(name, family(name), None, shift) for name in FAMILIES if name != "Bass"]
    if options.accompaniment:
        rest = part("Other", accompaniment, None, shift)
        other_programs = [8 * (n // 8) + int(rng.integers(8)) for n in range(128)]
        kept = rng.random(128) < 0.5
        parts += [replace(rest, varied=tuple(n if kept[n] else other_programs[n] for n in range(128)))]
    if kits and rng.random() < options.kit_share:
        parts[0] = replace(parts[0], kit=kits[int(rng.integers(len(kits)))])
    return parts, tempo, shift


def play_drums(
    notes: Sequence[Event],
    tempos: Sequence[Event],
    beat: int,
    end: int,
    kit: hydrogen_kits.Kit,
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return audio (T, channels), float64, of the drum notes until the tick ``end``."""
    seconds = clock(tempos, beat)
    hits = [
        (seconds(tick), m.note, m.velocity) for tick, m in notes if m.type == "note_on" and m.velocity > 0
    ]
    signal = hydrogen_kits.play(hits, kit, seconds(end), rng)
    signal = signal if options.stereo else signal.mean(axis=1, keepdims=True)
    return np.asarray(
        signal
        if options.rate == SYNTH_RATE
        else soxr.resample(signal, SYNTH_RATE, options.rate, quality="VHQ")
    )


def clock(tempos: Sequence[Event], beat: int) -> Callable[[int], float]:
    """Return the function from ticks to seconds."""
    ticks = np.array([tick for tick, _ in tempos], dtype=float)
    rates = np.array([message.tempo / 1_000_000 / beat for _, message in tempos])
    starts = np.concatenate([[0.0], np.cumsum(np.diff(ticks) * rates[:-1])])

    def seconds(tick: int) -> float:
        index = int(np.searchsorted(ticks, tick, side="right")) - 1
        return float(starts[index] + (tick - ticks[index]) * rates[index])

    return seconds


def mix_down(
    stems: Sequence[np.ndarray], gains: Sequence[float]
) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Scale the stems and add them.

    Args:
        stems: K arrays (T_k, channels), float.
        gains: K gains relative to a peak of 0.9.

    Returns:
        K stems (T, channels) int16, their exact sum, and the common gain that prevents clipping of the sum.
    """
    length = max(len(stem) for stem in stems)
    padded = [np.pad(stem, ((0, length - len(stem)), (0, 0))) for stem in stems]
    peaks = [max(float(np.abs(stem).max()), 1e-9) for stem in stems]
    levelled = [PEAK * gain / peak * x for x, gain, peak in zip(padded, gains, peaks, strict=True)]
    overall = min(1.0, PEAK / max(float(np.abs(sum(levelled)).max()), 1e-9))
    rounded = [np.round(32767 * overall * x).astype(np.int16) for x in levelled]
    mix = np.asarray(np.sum(rounded, axis=0, dtype=np.int32), dtype=np.int16)
    return rounded, mix, overall


def describe(part: Part) -> dict[str, Any]:
    """Return the entry of a stem in metadata.yaml: the keys of Slakh2100, and additional ones."""
    is_drum = part.keep is drums
    entry: dict[str, Any] = {"inst_class": part.inst_class, "is_drum": is_drum}
    entry |= {"program_num": 128 if is_drum else part.program}
    entry |= {
        "midi_program_name": part.inst_class if is_drum else BASSES.get(part.program or 0, part.inst_class)
    }
    entry |= {"plugin_name": part.soundfont.name, "audio_rendered": True, "midi_saved": False}
    entry |= {"gain": part.gain, "transpose": part.shift}
    if part.kit is not None:
        return entry | {"plugin_name": part.kit.name}
    return entry | ({"drum_kit": part.program} if is_drum else {})


def render(
    song: Path,
    number: int,
    track: Path,
    soundfonts: Sequence[Path],
    kits: Sequence[hydrogen_kits.Kit],
    options: argparse.Namespace,
) -> str:
    """Render a song for the ``number``-th time; return "done", "kept" (it exists) or "empty" (no notes)."""
    identity = {"song": song.name, "seed": options.seed, "rendering": number, "rate": options.rate}
    if (track / "metadata.yaml").exists():
        found = yaml.safe_load((track / "metadata.yaml").read_text("utf-8"))
        if {key: found.get(key) for key in identity} != identity:
            hint = "use the same songs and options, or another --out"
            raise RenderError(f"{track} contains another rendering", hint)
        return "kept"
    rng = np.random.default_rng([options.seed, zlib.crc32(song.name.encode()), number])
    parts, tempo, shift = sample_parts(rng, soundfonts, kits, options)
    beat, events = read_song(song)
    tempos = stretch(events, tempo)
    selected = [
        (part, notes)
        for part in parts
        if (notes := pick(events, part.keep, part.program, part.shift, part.varied))
    ]
    if not selected:
        return "empty"
    last = max(tick for _, notes in selected for tick, _ in notes)
    end = last + mido.second2tick(TAIL_SECONDS, beat, tempos[-1][1].tempo)
    signals = [
        synthesize(to_midi([*tempos, *notes], beat, end), part.soundfont, options.rate, options.stereo)
        if part.kit is None
        else play_drums(notes, tempos, beat, end, part.kit, options, rng)
        for part, notes in selected
    ]
    stems, mix, overall = mix_down(signals, [part.gain for part, _ in selected])
    (track / "stems").mkdir(parents=True, exist_ok=True)
    for index, stem in enumerate(stems):
        soundfile.write(track / "stems" / f"S{index:02d}.flac", stem, options.rate, subtype="PCM_16")
    soundfile.write(track / "mix.flac", mix, options.rate, subtype="PCM_16")
    metadata: dict[str, Any] = {"UUID": uuid.uuid5(uuid.NAMESPACE_OID, repr(identity)).hex}
    metadata |= {"audio_dir": "stems", "normalized": True, "overall_gain": round(overall, 6), **identity}
    metadata |= {"tempo_factor": tempo, "transpose": shift}
    metadata |= {"stems": {f"S{index:02d}": describe(part) for index, (part, _) in enumerate(selected)}}
    partial = track / "metadata.yaml.part"  # a track is complete with its metadata
    partial.write_text(yaml.safe_dump(metadata, sort_keys=False), "utf-8")
    partial.replace(track / "metadata.yaml")
    return "done"


def find_soundfonts(given: Sequence[Path]) -> list[Path]:
    """Return the given SoundFonts, or the installed ones of Debian's packages."""
    if shutil.which("fluidsynth") is None:
        raise RenderError("fluidsynth is not installed", "install it: apt-get install fluidsynth")
    for path in given:
        if not path.is_file():
            raise RenderError(
                f"SoundFont {path} does not exist", "pass the path of an .sf2 file to --soundfont"
            )
    candidates = [[Path(folder, name) for folder in SOUNDFONT_FOLDERS] for name in SOUNDFONTS]
    installed = [next(filter(Path.is_file, paths), None) for paths in candidates]
    soundfonts = list(given) or [path for path in installed if path]
    if not soundfonts:
        packages = "apt-get install fluid-soundfont-gm timgm6mb-soundfont csound-soundfont"
        raise RenderError("no General MIDI SoundFont was found", f"use --soundfont PATH, or: {packages}")
    return soundfonts


def render_all(options: argparse.Namespace) -> list[str]:
    """Render all songs and return their outcomes; fewer renderings are a prefix of more."""
    soundfonts = find_soundfonts(options.soundfont)
    kits = hydrogen_kits.find_kits(options.drumkits)
    songs = [options.midi] if options.midi.is_file() else sorted(options.midi.rglob("*.[mM][iI][dD]"))
    if not songs:
        raise RenderError(f"{options.midi} contains no .mid files", "use a folder of MIDI songs")
    tasks = [(number, song) for number in range(options.renderings) for song in songs]

    def work(index: int) -> str:
        number, song = tasks[index]
        track = options.out / options.split / f"Track{index + 1:05d}"
        outcome = render(song, number, track, soundfonts, kits, options)
        print(f"{track.name} {outcome}: {song.name}, rendering {number + 1}", file=sys.stderr, flush=True)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            return list(pool.map(work, range(len(tasks))))
        finally:
            pool.shutdown(cancel_futures=True)


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Render MIDI songs into the folder layout of Slakh2100.")
    parser.add_argument("midi", type=Path, help="folder of .mid files (searched recursively), or one file")
    parser.add_argument("--out", type=Path, required=True, help="root of the data set")
    parser.add_argument("--split", default="train", help="subfolder of --out (train)")
    parser.add_argument(
        "--renderings", type=positive, default=1, metavar="R", help="renderings of a song (1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed; use a different one for every split (0)")
    parser.add_argument("--rate", type=positive, default=44100, help="sample rate in Hz (44100)")
    parser.add_argument("--stereo", action="store_true", help="two channels")
    parser.add_argument(
        "--mono",
        dest="stereo",
        action="store_false",
        default=False,
        help="one channel, as Slakh2100 (default)",
    )
    parser.add_argument(
        "--soundfont", type=Path, action="append", default=[], metavar="PATH", help="repeatable"
    )
    parser.add_argument(
        "--other", action="store_true", help="also render all other instruments, one stem per GM family"
    )
    parser.add_argument(
        "--accompaniment", action="store_true", help="also render all other instruments, as one stem Other"
    )
    parser.add_argument(
        "--drumkits",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a Hydrogen kit, or a folder of kits, for the drums of some renderings; repeatable",
    )
    parser.add_argument(
        "--kit-share", type=float, default=0.5, help="share of renderings with drums of --drumkits (0.5)"
    )
    parser.add_argument("--jobs", type=positive, default=1, help="number of parallel renderings (1)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Render; return the exit code."""
    options = arguments().parse_args(argv)
    try:
        outcomes = render_all(options)
    except RenderError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}\ncheck the permissions and the free space of --out", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in ("done", "kept", "empty")]
    print(", ".join(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
