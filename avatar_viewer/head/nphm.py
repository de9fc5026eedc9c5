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
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.expression_deformation import (
    Deformation,
    ExpressionDeformation,
    Prepared,
)
from avatar_viewer.head.frame import BOX_MAX, BOX_MIN, UNITS_PER_METRE
from avatar_viewer.head.identity_sdf import IdentitySDF
from avatar_viewer.head.paper_nphm import PaperDeformation, PaperIdentitySDF
from avatar_viewer.weights import load_network, load_tensors

GAZE_DIM = 4
"""Left yaw, left pitch, right yaw, right pitch (-1..1) follow z_exp in an ExpressionCode."""

CODES_FILE = "codes.safetensors"


class NPHM(ModelMixin, ConfigMixin):
    """Identity code -> canonical signed distance; expression code -> offsets of its surface.

    All methods take one item (points [N,3], codes [D]) or a batch (points [B,N,3], codes [B,D]).
    World = canonical units: `units_per_metre`; the head lies in the box `box_min`..`box_max`.
    Two families of networks: `compact`, for CPUs, and `paper`, that of the public weights.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 - the config's fields
        self,
        *,
        family: Literal["compact", "paper"] = "compact",
        global_dim: int = 32,
        local_dim: int = 16,
        expression_dim: int = 56,
        anchor_pairs: int = 16,
        anchor_middles: int = 7,
        detail_anchors: tuple[int, ...] = (),
        anchor_hidden: tuple[int, ...] = (256, 256),
        sdf_layers: int = 4,
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
        anchors = 2 * anchor_pairs + anchor_middles
        identity_dim = global_dim + (anchors + 1) * local_dim + 3 * anchors
        if family == "paper":
            self.identity_sdf = PaperIdentitySDF(
                global_dim,
                local_dim,
                pairs=anchor_pairs,
                middles=anchor_middles,
                hidden=sdf_hidden,
                layers=sdf_layers,
                anchor_hidden=tuple(anchor_hidden),
            )
            self.deformation: Deformation = PaperDeformation(
                identity_dim,
                expression_dim,
                squeezed_dim=squeezed_dim,
                hidden=deform_hidden,
                layers=deform_layers,
            )
            return
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
            identity_dim,
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
        return self.deform_prepared(self.prepared(points, identity), expression)

    def prepared(self, points: Tensor, identity: Tensor) -> Prepared:
        """What no expression changes in the offsets of canonical points: [B,N,3], [B,D]."""
        self._check("identity code", identity, self.identity_dim)
        anchors = self.identity_sdf.anchors(identity).flatten(1)
        return self.deformation.prepared(points, torch.cat([identity, anchors], dim=-1))

    def deform_prepared(self, prepared: Prepared, expression: Tensor) -> Tensor:
        """`deform` of points that were prepared, [B,E] -> [B,N,3]."""
        if expression.shape[-1] == self.expression_dim + GAZE_DIM:
            expression = expression[..., :-GAZE_DIM]
        self._check("expression code", expression, self.expression_dim)
        return self.deformation.of_prepared(prepared, expression)

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
    """The codebooks of training beside a model: `identity` [I,D] and `expression` [S,E]."""
    file = folder / CODES_FILE
    codes = load_tensors(file)
    if missing := {"identity", "expression"} - codes.keys():
        raise AvatarError(f"{file}: expected {', '.join(sorted(missing))}, found none")
    return {name: code.float() for name, code in codes.items()}


def named_code(codes: dict[str, Tensor], kind: str, name: str) -> Tensor:
    """The code `train_NNN` (as many digits as it needs) of the codebook `kind`: [D] or [E]."""
    number = name.removeprefix("train_")
    count = len(codes[kind])
    if not name.startswith("train_") or not number.isdecimal() or int(number) >= count:
        raise AvatarError(f"{kind} code: expected train_000 to train_{count - 1:03d}, found {name}")
    return codes[kind][int(number)]
