"""The controls of ``sepcli ui``, in Gradio: a tab that separates, and one that colorizes."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio
import typer
from PIL import Image

from sepcli.catalog import index, resolve
from sepcli.catalog.card import COLORIZE, Card
from sepcli.cli.resolve import COLORIZE_PRIOR, SONG_PRIOR
from sepcli.cli.ui_work import ARCHIVE, PAGE, Results, work
from sepcli.errors import SepError

MOST_SAMPLES = 8
STYLE = """
.result { width: 100%; height: 85vh; border: 1px solid #8884; border-radius: .4rem; background: Canvas }
.or { color: inherit !important } button.primary { transition: none !important }
footer { display: none !important }
"""
FORMATS = ["as the input", "wav", "flac", "mp3", "m4a", "stem.mp4"]
"""Formats of stems."""


def blocks(results: Results) -> Any:
    """Return the application, whose results are kept in a folder."""
    with gradio.Blocks(title="sepcli", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gradio.Markdown(
            "# sepcli\nSeparates recordings and images, and colorizes photographs, on this machine."
        )
        with gradio.Tab("Separate"):
            _separate_tab(results)
        with gradio.Tab("Colorize"):
            _colorize_tab(results)
    return page


def theme() -> Any:
    """Return the theme: fonts of the system, and colors with enough contrast."""
    fonts = ["system-ui", "sans-serif"]
    theme = gradio.themes.Base(primary_hue="violet", font=fonts, font_mono=["ui-monospace", "monospace"])
    theme = theme.set(button_primary_background_fill="*primary_600")
    return theme.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")


def priors() -> dict[str, Card]:
    """Return the priors that are here, by name, with their cards; nothing is fetched."""
    cards: dict[str, Card] = {}
    for name in (*index.names(), *index.remote_names()):
        try:
            cards[name] = resolve.find(name)[0]
        except SepError:
            continue
    return cards


def frame_of(key: str) -> str:
    """Return the HTML that shows a result."""
    page, archive = (html.escape(f"/results/{key}/{name}") for name in (PAGE, ARCHIVE))
    sandbox = 'sandbox="allow-scripts allow-downloads"'
    return (
        f'<p><a href="{archive}" download>Download all files</a> · '
        f'<a href="{page}" target="_blank" rel="noopener">Open the page alone</a></p>'
        f'<iframe class="result" title="Result" src="{page}" {sandbox}></iframe>'
    )


def _separate_tab(results: Results) -> None:
    cards = {
        name: card
        for name, card in priors().items()
        if COLORIZE not in card.settings or card.medium == "audio"
    }
    choices = [(f"{name}: {card.title}", name) for name, card in cards.items()]
    with gradio.Row():
        with gradio.Column():
            source = gradio.File(label="Recording or image", type="filepath")
            prior = gradio.Dropdown(choices, value=SONG_PRIOR, label="Prior: what it separates")
            only = gradio.CheckboxGroup(_stems(cards[SONG_PRIOR]), label="Stems to write (none: all)")
            other = gradio.Checkbox(label="A stem for everything else (recordings)")
        with gradio.Column():
            samples = gradio.Slider(1, MOST_SAMPLES, 1, step=1, label="Samples")
            seed = gradio.Number(0, label="Seed", precision=0, minimum=0)
            form = gradio.Dropdown(FORMATS, value=FORMATS[0], label="Format of stems of recordings")
            button = gradio.Button("Separate", variant="primary", elem_id="separate")
    result = gradio.HTML()
    prior.change(
        lambda name: gradio.CheckboxGroup(choices=_stems(cards[name]), value=[]),
        prior,
        only,
        api_visibility="private",
    )

    def separate(
        path: str | None,
        name: str,
        stems: list[str],
        rest: bool,
        count: int,
        number: int,
        chosen: str,
        progress: Any = gradio.Progress(),  # noqa: B008
    ) -> str:
        audio = cards[name].medium == "audio"
        values: dict[str, Any] = {"priors": [name], "samples": int(count), "seed": int(number)}
        if audio:
            values |= {"other": rest, "only": [*stems, *(["other"] if rest and stems else [])] or None}
            values |= {"container": None if chosen == FORMATS[0] else chosen}
        return _run(results, "separate", path, values, progress)

    inputs = [source, prior, only, other, samples, seed, form]
    button.click(
        separate, inputs, result, concurrency_id="work", concurrency_limit=1, api_visibility="private"
    )


def _colorize_tab(results: Results) -> None:
    choices = [
        (f"{name}: {card.title}", name) for name, card in priors().items() if COLORIZE in card.settings
    ]
    with gradio.Row():
        image = gradio.ImageEditor(
            label="Photograph; strokes of color on it are hints",
            type="pil",
            image_mode="RGBA",
            sources=["upload", "clipboard"],
            transforms=[],
            brush=gradio.Brush(
                colors=["#c0392b", "#27ae60", "#2980b9", "#e8c39e", "#f1c40f"], color_mode="fixed"
            ),
            buttons=[],
        )
        with gradio.Column():
            prior = gradio.Dropdown(choices, value=COLORIZE_PRIOR, label="Prior")
            samples = gradio.Slider(1, MOST_SAMPLES, 2, step=1, label="Samples")
            seed = gradio.Number(0, label="Seed", precision=0, minimum=0)
            button = gradio.Button("Colorize", variant="primary", elem_id="colorize")
    result = gradio.HTML()

    def colorize(
        edited: Mapping[str, Any] | None,
        name: str,
        count: int,
        number: int,
        progress: Any = gradio.Progress(),  # noqa: B008
    ) -> str:
        with tempfile.TemporaryDirectory(prefix="sepcli-ui-") as folder:
            path, hint = stored(edited, Path(folder))
            values = {"prior": name, "samples": int(count), "seed": int(number), "hint": hint}
            return _run(results, "colorize", path, values, progress)

    inputs = [image, prior, samples, seed]
    button.click(
        colorize, inputs, result, concurrency_id="work", concurrency_limit=1, api_visibility="private"
    )


def stored(edited: Mapping[str, Any] | None, folder: Path) -> tuple[str | None, Path | None]:
    """Store the image of an editor, and the strokes of its layers if there are some; return both files.

    Args:
        edited: ``background`` and ``layers``, images of Pillow.
        folder: for the files.
    """
    background: Image.Image | None = (edited or {}).get("background")
    if background is None:
        return None, None
    path, hint = folder / "photograph.png", folder / "hint.png"
    flat = Image.new("RGB", background.size, "white")
    flat.paste(background.convert("RGB"), mask=background.convert("RGBA").getchannel("A"))
    flat.save(path)
    strokes = Image.new("RGBA", background.size)
    for layer in (edited or {}).get("layers") or ():
        strokes.alpha_composite(layer.convert("RGBA").resize(background.size))
    if strokes.getchannel("A").getextrema()[1] == 0:
        return str(path), None
    strokes.save(hint)
    return str(path), hint


def _stems(card: Card) -> list[str]:
    return list(card.sources) if card.medium == "audio" and len(card.sources) > 1 else []


def _run(results: Results, command: str, path: str | None, values: Mapping[str, Any], progress: Any) -> str:
    if not path:
        raise gradio.Error("Choose a file first.", print_exception=False)
    progress(0.0, desc="loading")
    try:
        key = work(
            results,
            command,
            Path(path),
            values,
            lambda done, total: progress(min(done / max(total, 1), 1.0), desc="working"),
        )
    except SepError as error:
        raise gradio.Error(f"{error.message}: {error.hint}", print_exception=False) from error
    except typer.Exit as error:
        raise gradio.Error("It failed; see the terminal.", print_exception=False) from error
    return frame_of(key)
