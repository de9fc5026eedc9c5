"""What there is to see of an avatar besides its picture: the head without the networks."""

from __future__ import annotations

import numpy as np

from avatar_viewer.diffusion.feature_picture import feature_picture
from avatar_viewer.diffusion.triplane import TriPlane
from avatar_viewer.head.mesh_cache import HeadPoser
from avatar_viewer.raster.shading import shade
from avatar_viewer.raster.wireframe import wireframe
from avatar_viewer.stages import GBuffer, RenderRequest


def drawn_layer(
    request: RenderRequest, head: HeadPoser, gbuffer: GBuffer, triplane: TriPlane
) -> np.ndarray:
    """[H,W,3] uint8: the layer that a request shows, of the head as its camera sees it."""
    if request.show == "wireframe":
        mesh = head.pose_whole(request.expression, exact=request.exact_head)
        return wireframe(mesh, request.camera)
    if request.show == "features":
        return feature_picture(gbuffer, triplane, head.head.vertices)
    box = triplane.config
    return shade(gbuffer, request.show, (box["box_min"], box["box_max"]))
