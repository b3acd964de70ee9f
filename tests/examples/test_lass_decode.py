"""``examples/benchmarks/lass_decode.py``: the answer's log posterior, and a report."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from exact_codes import ExactCodec, MarkovPrior, pair_table

from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "lass_decode.py"


def test_the_log_posterior_is_that_of_prior_and_table() -> None:
    functions = runpy.run_path(str(PROGRAM))
    table, prior = pair_table(), MarkovPrior(2)
    tokens = torch.tensor([[[0, 1], [2, 3]]])
    mixture = ExactCodec().encode(torch.tensor([[[0.6, 2.7]]]))
    value = functions["log_posterior"](prior, table, mixture, tokens)
    likelihood = sum(
        table.log_likelihood(*(torch.tensor([code]) for code in (*pair, m)))
        for pair, m in zip(tokens[0].tolist(), mixture[0].tolist(), strict=True)
    )
    torch.testing.assert_close(value, prior.log_prob(tokens.transpose(1, 2)) + likelihood)


def test_sepcli_alone_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    words = ["--tokens", "4", "--beams", "2", "--windows", "2", "--repeats", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    report = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == report
    (row,) = report["rows"]
    assert row["windows"] == 2
    assert row["sepcli"]["cpu_seconds"] > 0
    assert row["sepcli"]["log_posterior"] < 0
    assert row["sepcli_fast"]["log_posterior"] == pytest.approx(row["sepcli"]["log_posterior"], rel=0.05)
    assert "diba" not in row


@torch.inference_mode()
def test_the_plain_network_is_the_prior() -> None:
    functions = runpy.run_path(str(PROGRAM))
    config = TransformerConfig(7, ("a", "b"), 16, layers=2, heads=2, head_dim=8, context=3, mlp_ratio=2)
    prior = TransformerPrior(config).eval()
    z = torch.randint(0, 7, (4, 8), generator=torch.Generator().manual_seed(0))
    expected = prior.logits(z, torch.ones(4, dtype=torch.int64))
    cache: list[tuple[torch.Tensor, torch.Tensor]] = []
    for t in range(8):
        fed = torch.cat([z[:, :1], z[:, :t]], dim=1)  # the start symbol may be anything
        found, cache = functions["plain_step"](prior, 1, fed, cache)
        torch.testing.assert_close(found, expected[:, t])
