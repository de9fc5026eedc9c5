"""Networks by torch.compile, replayed as CUDA graphs, for CUDA."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatar_viewer.diffusion.runtime import Program
from avatar_viewer.diffusion.step import with_shared_weights


def build(network: nn.Module, examples: tuple[Tensor, ...]) -> Program:
    """The network compiled for inputs of these shapes, on the device of its weights."""
    device = next(network.parameters()).device
    inputs = tuple(tensor.to(device) for tensor in examples)
    # Tracing is not safe beside another thread that runs the same layers.
    compiled = torch.compile(
        with_shared_weights(network),
        mode="max-autotune-no-cudagraphs",
        fullgraph=True,
        dynamic=False,
    )
    with torch.inference_mode():
        compiled(*inputs)
    return Replayed(compiled, inputs)


class Replayed:
    """A program as a CUDA graph: one launch in place of hundreds.

    It is recorded at the first call, because a graph belongs to the thread that records it.
    """

    def __init__(self, program: Program, examples: tuple[Tensor, ...]) -> None:
        self._program, self._inputs = program, examples
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        if self._graph is None:
            self._record()
            assert self._graph is not None
        self._graph.replay()
        return self._output

    def _record(self) -> None:
        # What the first runs allocate and choose must not be recorded.
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                self._program(*self._inputs)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._program(*self._inputs)
        self._graph = graph
