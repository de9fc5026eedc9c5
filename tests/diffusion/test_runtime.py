"""Runtimes: torch first, something faster when it is built, torch again where that fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from tiny import FLOAT32, tiny_avatar, write_tiny_avatar
from torch import Tensor, nn

from avatar_viewer.avatar import Avatar
from avatar_viewer.device import Compute
from avatar_viewer.diffusion.runtime import (
    Networks,
    Runtime,
    best_runtime,
    choose_runtime,
    network_digest,
)
from avatar_viewer.errors import AvatarError
from avatar_viewer.stages import RenderRequest

CPU = torch.device("cpu")


class Doubles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 2.0), requires_grad=False)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        return self.weight * x


def runtime_of(build, say=lambda text: None) -> Runtime:
    networks = Networks({}, {1: Doubles()})  # type: ignore[dict-item]
    return Runtime("openvino", networks, build, say)


def test_torch_runs_until_the_faster_form_is_built():
    may_finish, said = threading.Event(), []

    def build(network, examples):
        assert may_finish.wait(10)
        return lambda x: x * 2 + 100

    runtime = runtime_of(build, said.append)
    x = torch.ones(2)
    assert runtime.decode(1, x).tolist() == [2, 2] and runtime.label == "eager, building openvino"
    assert runtime.decode(1, x).tolist() == [2, 2] and not said
    may_finish.set()
    assert runtime.wait_built(10)
    assert runtime.decode(1, x).tolist() == [102, 102] and runtime.label == "openvino"
    assert said == ["runtime openvino is ready"]
    # Built for one shape.
    assert runtime.decode(1, torch.ones(3)).tolist() == [2, 2, 2]


def test_a_build_that_fails_is_said_once_and_torch_goes_on():
    said: list[str] = []

    def build(network, examples):
        raise ValueError("no\nsuch layer")

    runtime = runtime_of(build, said.append)
    for _ in range(3):
        assert runtime.decode(1, torch.ones(2)).tolist() == [2, 2]
    assert runtime.wait_built(10) and runtime.label == "eager"
    assert len(said) == 1 and "\n" not in said[0]
    assert said[0].startswith("runtime openvino: expected a network to run, found ValueError: no")
    assert said[0].endswith("eager goes on")


def test_a_program_that_fails_later_is_left_for_torch():
    said: list[str] = []

    def build(network, examples):
        def program(x):
            raise RuntimeError("the device is gone")

        return program

    runtime = runtime_of(build, said.append)
    runtime.decode(1, torch.ones(2))
    assert runtime.wait_built(10)
    assert runtime.decode(1, torch.ones(2)).tolist() == [2, 2] and runtime.label == "eager"
    assert runtime.decode(1, torch.ones(2)).tolist() == [2, 2]
    assert sum("the device is gone" in line for line in said) == 1


def chosen(name, device, tmp_path: Path) -> tuple[Runtime, list[str]]:
    said: list[str] = []
    networks = Networks({}, {1: Doubles()})  # type: ignore[dict-item]
    return choose_runtime(name, networks, device=device, cache=tmp_path, say=said.append), said


def test_a_runtime_that_cannot_be_had_falls_back(tmp_path: Path, monkeypatch):
    runtime, said = chosen("compiled", CPU, tmp_path)
    assert runtime.name == "eager"
    assert said == ["runtime compiled: expected CUDA, found none; eager goes on"]
    monkeypatch.setattr("avatar_viewer.diffusion.runtime.find_spec", lambda name: None)
    runtime, said = chosen("openvino", CPU, tmp_path)
    assert runtime.name == "eager" and "avatar-viewer[openvino]" in said[0]
    assert best_runtime(CPU) == "eager" and best_runtime(torch.device("cuda")) == "compiled"
    with pytest.raises(AvatarError, match=r"runtime: expected auto \| eager .*, found onnx"):
        chosen("onnx", CPU, tmp_path)


def test_a_digest_tells_weights_and_shapes_apart():
    network = Doubles()
    before = network_digest(network, (torch.ones(2),))
    assert network_digest(Doubles(), (torch.zeros(2),)) == before
    assert network_digest(network, (torch.ones(3),)) != before
    network.weight += 1
    assert network_digest(network, (torch.ones(2),)) != before


def a_request(avatar: Avatar, **changes) -> RenderRequest:
    size_px = avatar.info.resolution_px
    camera = avatar.info.default_view.camera(size_px, size_px)
    return RenderRequest(avatar.info.corners[0].expression, camera, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("rigged", [False, True])
def test_openvino_draws_the_same_picture_and_keeps_what_it_converted(tmp_path: Path, rigged: bool):
    pytest.importorskip("openvino")
    from avatar_viewer.diffusion.openvino_runtime import multiplies_bf16

    # Of untrained networks; pictures of the embedded avatar differ by 2 levels at most.
    largest, mean = (8, 1.0) if multiplies_bf16() else (2, 0.1)
    said: list[str] = []

    def make(networks: Networks) -> Runtime:
        return choose_runtime("openvino", networks, device=CPU, cache=tmp_path, say=said.append)

    plain = tiny_avatar(rigged=rigged, student=True)
    converted = Avatar(plain.parts, FLOAT32, make)
    requests = [
        a_request(plain, steps=steps, teacher=teacher) for steps, teacher in ((1, False), (2, True))
    ]
    for request in requests:
        converted.render(request)
    assert converted.runtime.wait_built(240) and said == ["runtime openvino is ready"]
    for request in requests:
        frame, expected = converted.render(request), plain.render(request)
        assert (frame.runtime, expected.runtime) == ("openvino", "eager")
        difference = abs(frame.rgb.astype(int) - expected.rgb.astype(int))
        assert difference.max() <= largest and difference.mean() < mean
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 10  # two embeddings, two steps and a decoder, each a graph and weights

    # What was cut off is converted anew, what is whole is read.
    broken = sorted(tmp_path.glob("*.bin"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    again = Avatar(plain.parts, FLOAT32, make)
    for request in requests:
        again.render(request)
    assert again.runtime.wait_built(240) and "eager" not in again.runtime.label
    unchanged = [path for path, mtime in kept.items() if path.stat().st_mtime_ns == mtime]
    assert len(unchanged) == 8


@pytest.mark.slow
def test_openvino_reads_what_lies_in_another_order_of_memory():
    """A copy of it must last until the program has read it."""
    pytest.importorskip("openvino")
    from avatar_viewer.diffusion.openvino_runtime import Converted, convert

    torch.manual_seed(0)
    network = nn.Conv2d(8, 4, 3, padding=1).eval().requires_grad_(False)
    pictures = [torch.randn(1, 8, 64, 64) for _ in range(5)]
    program = Converted(convert(network, (pictures[0],)), (pictures[0],))
    for picture in pictures:
        assert picture.is_contiguous()
        torch.testing.assert_close(program(picture), network(picture), atol=0.05, rtol=0.05)


@pytest.mark.slow
def test_openvino_takes_networks_in_bfloat16(tmp_path: Path):
    """As processors that multiply it have them."""
    pytest.importorskip("openvino")
    folder = write_tiny_avatar(tmp_path / "avatar", rigged=True)
    exact = Avatar.load(folder, compute=FLOAT32)
    short = Compute(CPU, torch.bfloat16)
    said: list[str] = []
    converted = Avatar.load(folder, compute=short, runtime="openvino", notify=said.append)
    request = a_request(exact, steps=1)
    expected, eager = exact.render(request), converted.render(request)
    assert converted.runtime.wait_built(240) and said == ["runtime openvino is ready"]
    for frame in (eager, converted.render(request)):
        difference = abs(frame.rgb.astype(int) - expected.rgb.astype(int))
        assert difference.max() <= 8 and difference.mean() < 1


@pytest.mark.gpu
def test_compiled_draws_the_same_picture():
    from avatar_viewer.diffusion import compiled_runtime

    network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 4, 3)).cuda()
    examples = (torch.randn(1, 4, 16, 16).cuda(),)
    program = compiled_runtime.build(network.eval(), examples)
    with torch.inference_mode():
        for seed in range(3):
            x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)).cuda()
            torch.testing.assert_close(program(x), network(x), atol=1e-3, rtol=1e-3)
