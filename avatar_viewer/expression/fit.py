"""From a scan's file to a file of codes: what `avatar-viewer fit` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_viewer.config import read_yaml
from avatar_viewer.data.head_sampler import MIDDLE_ANCHORS, MIRRORED_ANCHORS
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import ensure_writable
from avatar_viewer.head.fit_scan import CodePrior, Fit, fit_scan
from avatar_viewer.head.nphm import NPHM, load_codes, load_nphm
from avatar_viewer.head.scan import UNITS, read_scan
from avatar_viewer.weights import load_tensors, save_tensors

ANCHOR_NAMES = (
    *(f"{side} {name}" for name in MIRRORED_ANCHORS for side in ("left", "right")),
    *MIDDLE_ANCHORS,
)
"""Of the anchors that `data heads` gives a head model, the subject's left and right."""


def fit_file(
    scan: Path,
    out: Path,
    head: Path,
    *,
    unit: str = "m",
    landmarks: Path | None = None,
    identity: Path | None = None,
    canonical: bool = False,
) -> Fit:
    """Fit a head model to a scan and write `identity`, `expression` and `head_from_scan`.

    `head` is a head model's folder with its codebooks. With `identity`, a file that holds the code
    of a known person, only the expression is fitted; a `canonical` scan has none. With `landmarks`
    (YAML, anchor's name or number: its place in the scan) the scan may lie anywhere.
    """
    ensure_writable(out)
    if identity is not None and canonical:
        raise AvatarError(
            "--canonical: expected no --identity beside it, found one: nothing is left to fit"
        )
    nphm = load_nphm(head)
    codes = load_codes(head)
    found = read_scan(scan, nphm.config["units_per_metre"], unit)
    if landmarks is not None:
        to_units = UNITS[unit] * nphm.config["units_per_metre"]
        found = replace(found, landmarks=read_landmarks(landmarks, nphm, to_units))
    fit = fit_scan(
        nphm,
        found,
        CodePrior.of(codes["identity"]) if identity is None else read_identity(identity, nphm),
        None if canonical else CodePrior.of(codes["expression"]),
        align=landmarks is not None,
    )
    tensors = {"identity": fit.identity, "head_from_scan": fit.head_from_scan}
    if fit.expression is not None:
        tensors["expression"] = fit.expression
    save_tensors(tensors, out)
    return fit


def read_landmarks(path: Path, nphm: NPHM, to_units: float) -> dict[int, Tensor]:
    """{anchor's number: [3] in world units} of a YAML file {name or number: [x, y, z]}."""
    count = nphm.identity_sdf.anchor_count
    numbers = {name: number for number, name in enumerate(ANCHOR_NAMES[:count])}
    numbers |= {number: number for number in range(count)}
    landmarks = {}
    for name, place in read_yaml(path).items():
        if name not in numbers:
            raise AvatarError(
                f"{path}: expected anchors 0 to {count - 1} or names such as "
                f"'{ANCHOR_NAMES[0]}', found {name!r}"
            )
        try:
            point = np.array(place, dtype=np.float32)
        except (TypeError, ValueError):
            point = np.full(0, np.nan)
        if point.shape != (3,) or not np.isfinite(point).all():
            raise AvatarError(f"{path}: {name}: expected three finite numbers, found {place!r}")
        landmarks[numbers[name]] = torch.from_numpy(point * to_units).float()
    return landmarks


def read_identity(path: Path, nphm: NPHM) -> Tensor:
    """The code in a file of `fit_file`, or in an avatar's canonical_head.safetensors."""
    code = load_tensors(path).get("identity")
    if code is None or code.shape != (nphm.identity_dim,):
        found = "none" if code is None else f"shape {tuple(code.shape)}"
        raise AvatarError(
            f"{path}: expected an identity of {nphm.identity_dim} numbers, found {found}"
        )
    return code.float()
