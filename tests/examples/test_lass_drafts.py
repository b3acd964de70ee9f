"""``examples/benchmarks/lass_drafts.py``: the share of drafts that are accepted, by hand and of the song."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from exact_codes import MarkovPrior, pair_table

from sepcli.priors.lass.posterior import LassPosterior

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "lass_drafts.py"


def test_the_first_step_is_compared_by_hand() -> None:
    functions = runpy.run_path(str(PROGRAM))
    table, prior = pair_table(), functions["Recorded"](MarkovPrior(2))
    unigram = torch.randn(2, table.vocabulary, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    posterior = LassPosterior(prior, table, torch.tensor([[3]]))
    compared = functions["Comparing"](prior, unigram)
    compared(posterior, torch.zeros(1, 1, dtype=torch.int64))
    found, _ = posterior.step(posterior.start(1), None)
    a, b = found.tokens[0].unbind(-1)
    likelihood = found.log_prob[0, 0] - prior.last[0, 0][a] - prior.last[0, 1][b]
    p, q = found.log_prob[0, 0].softmax(-1), (likelihood + unigram[0][a] + unigram[1][b]).softmax(-1)
    figures = compared.figures()
    assert figures["accepted"] == pytest.approx(float(torch.minimum(p, q).sum()), abs=1e-3)
    assert figures["same_best"] == float(p.argmax() == q.argmax())
    assert figures["tokens_per_pass"] == pytest.approx(1 / (1 - figures["accepted"]), rel=0.01)


def test_the_song_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    words = ["--windows", "1", "--seconds", "0.02", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    report = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert 0 < report["accepted"] < 1
