"""``sepcli ui``: its work, its refusals, and the whole of it in a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import Visit, chromium
from PIL import Image

from sepcli.cli.app import run
from sepcli.cli.resolve import Method
from sepcli.cli.ui_work import ARCHIVE, KEPT, PAGE, Results, work
from sepcli.errors import SepError

RATE = 8000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "noise & <b>.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((RATE, 2)), RATE)
    return path


def test_a_file_becomes_a_page_and_an_archive(tmp_path: Path, recording: Path) -> None:
    results, steps = Results(tmp_path / "results"), []
    key = work(results, "separate", recording, {"method": Method("hpss")}, lambda *step: steps.append(step))
    page, archive = results.find(key, PAGE), results.find(key, ARCHIVE)
    assert page is not None
    assert archive is not None
    assert page.read_text("utf-8").count('class="voice"') == 3
    with zipfile.ZipFile(archive) as file:
        assert {Path(name).name for name in file.namelist()} == {"drums.wav", "bass.wav", "run.json", PAGE}
    assert steps
    assert all(0 <= done <= total for done, total in steps)
    assert sorted(path.name for path in page.parent.iterdir()) == [PAGE, ARCHIVE]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    results, broken = Results(tmp_path / "results"), tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(SepError, match="broken"):
        work(results, "separate", broken, {"method": Method("hpss")}, lambda done, total: None)
    assert list((tmp_path / "results").iterdir()) == []


def test_only_pages_and_archives_of_results_are_found(tmp_path: Path) -> None:
    results = Results(tmp_path)
    folder = results.new()
    (folder / PAGE).write_text("x")
    (folder / "run.json").write_text("x")
    (tmp_path / PAGE).write_text("x")
    assert results.find(folder.name, PAGE) == folder / PAGE
    for key, name in ((folder.name, "run.json"), (folder.name, ARCHIVE), ("..", PAGE), ("0" * 32, PAGE)):
        assert results.find(key, name) is None


def test_old_results_are_removed(tmp_path: Path) -> None:
    results = Results(tmp_path)
    old = results.new()
    os.utime(old, (time.time() - 10**5, time.time() - 10**5))
    folders = [results.new() for _ in range(KEPT + 2)]
    assert not old.exists()
    assert len([*tmp_path.iterdir()]) == KEPT
    assert folders[-1].exists()


def test_without_gradio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["ui"]) == 2
    assert "sepcli[ui]" in capsys.readouterr().err


def test_a_port_that_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["ui", "--port", str(port), "--no-browser"]) == 2
    assert f"--port {port}" in capsys.readouterr().err


def test_strokes_are_stored_where_there_are_some(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed")
    from sepcli.cli.ui_blocks import stored

    background, layer = Image.new("RGBA", (6, 4), (9, 9, 9, 255)), Image.new("RGBA", (6, 4))
    assert stored(None, tmp_path) == (None, None)
    path, hint = stored({"background": background, "layers": [layer]}, tmp_path)
    assert hint is None
    with Image.open(str(path)) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("RGB", (9, 9, 9))
    layer.putpixel((2, 1), (255, 0, 0, 255))
    _, hint = stored({"background": background, "layers": [layer]}, tmp_path)
    assert hint is not None
    with Image.open(hint) as image:
        assert (image.size, image.getpixel((2, 1)), image.getpixel((0, 0))[3]) == (
            (6, 4),
            (255, 0, 0, 255),
            0,
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a running server, which is ended as by Ctrl-C, and has left nothing then."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "sepcli", "ui", "--port", "0", "--no-browser", "--limit", "1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        yield url
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert [*(tmp_path / "tmp").glob("sepcli-*")] == []
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_it_separates_and_colorizes_in_a_browser(server: str, recording: Path, tmp_path: Path) -> None:
    Image.fromarray(np.arange(40 * 32, dtype=np.uint8).reshape(32, 40)).save(tmp_path / "gray.png")
    with chromium() as browser:
        visit = Visit(browser, f"{server}/", quiet=("error",))
        page = visit.page
        page.set_default_timeout(120_000)
        page.wait_for_selector("#separate")
        assert visit.violations() == []
        page.set_input_files("input[type=file] >> nth=0", str(recording))
        page.wait_for_selector("text=.wav")
        page.click("#separate")
        frame = page.frame_locator("iframe.result:visible")
        frame.locator(".voice").first.wait_for(timeout=300_000)
        assert frame.locator(".voice").count() == 4  # the mixture and three stems
        frame.locator(".play").click()
        frame.locator(".time:has-text('0:01.0 /')").wait_for()
        with page.expect_download() as download:
            page.click("a:has-text('Download'):visible")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert any(name.endswith("drums.wav") for name in archive.namelist())
        page.click("[role=tab]:has-text('Colorize') >> visible=true")
        page.wait_for_selector("#colorize")
        canvas = page.locator("canvas").first
        canvas.wait_for()
        page.wait_for_timeout(1500)  # an image that comes before the editor is ready is lost
        page.locator("input[type=file]").last.set_input_files(str(tmp_path / "gray.png"))
        page.locator("text=Upload an image").wait_for(state="hidden")
        page.wait_for_timeout(1500)
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        page.wait_for_timeout(500)
        page.click("#colorize")
        colors = page.frame_locator("iframe.result:visible")
        colors.locator(".compare").wait_for(timeout=300_000)
        assert colors.locator(".samples input").count() == 2
        assert colors.locator("text=hint").count() > 0
        check_limits(page, server)
        assert visit.problems == []
        addresses = [url for url in visit.requests if not url.startswith(("data:", "blob:"))]
        assert [url for url in addresses if not url.startswith(server)] == []


def check_limits(page: Any, url: str) -> None:
    """Assert that large uploads, other hosts and guessed names are refused."""
    large = {"name": "a.wav", "mimeType": "audio/wav", "buffer": bytes(2_000_000)}
    assert page.request.post(f"{url}/gradio_api/upload", multipart={"files": large}).status == 413
    assert page.request.get(url, headers={"Host": "example.org"}).status == 400
    assert page.request.get(f"{url}/results/{'0' * 32}/{PAGE}").status == 404
