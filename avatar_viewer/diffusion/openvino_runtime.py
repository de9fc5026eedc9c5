"""Networks converted to OpenVINO, for processors; kept as files, converted once."""

from __future__ import annotations

import os
from pathlib import Path

import openvino as ov
import torch
from torch import Tensor, nn

from avatar_viewer.diffusion.runtime import Build, Program, digest_of
from avatar_viewer.diffusion.step import with_shared_weights
from avatar_viewer.files import make_folder

TOLERANCE = 2e-3
"""Largest difference to torch, relative to the largest value, in float32."""
BF16_TOLERANCE = 0.1
"""As above where the processor multiplies in bfloat16: untrained networks reach half of it."""


def builder(cache: Path) -> Build:
    """A build that keeps what it has converted in the folder `cache`."""

    def build(network: nn.Module, examples: tuple[Tensor, ...]) -> Program:
        path = cache / f"{digest_of(network, examples)}-{ov.__version__.split('-')[0]}.xml"
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
    """The network as a graph, for inputs of these shapes, channels last where the examples are."""
    plain = tuple(given.clone() for given in _as_given(examples))
    # Tracing changes layers for its time, while another thread runs them.
    copied = with_shared_weights(network)
    with torch.no_grad():
        return ov.convert_model(torch.export.export(ChannelsFirst(copied, examples), plain))


class ChannelsFirst(nn.Module):
    """A network that is given pictures [B,H,W,C] where the examples lie in memory so: arrays go to
    OpenVINO in the order of memory, and reordering them before would cost as much as a layer."""

    def __init__(self, network: nn.Module, examples: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.network, self._last = network, [_is_channels_last(each) for each in examples]

    def forward(self, *inputs: Tensor) -> Tensor:
        pairs = zip(inputs, self._last, strict=True)
        return self.network(*(x.permute(0, 3, 1, 2) if last else x for x, last in pairs))


class Converted:
    """A converted network, ready to run."""

    def __init__(self, model: ov.Model, examples: tuple[Tensor, ...]) -> None:
        threads = torch.get_num_threads()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        given = _as_given(examples)
        # A graph that is open to other shapes plans its memory anew at each call.
        shapes = [list(tensor.shape) for tensor in given]
        model.reshape(dict(enumerate(map(ov.PartialShape, shapes))))
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, *inputs: Tensor) -> Tensor:
        arrays = [tensor.contiguous().numpy() for tensor in _as_given(inputs)]
        answers = self._request.infer(arrays, share_inputs=True)  # which it only reads
        return torch.from_numpy(next(iter(answers.values())))


def check(program: Program, examples: tuple[Tensor, ...], expected: Tensor) -> None:
    """Raise ValueError unless the program answers what torch did."""
    found = program(*examples)
    largest = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
    tolerance = BF16_TOLERANCE if multiplies_bf16() else TOLERANCE
    if not largest <= tolerance:
        raise ValueError(f"expected what torch answers within {tolerance}, found {largest:.1e}")


def multiplies_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 here unless told otherwise."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _as_given(inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Pictures in the order of memory, float32."""
    return [
        (x.permute(0, 2, 3, 1) if _is_channels_last(x) else x).to(
            torch.float32 if x.is_floating_point() else x.dtype
        )
        for x in inputs
    ]


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and not x.is_contiguous()


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
