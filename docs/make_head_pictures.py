"""Draws the pictures of docs/head.md: fits of people that the head model was not trained on.

    python docs/make_head_pictures.py HEAD_MODEL HEADS_FOLDER

Needs `avatar-viewer[synthetic]`, from which the true meshes are made again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from safetensors import safe_open
from scipy.spatial import KDTree
from torch import Tensor

from avatar_viewer.data.head_sampler import CANONICAL_WEIGHTS, HeadSampler, HeadScans
from avatar_viewer.data.heads import load_heads
from avatar_viewer.head.arkit import load_arkit_map
from avatar_viewer.head.arkit_units import unit_weights
from avatar_viewer.head.fit import fit_expressions
from avatar_viewer.head.fit_scan import CodePrior, fit_scan
from avatar_viewer.head.mesh_extraction import Extraction, extract_head
from avatar_viewer.head.nphm import NPHM, load_codes, load_nphm
from avatar_viewer.head.scan import Scan
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.raster.gbuffer import rasterize, vertex_normals
from avatar_viewer.raster.shading import shade
from avatar_viewer.stages import HeadMesh

OUT = Path(__file__).parent
SIZE_PX = 240
VIEW = Orbit(azimuth_deg=22, elevation_deg=4, distance=3.0, target=(0.0, 0.06, 0.0), fov_deg=19)
PEOPLE, SCAN = (0, 9, 17, 31), 5
"""Which of the held-out heads, and which of their scans, are drawn."""
WORST_MM = 2.0
"""Errors of so much and more are dark red."""
SMILE = {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "cheekSquintLeft": 0.5}
SURPRISE = {"jawOpen": 0.8, "browInnerUp": 0.9, "eyeWideLeft": 0.8, "eyeWideRight": 0.8}


def main(head: Path, heads: Path) -> None:
    nphm, codes = load_nphm(head), load_codes(head)
    prior = CodePrior.of(codes["identity"])
    held_out = load_heads(heads, "held_out")
    files = sorted(heads.glob("head_*.safetensors"))[-len(held_out) :]
    sampler, rows, identities = HeadSampler(), [], []
    for number in PEOPLE:
        person, points, normals, posed = surface_of(held_out[number])
        identities.append(fit_scan(nphm, Scan(points, normals), prior).identity)
        z = fit_expressions(nphm, identities[-1], points, posed[SCAN : SCAN + 1])[0][0]
        targets = targets_of(files[number])
        row = fit_pictures(
            nphm, identities[-1], None, points, sampler.mesh(targets, CANONICAL_WEIGHTS)
        )
        row += fit_pictures(
            nphm, identities[-1], z, posed[SCAN], sampler.mesh(targets, person.weights[SCAN])
        )
        rows.append(np.concatenate(row, axis=1))
    save(np.concatenate(rows), "head_fits.png")

    arkit_map = load_arkit_map(head)
    smile, surprise = (
        arkit_map.codes(torch.from_numpy(unit_weights(weights))) for weights in (SMILE, SURPRISE)
    )
    shares = torch.linspace(0, 1, 6)
    people = [(torch.lerp(identities[0], identities[2], share), None) for share in shares]
    moods = [(identities[1], torch.lerp(smile, surprise, share)) for share in shares]
    strips = [[shaded(posed_mesh(nphm, *codes)) for codes in strip] for strip in (people, moods)]
    save(np.concatenate([np.concatenate(strip, axis=1) for strip in strips]), "head_between.png")


def surface_of(person: HeadScans) -> tuple[HeadScans, Tensor, Tensor, Tensor]:
    """Canonical points, normals and posed points on the outer surface."""
    outer = torch.from_numpy(person.on_surface) > 0
    points, normals = (torch.from_numpy(a)[outer] for a in (person.canonical, person.normals))
    return person, points, normals, torch.from_numpy(person.posed)[:, outer]


def targets_of(path: Path) -> dict[str, float]:
    """The identity targets that `data heads` made this file with."""
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["recipe"])[-1]


def fit_pictures(
    nphm: NPHM, identity: Tensor, z: Tensor | None, points: Tensor, truth: trimesh.Trimesh
) -> list[np.ndarray]:
    """Truth, fit, and the fit in the colours of its error."""
    vertices = torch.from_numpy(np.array(truth.vertices)).float()
    faces = torch.from_numpy(np.array(truth.faces)).int()
    true_mesh = HeadMesh(vertices, vertices, vertex_normals(vertices, faces), faces)
    mesh = posed_mesh(nphm, identity, z)
    return [shaded(true_mesh), shaded(mesh), errors(nphm, mesh, points)]


def posed_mesh(nphm: NPHM, identity: Tensor, z: Tensor | None) -> HeadMesh:
    head = extract_head(nphm, identity, Extraction(triangles=None))
    vertices = head.vertices
    if z is not None:
        with torch.no_grad():
            vertices = vertices + nphm.deform(vertices, identity, z)
    return HeadMesh(vertices, head.vertices, vertex_normals(vertices, head.faces), head.faces)


def errors(nphm: NPHM, mesh: HeadMesh, truth: Tensor) -> np.ndarray:
    """The mesh in the colours of its distance from the true points: white 0, red much."""
    nearest = KDTree(truth.numpy()).query(mesh.vertices.numpy())[1]
    # The points lie millimetres apart: what counts is the distance along the surface's normal.
    away = ((truth[nearest] - mesh.vertices) * mesh.normals).sum(dim=1).abs()
    share = (away * 1000 / nphm.config["units_per_metre"] / WORST_MM).clamp(max=1)[:, None]
    colours = (1 - share) * torch.tensor([0.9, 0.9, 0.9]) + share * torch.tensor([0.7, 0.0, 0.0])
    gbuffer = rasterize(
        HeadMesh(mesh.vertices, colours, mesh.normals, mesh.faces), VIEW.camera(SIZE_PX, SIZE_PX)
    )
    light = 0.4 + 0.6 * gbuffer.normal[..., 2:].abs()
    rgb = torch.where(gbuffer.mask[..., None], gbuffer.canonical * light, 1.0)
    return (rgb * 255).round().to(torch.uint8).numpy()


def shaded(mesh: HeadMesh) -> np.ndarray:
    return shade(rasterize(mesh, VIEW.camera(SIZE_PX, SIZE_PX)), "mesh")


def save(picture: np.ndarray, name: str) -> None:
    Image.fromarray(picture).save(OUT / name, optimize=True)
    print(f"wrote {OUT / name}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
