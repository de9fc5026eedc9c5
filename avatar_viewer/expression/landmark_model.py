"""What a face tracker sees of an avatar: learned from pictures of the avatar itself.

Nobody says which landmark lies where on the head. The avatar is pictured in expressions and views
that are known; a landmark lies at that vertex which comes to where the tracker finds it, over all
pictures. So any tracker's landmarks will do, and what it sees badly counts little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from scipy.optimize import nnls

from avatar_viewer.avatar import Avatar
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.face_tracker import FaceTracker, TrackedFace
from avatar_viewer.files import make_folder
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS, gaze_of_weights
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.raster.camera import project
from avatar_viewer.stages import Camera, RenderRequest
from avatar_viewer.weights import load_tensors, save_tensors

VERSION = 4
PICTURES, FEWEST_PICTURES = 48, 12
UNITS_AT_ONCE = 5
AMOUNTS = (0.3, 0.9)
AZIMUTHS_DEG, ELEVATIONS_DEG = (-30.0, 30.0), (-10.0, 15.0)
MOST_ERROR_MM = 8.0
"""Further off counts as this far: the tracker was wrong."""
STILL_MM = 0.65
"""What a landmark's vertex moves less than, over all pictures, does not tell how much is shown."""
CODES = 250
"""From so many expressions it is learned how a code moves landmarks."""
MM_RIDGE = 1.0
"""Millimetres that an error of 1 in a unit's trust counts as: units that were not seen get none."""
MOST_GAZE_GAIN = 1.5


