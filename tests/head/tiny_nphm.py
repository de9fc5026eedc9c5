"""A head model small enough to build in milliseconds."""

import torch

from avatar_viewer.head.nphm import NPHM


def tiny_nphm(**changes) -> NPHM:
    torch.manual_seed(0)
    size = {
        "global_dim": 6,
        "local_dim": 4,
        "expression_dim": 52,
        "anchor_pairs": 2,
        "anchor_middles": 2,
        "sdf_hidden": 16,
        "sdf_nearest": 3,
        "squeezed_dim": 4,
        "deform_hidden": 24,
        "deform_layers": 2,
        "deform_frequencies": 2,
    }
    return NPHM(**(size | changes)).eval()
