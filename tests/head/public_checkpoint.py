"""Made-up public checkpoints, and a literal reading of the rules of the networks in them."""

import os
from itertools import pairwise

import numpy as np
import torch

TINY = {"pairs": 2, "middles": 2, "glob": 5, "loc": 3, "hidden": 24, "layers": 4}
TINY_MOTION = {"squeezed": 4, "expression": 6, "hidden": 30, "layers": 6}
FULL = {"pairs": 16, "middles": 7, "glob": 64, "loc": 32, "hidden": 200, "layers": 4}
FULL_MOTION = {"squeezed": 32, "expression": 200, "hidden": 512, "layers": 6}


def made_up(size=TINY, motion=TINY_MOTION, seed=0):
    """State dicts of both networks, their codebooks, and the mean anchors."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.1
        return scale * torch.randn(*shape, generator=random)

    anchors = 2 * size["pairs"] + size["middles"]
    nets = anchors + 1 - size["pairs"]
    d_in = 3 + size["glob"] + size["loc"]
    identity_dim = size["glob"] + (anchors + 1) * size["loc"]
    shape = {}
    for k, (i, o) in enumerate(widths(d_in, size["hidden"], size["layers"], 1)):
        shape[f"ensembled_deep_sdf.lin{k}.weight"] = normal(nets, o, i)
        shape[f"ensembled_deep_sdf.lin{k}.bias"] = normal(nets, o)
    for k, (i, o) in zip((0, 2, 4), ((size["glob"], 16), (16, 16), (16, 3 * anchors)), strict=True):
        shape[f"mlp_pos.{k}.weight"], shape[f"mlp_pos.{k}.bias"] = normal(o, i), normal(o)
    move = {
        "compressor.0.weight": normal(motion["squeezed"], identity_dim + 3 * anchors),
        "compressor.0.bias": normal(motion["squeezed"]),
    }
    d_in = 3 + motion["squeezed"] + motion["expression"]
    for k, (i, o) in enumerate(widths(d_in, motion["hidden"], motion["layers"], 3)):
        move[f"defDeepSDF.lin{k}.weight"], move[f"defDeepSDF.lin{k}.bias"] = normal(o, i), normal(o)
    books = normal(4, identity_dim), normal(7, motion["expression"])
    return shape, move, books, 0.3 * normal(anchors, 3).numpy().astype(np.float32)


def widths(d_in, hidden, layers, out):
    sizes = [d_in] + [hidden] * layers + [out]
    pairs = [list(pair) for pair in pairwise(sizes)]
    pairs[layers // 2 - 1][1] -= d_in  # room for the input at the skip
    return pairs


def write(folder, shape, move, books, anchors, prefix=""):
    for name, state, book in (("id", shape, books[0]), ("ex", move, books[1])):
        content = {
            "epoch": 3,
            "decoder_state_dict": {prefix + key: value for key, value in state.items()},
            "latent_codes_state_dict": {"weight": book},
            "optimizer_lat_state_dict": {"state": {}, "param_groups": [{"lr": 0.1}]},
        }
        torch.save(content, folder / f"{name}.tar")
    np.save(folder / "anchors.npy", anchors)
    return [folder / name for name in ("id.tar", "ex.tar", "anchors.npy")]


def mlp(x, state, name, member=None):
    """One point's input [d_in] through the layers, in float64, as the rules say."""
    count = sum(key.startswith(name) and key.endswith(".weight") for key in state)
    start, skip = x, (count - 1) // 2
    for k in range(count):
        weight, bias = (state[f"{name}{k}.{part}"].double().numpy() for part in ("weight", "bias"))
        if member is not None:
            weight, bias = weight[member], bias[member]
        if k == skip:
            x = np.concatenate([x, start]) / np.sqrt(2)
        x = weight @ x + bias
        if k < count - 1:
            x = np.logaddexp(0, 100 * x) / 100  # Softplus, beta 100
    return x


def true_anchors(state, mean, code, size):
    h = code[: size["glob"]]
    for k in (0, 2, 4):
        h = state[f"mlp_pos.{k}.weight"].double().numpy() @ h + state[f"mlp_pos.{k}.bias"].numpy()
        h = np.maximum(h, 0) if k < 4 else h
    return mean + h.reshape(-1, 3)


def true_sdf(state, mean, point, code, size):
    anchors = true_anchors(state, mean, code, size)
    total, weights = 0.0, 0.0
    local_codes = code[size["glob"] :].reshape(-1, size["loc"])
    for k, anchor in enumerate(anchors):
        local = point - anchor
        weight = np.exp(-((np.linalg.norm(local) + 1e-5) ** 2) / 0.1**2)
        paired = k < 2 * size["pairs"]
        if paired and k % 2 == 1:
            local = local * (-1, 1, 1)
        net = k // 2 if paired else k - size["pairs"]
        x = np.concatenate([local, code[: size["glob"]], local_codes[k]])
        total += weight * mlp(x, state, "ensembled_deep_sdf.lin", net)[0]
        weights += weight
    background = np.exp(-0.2 / 0.1**2)
    return (total + background * 1.0) / (weights + background + 1e-6)


def true_offset(state, anchors, point, code, z):
    weight, bias = (state[f"compressor.0.{part}"].double().numpy() for part in ("weight", "bias"))
    squeezed = weight @ np.concatenate([code, anchors.ravel()]) + bias
    return mlp(np.concatenate([point, squeezed, z]), state, "defDeepSDF.lin")[:3]


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil",)
