"""How well a head model fits people and expressions that it was not trained on, in millimetres."""

from __future__ import annotations

import json as json_format
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import trimesh
from scipy.spatial import KDTree
from torch import Tensor

from avatar_viewer.data.head_sampler import LIP_AND_LID_ANCHORS, HeadScans
from avatar_viewer.data.heads import load_heads
from avatar_viewer.files import ensure_writable, written_aside
from avatar_viewer.head.arkit import ArkitMap, load_arkit_map
from avatar_viewer.head.baked_expressions import bake, baking_error_mm, snapshot_codes
from avatar_viewer.head.fit import fit_expressions
from avatar_viewer.head.fit_scan import CodePrior, fit_scan
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.nphm import GAZE_DIM, NPHM, load_codes, load_nphm
from avatar_viewer.head.scan import Scan
from avatar_viewer.memory import resident_mb
from avatar_viewer.raster.gbuffer import vertex_normals
from avatar_viewer.stages import CanonicalHead, ExpressionCode

T = TypeVar("T")

REGION_MM = 10.0
"""Lips and lids reach so far from their anchors."""
CANDIDATES = 8
"""Triangles around a point among which the nearest is looked for."""
SCANS_WITHOUT_CORRESPONDENCE = 1
"""Of each person: each takes a search of its own."""
DENSE = Extraction(cells=256, triangles=60_000)
"""About 30,000 vertices, of which the bounds on time speak."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    text: str
    bound: float | None = None
    at_least: bool = False


FIGURES = (
    Figure("surface_mean_mm", "unseen person's canonical surface, mean, mm", 0.4),
    Figure("surface_p95_mm", "the same, 95th percentile, mm", 1.2),
    Figure("normal_consistency", "normal consistency", 0.98, at_least=True),
    Figure("vertices_mean_mm", "unseen expression's vertices, mean, mm", 0.5),
    Figure("lips_lids_mean_mm", "the same, lips and lids, mm", 0.8),
    Figure("arkit_mean_mm", "ARKit map on unseen mixtures, vertices, mean, mm", 0.7),
    Figure("arkit_lips_lids_mm", "the same, lips and lids, mm"),
    Figure("free_vertices_mean_mm", "expression fitted without correspondence, vertices, mm"),
    Figure("baked_mean_mm", "baked against exact vertices, mean, mm", 0.1),
    Figure("baked_max_mm", "the same, largest, mm", 1.0),
    Figure("extraction_s", "canonical extraction at 256 cells, s", 20),
    Figure("extraction_peak_mb", "the same, peak memory of its process, MB", 2000),
    Figure("baked_ms", "baked expression to vertices and normals, ms", 3),
    Figure("exact_ms", "exact expression to vertices and normals, ms", 300),
)


def evaluate_head(head: Path, heads: Path, people: int | None, json: Path | None) -> None:
    """Fit the held-out heads of `data heads`, print the table, and write it if wanted.

    Identities are fitted to points and normals of the canonical pose without correspondences,
    expressions to corresponding points of each scan.
    """
    if json is not None:
        ensure_writable(json)
    nphm, codes, arkit_map = load_nphm(head), load_codes(head), load_arkit_map(head)
    priors = CodePrior.of(codes["identity"]), CodePrior.of(codes["expression"])
    held_out = load_heads(heads, "held_out")[:people]
    rows = []
    for number, person in enumerate(held_out):
        rows.append(person_figures(nphm, priors, arkit_map, person))
        print(f"person {number + 1}/{len(held_out)}: {_short(rows[-1])}", flush=True)
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    figures |= cost_figures(nphm, priors[0].mean, codes["expression"])
    figures |= in_own_process(extraction_figures, head, priors[0].mean.numpy())
    print(table(figures, len(held_out)))
    if json is not None:
        with written_aside(json) as aside:
            aside.write_text(json_format.dumps(figures | {"people": rows}, indent=1))


def person_figures(
    nphm: NPHM, priors: tuple[CodePrior, CodePrior], arkit_map: ArkitMap, person: HeadScans
) -> dict[str, float]:
    """The errors of one unseen person, millimetres."""
    to_mm = 1000 / nphm.config["units_per_metre"]
    outer = torch.from_numpy(person.on_surface) > 0
    points, normals = (torch.from_numpy(a)[outer] for a in (person.canonical, person.normals))
    posed = torch.from_numpy(person.posed)[:, outer]
    anchors = torch.from_numpy(person.anchors)[list(LIP_AND_LID_ANCHORS)]
    region = torch.cdist(points, anchors).amin(dim=1) * to_mm < REGION_MM

    identity = fit_scan(nphm, Scan(points, normals), priors[0]).identity
    surface = extract_head(nphm, identity, Extraction(triangles=None))
    distance, cosine = to_surface(surface, points, normals)

    fitted, _ = fit_expressions(nphm, identity, points, posed)
    errors = vertex_errors(nphm, identity, points, posed, fitted) * to_mm
    mapped = arkit_map.codes(torch.from_numpy(person.weights))
    arkit_errors = vertex_errors(nphm, identity, points, posed, mapped) * to_mm
    free = [
        fit_scan(nphm, Scan(scan), identity, priors[1]).expression
        for scan in posed[-SCANS_WITHOUT_CORRESPONDENCE:]
    ]
    free_codes = torch.stack([z for z in free if z is not None])
    free_posed = posed[-SCANS_WITHOUT_CORRESPONDENCE:]
    return {
        "surface_mean_mm": float(distance.mean()) * to_mm,
        "surface_p95_mm": float(distance.quantile(0.95)) * to_mm,
        "normal_consistency": float(cosine.mean()),
        "vertices_mean_mm": float(errors.mean()),
        "lips_lids_mean_mm": float(errors[:, region].mean()),
        "arkit_mean_mm": float(arkit_errors.mean()),
        "arkit_lips_lids_mm": float(arkit_errors[:, region].mean()),
        "free_vertices_mean_mm": float(
            vertex_errors(nphm, identity, points, free_posed, free_codes).mean() * to_mm
        ),
    }


@torch.no_grad()
def vertex_errors(
    nphm: NPHM, identity: Tensor, canonical: Tensor, posed: Tensor, codes: Tensor
) -> Tensor:
    """[S,N] distances of decoded from true points of S scans, world units."""
    return torch.stack(
        [
            (canonical + nphm.deform(canonical, identity, z) - truth).norm(dim=1)
            for z, truth in zip(codes, posed, strict=True)
        ]
    )


def to_surface(head: CanonicalHead, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Distance [N] of points from a mesh, and the cosine [N] of normals with that of its nearest
    triangle."""
    triangles = head.vertices.double().numpy()[head.faces.numpy()]
    tree = KDTree(triangles.mean(axis=1))
    candidates = np.asarray(tree.query(points.numpy(), k=CANDIDATES)[1])
    every = np.repeat(points.double().numpy(), CANDIDATES, axis=0)
    nearest = trimesh.triangles.closest_point(triangles[candidates.ravel()], every)
    distance = np.linalg.norm(nearest - every, axis=1).reshape(-1, CANDIDATES)
    best = distance.argmin(axis=1)
    chosen = triangles[candidates[np.arange(len(best)), best]]
    found = np.cross(chosen[:, 1] - chosen[:, 0], chosen[:, 2] - chosen[:, 0])
    found /= np.linalg.norm(found, axis=1, keepdims=True) + 1e-12
    cosine = (found * normals.numpy()).sum(axis=1)
    return torch.from_numpy(distance.min(axis=1)), torch.from_numpy(cosine)


