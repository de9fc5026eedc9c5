"""Networks converted to OpenVINO, for processors; kept as files, converted once."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import openvino as ov
import torch
from openvino.preprocess import PrePostProcessor
from torch import Tensor, nn

from avatar_viewer.diffusion.runtime import Build, Program, network_digest
from avatar_viewer.diffusion.step import with_shared_weights
from avatar_viewer.files import make_folder

LAYOUT = 4
"""Of converted graphs; kept ones of others are not taken up."""

TOLERANCE = 2e-3
"""Largest difference to torch, relative to the largest value, in float32."""
BF16_TOLERANCE = 0.1
"""As above where the processor multiplies in bfloat16: untrained networks reach half of it."""


def builder(cache: Path) -> Build:
    """A build that keeps what it has converted in the folder `cache`."""

    def build(network: nn.Module, examples: tuple[Tensor, ...]) -> Program:
        version = f"{ov.__version__.split('-')[0]}-{LAYOUT}"
        path = cache / f"{network_digest(network, examples)}-{version}.xml"
        with torch.inference_mode():
            expected = network(*examples)
        if path.is_file():
            try:
                program = Converted(ov.Core().read_model(path), examples)
                check(program, examples, expected)
                return program
            except Exception:  # cut off or damaged: converted anew
                path.unlink(missing_ok=True)
        model = convert(network, examples)
        program = Converted(model, examples)
        check(program, examples, expected)
        _keep(model, path)
        return program

    return build


def convert(network: nn.Module, examples: tuple[Tensor, ...]) -> ov.Model:
    """The network as a graph in float32, for inputs of these shapes, pictures channels last."""
    plain = tuple(
        _channels_last(x.float() if x.is_floating_point() else x).clone() for x in examples
    )
    # Tracing changes layers for its time, while another thread runs them.
    exact = all(weight.dtype == torch.float32 for weight in network.parameters())
    copied = with_shared_weights(network) if exact else copy.deepcopy(network).float()
    with torch.no_grad():
        return ov.convert_model(torch.export.export(ChannelsLast(copied), plain))


class ChannelsLast(nn.Module):
    """A network that is given pictures as [B,H,W,C]: arrays go to OpenVINO in the order of memory,
    and reordering them would cost as much as a layer. Its own answer costs nothing as it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network(*map(_channels_first, inputs))


class Converted:
    """A converted network, ready to run."""

    def __init__(self, model: ov.Model, examples: tuple[Tensor, ...]) -> None:
        """It runs on as many threads as torch has now."""
        threads = torch.get_num_threads()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        given = PrePostProcessor(model)
        for number, example in enumerate(examples):
            if example.dtype == torch.bfloat16:
                given.input(number).tensor().set_element_type(ov.Type.bf16)
        model = given.build()
        # A graph that is open to other shapes plans its memory anew at each call.
        shapes = [list(_channels_last(example).shape) for example in examples]
        model.reshape(dict(enumerate(map(ov.PartialShape, shapes))))
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, *inputs: Tensor) -> Tensor:
        # By hand, for what `infer` adds takes as long as a layer. The request does not keep what it
        # is given.
        shared = [_shared(each) for each in inputs]
        for number, each in enumerate(shared):
            self._request.set_input_tensor(number, each)
        self._request.start_async()
        self._request.wait()
        return torch.from_numpy(self._request.get_output_tensor(0).data)


def check(program: Program, examples: tuple[Tensor, ...], expected: Tensor) -> None:
    """Raise ValueError unless the program answers what torch did."""
    found = program(*examples)
    largest = (found - expected.float()).abs().max() / expected.float().abs().max().clamp(min=1e-6)
    tolerance = BF16_TOLERANCE if multiplies_bf16() else TOLERANCE
    if not largest <= tolerance:
        raise ValueError(f"expected what torch answers within {tolerance}, found {largest:.1e}")


def multiplies_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 here unless told otherwise."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _shared(tensor: Tensor) -> ov.Tensor:
    """In the order of memory, without a copy where it lies so; it is only read."""
    given = _channels_last(tensor).contiguous()
    if given.dtype == torch.bfloat16:  # which NumPy does not have
        return ov.Tensor(given.view(torch.int16).numpy(), list(given.shape), ov.Type.bf16)
    return ov.Tensor(given.numpy(), shared_memory=True)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _keep(model: ov.Model, path: Path) -> None:
    """Write aside, then rename; without a writable folder nothing is kept."""
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        make_folder(path.parent)
        ov.save_model(model, aside, compress_to_fp16=False)
        # The weights go first: the graph is what is looked for.
        aside.with_suffix(".bin").replace(path.with_suffix(".bin"))
        aside.replace(path)
    except Exception:
        for left in (aside, aside.with_suffix(".bin")):
            left.unlink(missing_ok=True)
