"""ExpressionCode -> HeadMesh, remembered for the expressions seen last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from avatar_viewer.errors import AvatarError
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.baked_expressions import BakedExpressions
from avatar_viewer.head.expression_deformation import Prepared
from avatar_viewer.head.nphm import GAZE_DIM, NPHM
from avatar_viewer.stages import CanonicalHead, ExpressionCode, HeadMesh

Normals = Callable[[Tensor, Tensor], Tensor]
"""Vertices [V,3] and faces [F,3] -> unit vertex normals [V,3]."""


class HeadPoser:
    """One person's head: moves the canonical vertices into an expression.

    The newest `capacity` meshes are kept, keyed by z_exp: gaze moves no vertex, so codes that
    differ in gaze alone share a mesh. With `baked` expressions a mesh can be had faster, nearly
    the same. `arkit_map` gives expressions from face trackers' weights, where it was learned. The
    `hull` is what keeps still around the head: hair, collar, shoulders.
    """

    def __init__(
        self,
        nphm: NPHM,
        head: CanonicalHead,
        identity: Tensor,
        vertex_normals: Normals,
        capacity: int = 32,
        baked: BakedExpressions | None = None,
        arkit_map: ArkitMap | None = None,
    ) -> None:
        self.nphm, self.head, self.identity = nphm, head, identity
        self.vertex_normals, self.capacity = vertex_normals, capacity
        self.baked, self.arkit_map = baked, arkit_map
        self.hull: CanonicalHead | None = None
        self._meshes: OrderedDict[tuple[tuple[float, ...], bool], HeadMesh] = OrderedDict()
        self._whole: tuple[HeadMesh, HeadMesh] | None = None

    def pose(self, expression: ExpressionCode, *, exact: bool = True) -> HeadMesh:
        """The head in an expression, on the device of the canonical head.

        Without `exact` the baked expressions move it where there are any.
        """
        expected = self.nphm.expression_dim + GAZE_DIM
        if len(expression.values) != expected:
            raise AvatarError(
                f"expression: expected {expected} values (z_exp and gaze), "
                f"found {len(expression.values)}"
            )
        z, exact = expression.values[:-GAZE_DIM], exact or self.baked is None
        key = (z, exact)
        if key not in self._meshes:
            self._meshes[key] = self._posed(z, exact)
            if len(self._meshes) > self.capacity:
                self._meshes.popitem(last=False)
        self._meshes.move_to_end(key)
        return self._meshes[key]

    def forget(self) -> None:
        """Pose each expression anew."""
        self._meshes.clear()
        self._whole = None

    def pose_whole(self, expression: ExpressionCode, *, exact: bool = True) -> HeadMesh:
        """The posed head and the hull as one mesh, the hull's vertices and faces last; the newest
        one is kept, for a picture needs it in two sizes."""
        head = self.pose(expression, exact=exact)
        if self.hull is None:
            return head
        if self._whole is None or self._whole[0] is not head:
            vertices = torch.cat([head.vertices, self.hull.vertices])
            canonical, hull_normals, faces = self._still
            normals = torch.cat([head.normals, hull_normals])
            self._whole = head, HeadMesh(vertices, canonical, normals, faces)
        return self._whole[1]

    @cached_property
    def _still(self) -> tuple[Tensor, Tensor, Tensor]:
        """What no expression moves: all canonical vertices, the hull's normals, all faces."""
        assert self.hull is not None
        vertices, faces = self.hull.vertices, self.hull.faces
        return (
            torch.cat([self.head.vertices, vertices]),
            self.vertex_normals(vertices, faces),
            torch.cat([self.head.faces, faces + len(self.head.vertices)]),
        )

    @torch.no_grad()
    def _posed(self, z: tuple[float, ...], exact: bool) -> HeadMesh:
        canonical, faces = self.head.vertices, self.head.faces
        code = torch.tensor(z, dtype=torch.float32, device=canonical.device)
        if exact or self.baked is None:
            vertices = canonical + self._deformed(self._prepared, code)
        else:
            controls = self._deformed(self._prepared_controls, code)
            vertices = canonical + self.baked.spread(controls)
        return HeadMesh(vertices, canonical, self.vertex_normals(vertices, faces), faces)

    def _deformed(self, prepared: Prepared, code: Tensor) -> Tensor:
        return self.nphm.deform_prepared(prepared, code[None])[0]

    @cached_property
    def _prepared(self) -> Prepared:
        return self.nphm.prepared(self.head.vertices[None], self.identity[None])

    @cached_property
    def _prepared_controls(self) -> Prepared:
        assert self.baked is not None
        controls = self.head.vertices[self.baked.controls]
        return self.nphm.prepared(controls[None], self.identity[None])
