"""``examples/benchmarks/color_ranking.py``: figures of every rule, and of the photographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "color_ranking.py"


def test_rules_are_measured_on_the_same_samples() -> None:
    spec = importlib.util.spec_from_file_location("color_ranking", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    shades = torch.linspace(0.1, 0.9, 32)
    red, blue = shades.expand(32, 32), shades[:, None].expand(32, 32)
    photograph = torch.stack([red, torch.full_like(red, 0.5), blue])
    *rules, truth = program.measure(photograph[None], 3)
    assert [row["rule"] for row in rules] == ["as drawn", "log prior", "log prior at equal chroma"]
    assert all(5 < row["psnr"] < 40 and row["chroma"] == sorted(row["chroma"]) for row in rules)
    assert truth["psnr"] is None
    expected = (photograph - photograph.mean(0)).square().mean().sqrt()
    assert truth["chroma"] == [round(float(expected), 4)] * 3
