"""How well baked expressions stand for the exact head model, and how fast both are on a CPU."""

from __future__ import annotations

import time

import torch

from avatar_viewer.avatar_folder import load_head, resolve
from avatar_viewer.avatar_info import read_avatar_info
from avatar_viewer.head.baked_expressions import baking_error_mm
from avatar_viewer.live.bench.frames import percentile
from avatar_viewer.live.still import Picture


def head_figures(source: str, grid: int = 9) -> dict[str, float] | None:
    """Over a grid of the pad, how far baked vertices are from exact ones, and the times of both;
    None without a bake."""
    folder = resolve(source, lambda text: None)
    poser = load_head(folder / "head", torch.device("cpu"))
    if poser.baked is None:
        return None
    info = read_avatar_info(folder / "avatar.yaml")
    places = [(x / (grid - 1), y / (grid - 1)) for x in range(grid) for y in range(grid)]
    expressions = [Picture(pad=place).request(info).expression for place in places]
    codes = torch.stack(
        [expression.tensor()[: poser.nphm.expression_dim] for expression in expressions]
    )
    mean_mm, max_mm = baking_error_mm(poser.baked, poser.nphm, poser.head, poser.identity, codes)

    def median_ms(exact: bool) -> float:
        times = []
        for expression in expressions:
            began = time.perf_counter()
            poser.pose(expression, exact=exact)
            times.append((time.perf_counter() - began) * 1e3)
        return percentile(times, 50)

    return {
        "vertices": len(poser.head.vertices),
        "baked_mean_mm": mean_mm,
        "baked_max_mm": max_mm,
        "baked_ms": median_ms(exact=False),
        "exact_ms": median_ms(exact=True),
    }
