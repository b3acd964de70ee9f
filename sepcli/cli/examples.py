"""The examples at the end of every command's help."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "": """
        sepcli separate song.flac
        sepcli colorize photo.jpg
        sepcli fetch-priors --list
        sepcli separate --help
    """,
    "fetch-priors": """
        sepcli fetch-priors --list
        sepcli fetch-priors --show slakh-drums-bass
        sepcli fetch-priors church-256
        sepcli fetch-priors hf:owner/name@v1 --dry-run
    """,
    "push-prior": """
        sepcli push-prior my-prior hf:owner/name
        sepcli push-prior my-prior hf:owner/name --yes --private
    """,
    "separate": """
        sepcli separate song.flac
        sepcli separate songs/ --out stems --resume --jobs 8
        sepcli separate songs/ --executor ray:auto --device cuda
        sepcli separate song.flac --only drums --start 1:30 --length 20
        sepcli separate song.wav --prior slakh-drums --other
        sepcli separate duet.wav --prior violin --prior cello --samples 4
        sepcli separate digits.png --prior mnist
        sepcli separate song.mp3 --method hpss --format flac
        sepcli separate song.mp3 --other --format stem.mp4
    """,
    "colorize": """
        sepcli colorize photo.jpg
        sepcli colorize scans/ --out colorized --resume
        sepcli colorize photo.png --hint strokes.png --samples 4
    """,
    "evaluate": """
        sepcli evaluate
        sepcli evaluate estimates/ references/ --metric sdr
        sepcli evaluate --dataset mnist --data mnist/ --prior mnist --pairs 100
        sepcli evaluate --dataset musdb --data musdb18hq/ --split test --method hpss
        sepcli evaluate --method nmf --method hpss --out report.json
        sepcli evaluate --method hpss --table latex --jobs 4
    """,
    "train-prior": """
        sepcli train-prior --family denoiser --data photos/ --out my-prior
        sepcli train-prior --family denoiser --data violin/ --out violin
        sepcli train-prior --family ncsn --data mnist/ -o digits --set classes=halves
        sepcli train-prior --family vqvae --data slakh/ --out my-codec --steps 1000
        sepcli train-prior --family flow --list-options
        torchrun --nproc_per_node=8 -m sepcli train-prior --data slakh/ -o my-codec
    """,
    "import-prior": """
        sepcli import-prior checkpoint.pth --out my-prior
        sepcli import-prior last.ckpt --family vqgan --out faces
        sepcli import-prior imagegpt-small/ --family imagegpt --out photos
        sepcli import-prior musicgen-small/ --family musicgen --out songs
        sepcli import-prior my-prior --storage int8 --out my-small-prior
        sepcli import-prior violin --storage int8 --base songs-other -o small
    """,
    "build-likelihood": """
        sepcli build-likelihood --prior my-prior --data slakh/
        sepcli build-likelihood --prior my-prior --data slakh/ --resume
        sepcli build-likelihood --prior my-prior --data slakh/ --jobs 8
    """,
    "page": """
        sepcli page separated/song
        sepcli page separated/
        sepcli page colorized/photo --out photo.html
    """,
    "ui": """
        sepcli ui
        sepcli ui --port 8000 --no-browser
    """,
    "samplers": """
        sepcli samplers
        sepcli samplers projected halving
        sepcli samplers --prior mnist
    """,
    "env": """
        sepcli env
        sepcli env --json
    """,
}
"""Name of the command, empty for ``sepcli`` itself → its examples, one command line a row."""