@dataclass(frozen=True, eq=False)
class LandmarkModel:
    """How N landmarks of a tracker lie on one avatar's head, and what its weights are worth."""

    places_mm: np.ndarray
    """[N,3] where they are at z_exp = 0, in the head model's axes."""
    moves_mm: np.ndarray
    """[N,3,E] how z_exp moves them: `places_mm + moves_mm @ z`. Trackers show less than all of a
    vertex's motion: so much of it as they do."""
    spread_mm: np.ndarray
    """[N] how far from there the tracker finds them, root of the mean square; what is always the
    same comes away."""
    trust: np.ndarray
    """[52] in 0..1, how much of what the tracker says of an ARKit unit is true."""
    gaze_gain: np.ndarray
    """[2] of yaw and pitch, what the tracker's gaze is to be multiplied by."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """One picture of the avatar, and what the tracker found in it."""

    code: np.ndarray
    """[E] z_exp."""
    gaze: np.ndarray
    """[4]."""
    vertices: np.ndarray
    """[V,3] of the posed head, world units."""
    camera: Camera
    face: TrackedFace


def landmark_model(
    folder: Path,
    codes: torch.Tensor,
    tracker: FaceTracker,
    say: Callable[[str], None] = lambda text: None,
    cache: Path | None = None,
) -> LandmarkModel:
    """That of the avatar in `folder`, whose head model has the expression codes [S,E].

    It takes a minute or two for a new pair of avatar and tracker, and is kept in `cache`, or
    the user's cache folder. Raises AvatarError, also where the tracker sees no face in the avatar.
    """
    written = (folder / "avatar.yaml").stat().st_mtime_ns  # the last file that is written
    key = f"{VERSION} {folder.resolve()} {written} {tracker.name}"
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    cache = user_cache_path("avatar-viewer") / "landmarks" if cache is None else cache
    path = cache / f"{name}.safetensors"
    names = {field.name for field in fields(LandmarkModel)}
    if path.is_file():
        kept = load_tensors(path)
        if set(kept) == names:
            return LandmarkModel(**{name: kept[name].double().numpy() for name in names})
    say("learning what the face tracker sees of the avatar (once)")
    avatar = Avatar.load(folder)
    model = learn(avatar.head, codes, sightings(avatar, tracker))
    try:
        make_folder(cache)
        save_tensors({n: torch.from_numpy(getattr(model, n)).float() for n in names}, path)
    except AvatarError as error:
        say(f"{error}; it is learned anew next time")
    return model


def sightings(avatar: Avatar, tracker: FaceTracker) -> list[Sighting]:
    """The avatar in `PICTURES` expressions and views, the first one at rest and from the front."""
    arkit_map, view = _arkit_map(avatar.head), avatar.info.default_view
    rng, found = np.random.default_rng(0), []
    size_px = avatar.info.resolution_px
    for index, weights in enumerate(_mixtures(rng)):
        expression = arkit_map.expression(weights)
        if index > 0:
            azimuth_deg = float(rng.uniform(*AZIMUTHS_DEG))
            elevation_deg = float(rng.uniform(*ELEVATIONS_DEG))
            view = replace(view, azimuth_deg=azimuth_deg, elevation_deg=elevation_deg)
        camera = view.camera(size_px, size_px)
        request = RenderRequest(
            expression, camera, steps=avatar.info.quick_steps, sampler=avatar.info.sampler
        )
        faces = tracker.faces(avatar.render(request).rgb)
        if not faces:
            continue
        values = np.array(expression.values)
        vertices = avatar.head.pose(expression, exact=False).vertices.cpu().numpy()
        face = max(faces, key=lambda face: face.size_px)
        found.append(Sighting(values[:-4], values[-4:], vertices, camera, face))
    if len(found) < FEWEST_PICTURES:
        raise AvatarError(
            f"{avatar.info.name}: expected a face that the tracker sees, "
            f"found one in {len(found)} of {PICTURES} pictures"
        )
    return found


def learn(head: HeadPoser, codes: torch.Tensor, seen: list[Sighting]) -> LandmarkModel:
    """The model that explains what was seen best; the first sighting is at rest."""
    unit_mm = 1000 / head.nphm.config["units_per_metre"]
    vertices = nearest_vertices(seen, unit_mm)
    places, moves = linear_moves(head, vertices, codes)
    trust = _trust(_arkit_map(head), moves * unit_mm, seen)
    share, spread_mm = shown_motion(seen, vertices, unit_mm)
    shown = moves * share[:, None, None]
    return LandmarkModel(places * unit_mm, shown * unit_mm, spread_mm, trust, _gaze_gain(seen))


def nearest_vertices(seen: list[Sighting], unit_mm: float) -> np.ndarray:
    """[N] the vertex at which each landmark lies."""
    pictures, mm_per_px = [], []
    for sighting in seen:
        pixels, depth = project(torch.from_numpy(sighting.vertices), sighting.camera)
        pictures.append(pixels.numpy())
        mm_per_px.append(float(depth.mean()) / sighting.camera.focal_px * unit_mm)
    # The first picture is from the front.
    _, depth = project(torch.from_numpy(seen[0].vertices), seen[0].camera)
    front = np.flatnonzero((depth < depth.mean()).numpy())
    vertices, scale = np.stack(pictures)[:, front], np.array(mm_per_px)[:, None]
    landmarks = np.stack([sighting.face.landmarks for sighting in seen]).astype(np.float32)
    chosen = []
    for index in range(landmarks.shape[1]):
        distance_mm = np.linalg.norm(vertices - landmarks[:, None, index], axis=2) * scale
        square = (np.minimum(distance_mm, MOST_ERROR_MM) ** 2).mean(axis=0)
        chosen.append(int(front[square.argmin()]))
    return np.array(chosen)


def shown_motion(
    seen: list[Sighting], vertices: np.ndarray, unit_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """[N] in 0..1: how much of the motion of its vertex each landmark shows, and [N]
    `LandmarkModel.spread_mm`. The first sighting is at rest."""
    at_rest = torch.from_numpy(seen[0].vertices[vertices])
    true, found = [], []
    for sighting in seen:
        rest, depth = project(at_rest, sighting.camera)
        moved, _ = project(torch.from_numpy(sighting.vertices[vertices]), sighting.camera)
        mm_per_px = float(depth.mean()) / sighting.camera.focal_px * unit_mm
        true.append((moved - rest).numpy() * mm_per_px)
        found.append((sighting.face.landmarks - rest.numpy()) * mm_per_px)
    true = np.stack(true) - np.mean(true, axis=0)
    found = np.stack(found) - np.mean(found, axis=0)
    still = len(seen) * STILL_MM**2
    together, whole = (true * found).sum(axis=(0, 2)), (true**2).sum(axis=(0, 2))
    share = np.clip((together + still) / (whole + still), 0, 1)
    square = ((found - share[:, None] * true) ** 2).sum(axis=2)
    return share, np.sqrt(np.minimum(square, MOST_ERROR_MM**2).mean(axis=0))


@torch.no_grad()
def linear_moves(
    head: HeadPoser, vertices: np.ndarray, codes: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """[N,3] and [N,3,E], such that z_exp puts vertices [N] at about ``places + moves @ z``, world
    units: by least squares over the codes [S,E].

    On the demo avatar this differs from the head model by 0.2 mm on average.
    """
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
    codes = codes[order[:CODES]].to(head.identity)
    points = head.head.vertices[torch.from_numpy(vertices).to(head.head.vertices.device)]
    offsets = torch.stack([head.nphm.deform(points, head.identity, z).flatten() for z in codes])
    mean, middle = codes.double().mean(dim=0), offsets.double().mean(dim=0)
    x, y = codes.double() - mean, offsets.double() - middle
    gram = x.T @ x + 1e-3 * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    moves = torch.linalg.solve(gram, x.T @ y).T
    places = points.double() + (middle - moves @ mean).view(-1, 3)
    return places.cpu().numpy(), moves.view(len(vertices), 3, -1).cpu().numpy()


def _trust(arkit_map: ArkitMap, moves_mm: np.ndarray, seen: list[Sighting]) -> np.ndarray:
    """[52]: each unit's part that explains best how the codes moved the landmarks."""
    if any(sighting.face.weights is None for sighting in seen):
        return np.zeros(len(ARKIT_UNITS))
    weights = np.stack([np.asarray(sighting.face.weights_by_lips) for sighting in seen])
    change = np.clip(weights - weights[0], 0, 1)
    codes = np.stack([sighting.code for sighting in seen])
    flat = moves_mm.reshape(-1, moves_mm.shape[2]) / np.sqrt(len(moves_mm))
    # Only lengths are compared: an axis for each number of the code is enough.
    flat = np.asarray(np.linalg.qr(flat, mode="r"))
    units = flat @ arkit_map.matrix.double().cpu().numpy()
    truth = (codes - arkit_map.offset.double().cpu().numpy()) @ flat.T
    columns = (units[None] * change[:, None]).reshape(-1, len(ARKIT_UNITS))
    ridge = MM_RIDGE * np.eye(len(ARKIT_UNITS))
    target = np.concatenate([truth.ravel(), np.zeros(len(ridge))])
    trust = np.minimum(nnls(np.concatenate([columns, ridge]), target)[0], 1)
    if seen[0].face.lips_gap is not None:
        # The jaw opens as far as the lips do: of faces this is truer than of mixtures at random.
        trust[ARKIT_UNITS.index("jawOpen")] = 1
    return trust


