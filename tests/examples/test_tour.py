"""``examples/tour.ipynb``: it is stored without outputs, and runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tour.ipynb"


def test_outputs_are_not_stored() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
    assert NOTEBOOK.stat().st_size < 30_000


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's packages: what the cells warn of is in their outputs
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    for name in ("IPYTHONDIR", "MPLCONFIGDIR", *(f"JUPYTER_{folder}" for folder in folders)):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]), prepend=os.pathsep)
    for name in ("song", "digits", "photo"):
        shutil.copytree(NOTEBOOK.parent / name, tmp_path / name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    data = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in entry for entry in data) == 6
    assert sum("<audio" in entry.get("text/html", "") for entry in data) == 3