def cost_figures(nphm: NPHM, identity: Tensor, codes: Tensor) -> dict[str, float]:
    """What extraction and expressions of the mean head cost, and what baking it loses."""
    head = extract_head(nphm, identity, DENSE)
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
    unseen, seen = codes[order[:50]], codes[order[50:]]
    baked = bake(nphm, head, identity, snapshot_codes(seen))
    mean_mm, max_mm = baking_error_mm(baked, nphm, head, identity, unseen)
    poser = HeadPoser(nphm, head, identity, vertex_normals, baked=baked)
    expressions = [ExpressionCode((*z.tolist(), *[0.0] * GAZE_DIM)) for z in unseen]

    def median_ms(exact: bool) -> float:
        times = []
        for expression in expressions:
            started = time.perf_counter()
            poser.pose(expression, exact=exact)
            times.append((time.perf_counter() - started) * 1e3)
        return float(np.median(times))

    return {
        "baked_mean_mm": mean_mm,
        "baked_max_mm": max_mm,
        "vertices": len(head.vertices),
        "baked_ms": median_ms(exact=False),
        "exact_ms": median_ms(exact=True),
    }


def in_own_process(function: Callable[..., T], *arguments: Any) -> T:
    """What the function says in a fresh process, where nothing else has taken memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def extraction_figures(head: Path, identity: np.ndarray) -> dict[str, float]:
    """Time and memory of extracting an identity code [D] at the bounds' resolution."""
    nphm = load_nphm(head)
    began = time.perf_counter()
    extract_head(nphm, torch.from_numpy(identity), DENSE)
    extraction_s = time.perf_counter() - began
    return {"extraction_s": extraction_s, "extraction_peak_mb": resident_mb(os.getpid())[1] or nan}


def table(figures: dict[str, float], people: int) -> str:
    """Markdown, each bound beside its figure."""
    lines = [f"| {people} unseen people | figure | bound | |", "| --- | --- | --- | --- |"]
    for line in FIGURES:
        value = figures[line.name]
        if line.bound is None:
            lines.append(f"| {line.text} | {value:.3f} | | |")
            continue
        kept = value >= line.bound if line.at_least else value <= line.bound
        sign = ">=" if line.at_least else "<="
        verdict = "kept" if kept else "MISSED"
        lines.append(f"| {line.text} | {value:.3f} | {sign} {line.bound:g} | {verdict} |")
    return "\n".join(lines)


def _short(row: dict[str, float]) -> str:
    return ", ".join(f"{name.removesuffix('_mm')} {value:.3f}" for name, value in row.items())
