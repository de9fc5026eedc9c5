"""The head model (paper: NPHM, forward form): identity SDF and expression deformation.

Loading a trained one and its codes::

    nphm = load_nphm(folder)                        # save_pretrained's folder
    codes = load_codes(folder)                      # codes.safetensors beside it
    identity = codes["identity"][0]                 # [D] the first person's code
    head = extract_head(nphm, identity)             # head.mesh_extraction
    z = fit_expressions(nphm, identity, canonical_points, posed_points)   # head.fit
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_deformation import ExpressionDeformation
from avatar_viewer.head.frame import BOX_MAX, BOX_MIN, UNITS_PER_METRE
from avatar_viewer.head.identity_sdf import IdentitySDF
from avatar_viewer.weights import load_network, load_tensors

GAZE_DIM = 4
"""Left yaw, left pitch, right yaw, right pitch (-1..1) follow z_exp in an ExpressionCode."""

CODES_FILE = "codes.safetensors"


class NPHM(ModelMixin, ConfigMixin):
    """Identity code -> canonical signed distance; expression code -> offsets of its surface.

    All methods take one item (points [N,3], codes [D]) or a batch (points [B,N,3], codes [B,D]).
    World = canonical units: `units_per_metre`; the head lies in the box `box_min`..`box_max`.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 - the config's fields
        self,
        *,
        global_dim: int = 32,
        local_dim: int = 16,
        expression_dim: int = 56,
        anchor_pairs: int = 16,
        anchor_middles: int = 7,
        detail_anchors: tuple[int, ...] = (),
        sdf_hidden: int = 64,
        sdf_nearest: int = 6,
        sdf_frequencies: int = 0,
        sdf_activation: str = "relu",
        squeezed_dim: int = 32,
        deform_hidden: int = 128,
        deform_layers: int = 4,
        deform_frequencies: int = 5,
        units_per_metre: float = UNITS_PER_METRE,
        box_min: tuple[float, float, float] = BOX_MIN,
        box_max: tuple[float, float, float] = BOX_MAX,
        axes: str = "x = subject's left, y = up, z = front",
    ) -> None:
        super().__init__()
        self.identity_sdf = IdentitySDF(
            global_dim,
            local_dim,
            pairs=anchor_pairs,
            middles=anchor_middles,
            hidden=sdf_hidden,
            nearest=sdf_nearest,
            frequencies=sdf_frequencies,
            activation=sdf_activation,
        )
        self.deformation = ExpressionDeformation(
            self.identity_sdf.identity_dim + 3 * self.identity_sdf.anchor_count,
            expression_dim,
            squeezed_dim=squeezed_dim,
            hidden=deform_hidden,
            layers=deform_layers,
            frequencies=deform_frequencies,
        )

    @property
    def identity_dim(self) -> int:
        """Length D of an identity code."""
        return self.identity_sdf.identity_dim

    @property
    def expression_dim(self) -> int:
        """Length of z_exp; an ExpressionCode has GAZE_DIM numbers more."""
        return self.config["expression_dim"]

    def sdf(self, points: Tensor, identity: Tensor) -> Tensor:
        """Signed distance in canonical pose: [N,3], [D] -> [N]; positive outside."""
        if points.ndim == 2:
            return self.sdf(points[None], identity[None])[0]
        self._check("identity code", identity, self.identity_dim)
        return self.identity_sdf(points, identity)

    def deform(self, points: Tensor, identity: Tensor, expression: Tensor) -> Tensor:
        """Offsets of canonical points: [N,3], [D], [E] -> [N,3].

        `expression` is z_exp, with or without the gaze behind it, which moves nothing.
        """
        if points.ndim == 2:
            return self.deform(points[None], identity[None], expression[None])[0]
        self._check("identity code", identity, self.identity_dim)
        if expression.shape[-1] == self.expression_dim + GAZE_DIM:
            expression = expression[..., :-GAZE_DIM]
        self._check("expression code", expression, self.expression_dim)
        anchors = self.identity_sdf.anchors(identity).flatten(1)
        return self.deformation(points, torch.cat([identity, anchors], dim=-1), expression)

    def anchors(self, identity: Tensor) -> Tensor:
        """[D] -> [A,3] in canonical pose."""
        if identity.ndim == 1:
            return self.identity_sdf.anchors(identity[None])[0]
        return self.identity_sdf.anchors(identity)

    def _check(self, name: str, code: Tensor, length: int) -> None:
        if code.shape[-1] != length:
            raise AvatarError(f"{name}: expected {length} numbers, found {code.shape[-1]}")


def load_nphm(folder: Path) -> NPHM:
    """A trained head model in eval mode; raises AvatarError in one line."""
    return load_network(NPHM, folder)


def load_codes(folder: Path) -> dict[str, Tensor]:
    """The codebooks of training: `identity` [I,D], `expression` [S,E] and what they belong to.

    `scan_identity` [S] names each scan's identity; `embedding` [E,52] and `canonical_weights`
    [52] are the linear map from which z_exp started: ``embedding @ (weights - canonical)``.
    """
    file = folder / CODES_FILE
    codes = load_tensors(file)
    names = {"identity", "expression", "scan_identity", "embedding", "canonical_weights"}
    if missing := names - codes.keys():
        raise AvatarError(f"{file}: expected {', '.join(sorted(missing))}, found none")
    return codes
