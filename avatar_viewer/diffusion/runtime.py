"""What runs the networks of a picture: `embed`, `denoise` and `decode`.

Each network is a `Program`. It runs in torch at once; a faster form of it, for the shapes that it
was first called with, is built on a thread of its own meanwhile, and takes over when it is ready:

* `openvino` converts to OpenVINO, for processors without a GPU; kept in a folder, it is there at
  once the next time;
* `compiled` is torch.compile, replayed as a CUDA graph, for CUDA.

Calls of other shapes, and all calls where building fails, stay with torch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avatar_viewer.config import RUNTIMES, RuntimeName
from avatar_viewer.diffusion.autoencoder import Autoencoder, decode
from avatar_viewer.diffusion.rigged_decoder import RiggedDecoder, Surface
from avatar_viewer.diffusion.step import Step
from avatar_viewer.digest import digest_of
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.kept import Kept

Program = Callable[..., Tensor]
"""A network without gradients: tensors -> a tensor, which its next call may overwrite."""
Build = Callable[[nn.Module, tuple[Tensor, ...]], Program]
"""A network and inputs of the wanted shapes -> the same, faster."""

KEPT_TIMESTEPS = 64
"""More than pictures usually have."""


class Decoding(nn.Module):
    """A rigged decoder, or an autoencoder's own, as the last network of a picture."""

    def __init__(self, decoder: RiggedDecoder | Autoencoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor, *surface_and_codes: Tensor) -> Tensor:
        """Latents [B,C,h,w], and for a rigged decoder the parts of what it looked up and codes
        [B,E] -> [B,3,H,W], -1..1 but for overshoots, with opacity as a fourth channel where the
        decoder tells it."""
        if isinstance(self.decoder, RiggedDecoder):
            *surface, codes = surface_and_codes
            return self.decoder(latents, Surface(*surface), codes)
        return decode(self.decoder, latents)


class Networks(NamedTuple):
    """What a runtime runs."""

    steps: Mapping[bool, Step]
    """Of the denoiser that is used by default, and (True) of the teacher."""
    decoders: Mapping[Hashable, Decoding]
    """By what an avatar calls them."""
    step_threads: int = 1
    decoder_threads: int = 1
    """On how many of a processor's threads the faster forms of them run."""


class Runtime:
    """Runs an avatar's networks."""

    def __init__(
        self, name: RuntimeName, networks: Networks, build: Build | None, say: Callable[[str], None]
    ) -> None:
        """Without `build` all stays with torch; `say` hears one line when something changes."""
        self.name = name
        self._builder = None if build is None else Builder(name, build, say)
        steps, decoders, step_threads, decoder_threads = networks
        self._embeds = {key: self._program(step.embed, step_threads) for key, step in steps.items()}
        self._steps = {key: self._program(step, step_threads) for key, step in steps.items()}
        self._decoders = {
            key: self._program(each, decoder_threads) for key, each in decoders.items()
        }
        self._times = {key: step.times for key, step in networks.steps.items()}
        self._kept_times: Kept[Tensor] = Kept(KEPT_TIMESTEPS)

    def embed(self, control: Tensor, teacher: bool) -> Tensor:
        """Control [B,C,H,W] -> what `denoise` takes of it, once per view."""
        return self._embeds[teacher](control).clone()

    def denoise(
        self, latents: Tensor, timestep: Tensor, embedded: Tensor, tokens: Tensor, teacher: bool
    ) -> Tensor:
        """Noisy latents [B,C,h,w], timestep [] on the CPU, embedded control, expression tokens ->
        predicted v."""
        times = self._kept_times.get(
            (teacher, int(timestep)), lambda: self._times[teacher](timestep)
        )
        return self._steps[teacher](latents, times, embedded, tokens)

    def decode(self, which: Hashable, latents: Tensor, *surface_and_codes: Tensor) -> Tensor:
        """Latents, and what a rigged decoder takes besides -> as `Decoding` answers."""
        return self._decoders[which](latents, *surface_and_codes)

    @property
    def label(self) -> str:
        """What runs at present, for people."""
        if self._builder is None or self._builder.failed:
            return "eager"
        return f"eager, building {self.name}" if self._builder.building else self.name

    def wait_built(self, timeout_s: float) -> bool:
        """Wait until nothing is being built; whether that is so."""
        return self._builder is None or self._builder.wait(timeout_s)

    def _program(self, network: nn.Module, threads: int) -> Program:
        return network if self._builder is None else Upgraded(network, self._builder, threads)


