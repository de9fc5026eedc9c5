"""The training loop that every network shares: steps, EMA, resuming, logs.

A run is a folder: `state.pt` (the newest checkpoint, replaced by rename, so that a kill loses at
most `save_every` steps), `log.jsonl`, `tensorboard/` and `samples/`. Every random choice of step n
comes from a generator seeded by (seed, n), so a resumed run goes on exactly as an unbroken one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import make_folder, written_aside
from avatar_viewer.training.workers import Workers

LossFunction = Callable[[int, torch.Generator], Tensor]
"""(step, generator of this step) -> scalar loss."""


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train."""

    steps: int
    learning_rate: float = 1e-4
    warmup_steps: int = 100
    cooldown_fraction: float = 0.2
    """The last part of the steps, over which the learning rate falls to zero."""
    weight_decay: float = 1e-2
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    bf16: bool | None = None
    """Whether networks run in bfloat16; None: on CUDA."""
    save_every: int = 100
    sample_every: int = 500
    seed: int = 0

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which networks run."""
        enabled = device.type == "cuda" if self.bf16 is None else self.bf16
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def learning_rate_factor(step: int, config: LoopConfig) -> float:
    """Linear warm-up, a plateau, then a linear fall to zero.

    Unlike a cosine, the plateau does not depend on the number of steps, so a run can be made
    longer after the fact.
    """
    cooldown = max(1.0, config.cooldown_fraction * config.steps)
    return min(1.0, (step + 1) / max(1, config.warmup_steps), (config.steps - step) / cooldown)


class Run:
    """The modules in training, their averages, and their state on disk."""

    def __init__(
        self,
        folder: Path,
        modules: Mapping[str, nn.Module],
        config: LoopConfig,
        learning_rates: Mapping[str, float] | None = None,
    ) -> None:
        """Moves the modules to the device; `learning_rates` overrides the configured one by their
        names."""
        self.folder, self.config, self.modules = folder, config, dict(modules)
        self.workers = Workers()
        for module in self.modules.values():
            nn.Module.to(module, self.device)
        rates = learning_rates or {}
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in module.parameters() if p.requires_grad],
                    "lr": rates.get(name, config.learning_rate),
                    "base_lr": rates.get(name, config.learning_rate),
                }
                for name, module in self.modules.items()
            ],
            weight_decay=config.weight_decay,
        )
        self.ema = {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.modules.items()
        }
        self.step = 0
        make_folder(folder)
        self._load()

    @property
    def device(self) -> torch.device:
        return self.workers.device

    @property
    def state_path(self) -> Path:
        return self.folder / "state.pt"

    def train(
        self, loss_function: LossFunction, sample: Callable[[Path], None] | None = None
    ) -> None:
        """Train up to the configured step; `sample` writes a sheet of the averaged modules."""
        first = self.workers.is_first
        progress = _progress_bar(self.config.steps, self.step) if first else _Silent()
        log = _Log(self.folder, self.step) if first else None
        losses: list[float] = []
        started = time.monotonic()
        while self.step < self.config.steps:
            losses.append(self._one_step(loss_function))
            progress.update(1)
            at_end = self.step == self.config.steps
            if log is None:  # one process writes for all
                continue
            if self.step % 50 == 0 or at_end:
                loss = sum(losses) / len(losses)
                step_s = (time.monotonic() - started) / len(losses)
                rate = self.optimizer.param_groups[0]["lr"]
                log.write(self.step, {"loss": loss, "step_s": step_s, "learning_rate": rate})
                progress.set_postfix_str(f"loss {loss:.4f}")
                losses, started = [], time.monotonic()
            if self.step % self.config.save_every == 0 or at_end:
                self.save()
            if sample is not None and (self.step % self.config.sample_every == 0 or at_end):
                make_folder(self.folder / "samples")
                sheet = self.folder / "samples" / f"{self.step:06d}.png"
                with self.averaged():
                    sample(sheet)
                log.picture(self.step, sheet)
        progress.close()

    def _one_step(self, loss_function: LossFunction) -> float:
        factor = learning_rate_factor(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        seed = (self.config.seed + 7919 * self.workers.rank) * 1_000_003 + self.step
        with self.config.autocast(self.device):
            loss = loss_function(self.step, torch.Generator().manual_seed(seed))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        mean_loss = loss.detach().float().view(1)
        # The loss goes along with the gradients, so that all processes find the same one NaN.
        self.workers.average([mean_loss, *(p.grad for p in parameters if p.grad is not None)])
        if not math.isfinite(mean_loss.item()):
            raise AvatarError(
                f"{self.folder}: expected a finite loss, found {mean_loss.item()} at step "
                f"{self.step}; the last good checkpoint is kept"
            )
        nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return mean_loss.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows closely, so that early samples show what was learnt.
        decay = min(self.config.ema_decay, self.step / (self.step + 10))
        for name, module in self.modules.items():
            for key, value in module.state_dict().items():
                average = self.ema[name][key]
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    def averaged(self) -> _Averaged:
        """A context in which the modules hold their averaged weights and are in eval mode."""
        return _Averaged(self)

    def save(self) -> None:
        """Write the whole state aside, then rename."""
        state = {
            "step": self.step,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
        }
        with written_aside(self.state_path) as aside:
            try:
                torch.save(state, aside)
            except RuntimeError as error:  # what torch makes of a full disk
                raise OSError(one_line(error)) from error

    def _load(self) -> None:
        for cut_off in self.folder.glob(f".{self.state_path.name}.*.tmp"):
            if self.workers.is_first:
                cut_off.unlink(missing_ok=True)
        if not self.state_path.exists():
            return
        try:
            state = torch.load(self.state_path, weights_only=True, map_location="cpu")
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
                self.ema[name] = {
                    key: value.to(self.ema[name][key].device)
                    for key, value in state["ema"][name].items()
                }
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except Exception as error:
            raise AvatarError(
                f"{self.state_path}: expected this run's checkpoint, found: {one_line(error)};"
                f" remove the file to start anew"
            ) from error


class _Log:
    """log.jsonl, and the same for TensorBoard where it is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.jsonl"
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:  # what an unbroken run would not have written is hidden
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, figures: dict[str, float]) -> None:
        line = {"step": step} | {name: float(f"{value:.6g}") for name, value in figures.items()}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise AvatarError(
                f"{self.path}: expected a writable file, found: {error.strerror}"
            ) from error
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()

    def picture(self, step: int, path: Path) -> None:
        if self.board is not None and path.is_file():
            self.board.add_image("samples", np.asarray(Image.open(path)), step, dataformats="HWC")
            self.board.flush()


class _Averaged:
    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> None:
        self.raw = {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.run.modules.items()
        }
        self._put(self.run.ema, training=False)

    def __exit__(self, *exception: object) -> None:
        self._put(self.raw, training=True)

    def _put(self, states: Mapping[str, Mapping[str, Tensor]], *, training: bool) -> None:
        for name, module in self.run.modules.items():
            module.load_state_dict(states[name])
            module.train(training)


class _Silent:
    def update(self, n: int) -> None: ...
    def set_postfix_str(self, text: str) -> None: ...
    def close(self) -> None: ...


def _progress_bar(total: int, initial: int):
    """tqdm where the [train] extra is installed; the log file tells the same."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _Silent()
    return tqdm(total=total, initial=initial, mininterval=5, dynamic_ncols=True)