def _gaze_gain(seen: list[Sighting]) -> np.ndarray:
    if any(sighting.face.weights is None for sighting in seen):
        return np.zeros(2)
    found = gaze_of_both(np.stack([np.asarray(s.face.weights) for s in seen]))
    found = found - found[0]
    truth = np.stack([s.gaze for s in seen]).reshape(-1, 2, 2).mean(axis=1)
    gain = (found * truth).sum(axis=0) / ((found**2).sum(axis=0) + 1e-9)
    return np.clip(gain, 0, MOST_GAZE_GAIN)


def gaze_of_both(weights: np.ndarray) -> np.ndarray:
    """[T,2] yaw and pitch, the mean of both eyes, of weights [T,52]."""
    return gaze_of_weights(weights).reshape(-1, 2, 2).mean(axis=1)


def _mixtures(rng: np.random.Generator) -> list[np.ndarray]:
    """ARKit weights [52] of each picture: at rest, then some units at once, each as often."""
    possible = [index for index, unit in enumerate(ARKIT_UNITS) if unit != "tongueOut"]
    queue: list[int] = []
    mixtures = [np.zeros(len(ARKIT_UNITS), np.float32)]
    while len(mixtures) < PICTURES:
        if len(queue) < UNITS_AT_ONCE:
            queue = rng.permutation(possible).tolist()
        weights = np.zeros(len(ARKIT_UNITS), np.float32)
        chosen, queue = queue[:UNITS_AT_ONCE], queue[UNITS_AT_ONCE:]
        weights[chosen] = rng.uniform(*AMOUNTS, size=UNITS_AT_ONCE)
        mixtures.append(weights)
    return mixtures


def _arkit_map(head: HeadPoser) -> ArkitMap:
    if head.arkit_map is None:
        raise AvatarError("avatar: expected one with an ARKit map, found none")
    return head.arkit_map