class Upgraded:
    """A network in torch until its faster form is there."""

    def __init__(self, network: nn.Module, builder: Builder, threads: int) -> None:
        """`threads` of a processor are what the faster form runs on."""
        self._network, self._builder, self._threads = network, builder, threads
        self._shapes: tuple[torch.Size, ...] | None = None
        self._fast: Program | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(tensor.shape for tensor in inputs)
        if self._shapes is None:
            self._shapes = shapes
            examples = tuple(tensor.clone() for tensor in inputs)
            self._builder.submit(self._network, examples, self._take, self._threads)
        fast = self._fast
        if fast is None or shapes != self._shapes:
            return self._network(*inputs)
        try:
            return fast(*inputs)
        except Exception as error:
            self._fast = None
            self._builder.report_failure(error)
            return self._network(*inputs)

    def _take(self, program: Program) -> None:
        self._fast = program


class Builder:
    """Builds programs one after the other, on a thread that ends when there are no more.

    A process that ends waits for the one that is being built: its thread cannot be stopped, and to
    be killed in the middle of foreign code would abort the process.
    """

    def __init__(self, name: str, build: Build, say: Callable[[str], None]) -> None:
        self._name, self._build, self._say = name, build, say
        self._changed = threading.Condition()
        self._waiting: list[Callable[[], None]] = []
        self.building = False
        self.failed = False

    def submit(
        self,
        network: nn.Module,
        examples: tuple[Tensor, ...],
        take: Callable[[Program], None],
        threads: int,
    ) -> None:
        """Build for so many threads, then hand over to `take`."""

        def work() -> None:
            torch.set_num_threads(threads)
            take(self._build(network, examples))

        with self._changed:
            self._waiting.append(work)
            if not self.building:
                self.building = True
                threading.Thread(target=self._run, name="build", daemon=False).start()

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self.building, timeout_s)

    def report_failure(self, error: Exception) -> None:
        """Say once that torch goes on alone."""
        with self._changed:
            said, self.failed = self.failed, True
        if not said:
            found = f"{type(error).__name__}: {one_line(error)}"
            self._say(
                f"runtime {self._name}: expected a network to run, found {found}; eager goes on"
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                ending = not threading.main_thread().is_alive()
                if not self._waiting or self.failed or ending:
                    self.building = False
                    self._changed.notify_all()
                    break
                work = self._waiting.pop(0)
            try:
                work()
            except Exception as error:
                self.report_failure(error)
        if not self.failed:
            self._say(f"runtime {self._name} is ready")


def choose_runtime(
    wanted: RuntimeName,
    networks: Networks,
    *,
    device: torch.device,
    cache: Path,
    say: Callable[[str], None],
) -> Runtime:
    """The runtime of that name; `auto` is the fastest that is installed for the device.

    cache: a folder for what is converted. A runtime that is asked for and cannot be had falls back
    to eager, and `say` hears why.
    """
    if wanted not in RUNTIMES:
        raise AvatarError(f"runtime: expected {' | '.join(RUNTIMES)}, found {wanted}")
    name = best_runtime(device) if wanted == "auto" else wanted
    if missing := _missing(name, device):
        say(f"runtime {name}: expected {missing}, found none; eager goes on")
        name = "eager"
    if name == "openvino":
        from avatar_viewer.diffusion import openvino_runtime

        return Runtime(name, networks, openvino_runtime.builder(cache), say)
    if name == "compiled":
        from avatar_viewer.diffusion import compiled_runtime

        return Runtime(name, networks, compiled_runtime.build, say)
    return eager_runtime(networks)


def eager_runtime(networks: Networks) -> Runtime:
    """torch, and nothing else."""
    return Runtime("eager", networks, None, lambda text: None)


def cache_folder(avatar: Path) -> Path:
    """Where converted networks of an avatar are kept: in its folder, or the user's cache where that
    cannot be written to."""
    if os.access(avatar, os.W_OK):
        return avatar / ".openvino"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "avatar-viewer" / "openvino"


def best_runtime(device: torch.device) -> RuntimeName:
    """The fastest that is installed for a device."""
    if device.type == "cuda":
        return "compiled"
    return "openvino" if device.type == "cpu" and find_spec("openvino") else "eager"


def _missing(name: RuntimeName, device: torch.device) -> str:
    """What a runtime needs and this machine lacks, in words; empty if nothing."""
    if name == "openvino" and find_spec("openvino") is None:
        return "the package openvino (pip install avatar-viewer[openvino])"
    if name == "openvino" and device.type != "cpu":
        return "an avatar on the CPU"
    return "CUDA" if name == "compiled" and device.type != "cuda" else ""


def network_digest(network: nn.Module, examples: tuple[Tensor, ...]) -> str:
    """Of all that a converted network depends on, besides the code."""
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    return digest_of([(t.shape, t.dtype) for t in examples], tensors)
