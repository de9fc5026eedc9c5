"""The training loop that every network shares: steps, EMA, resuming, logs.

A run is a folder: `state.pt` (the newest checkpoint, replaced by rename, so that a kill loses at
most `save_every` steps), `log.jsonl`, `tensorboard/` and `samples/`. Every random choice of step n
comes from a generator seeded by (seed, n), so a resumed run goes on exactly as an unbroken one.

A checkpoint is written when the step after it has found a finite loss and a finite gradient, so
weights that blow up do not replace good ones. Of the last step's weights it is only known that they
are finite.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from avatar_viewer.config import expect_at_least, expect_between
from avatar_viewer.errors import AvatarError, one_line
from avatar_viewer.files import make_folder, writing, written_aside
from avatar_viewer.training.run_log import RunLog, progress_bar
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

    def __post_init__(self) -> None:
        expect_at_least(self, 1, ("steps", "save_every", "sample_every"))
        expect_at_least(self, 0, ("warmup_steps",))
        expect_between(self, 0, 1, ("cooldown_fraction", "ema_decay"))
        expect_between(self, 0, 2**32 - 1, ("seed",))
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                found = getattr(self, name)
                raise AvatarError(f"{name}: expected a finite number, 0 or more, found {found}")
        if not self.clip_norm > 0:
            raise AvatarError(f"clip_norm: expected more than 0, found {self.clip_norm}")

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
        rates = dict.fromkeys(self.modules, config.learning_rate) | dict(learning_rates or {})
        _expect_steps_to_fit(rates, config.weight_decay)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in module.parameters() if p.requires_grad],
                    "lr": rates[name],
                    "base_lr": rates[name],
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
        self.kept_step = 0  # of the checkpoint on disk; 0: there is none
        make_folder(folder)
        with self.workers.alone_in(folder):
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
        first = self.workers.is_first  # one process writes for all
        with (
            self.workers.alone_in(self.folder),
            # Closed before an error is printed, which would stand in its line.
            closing(progress_bar(self.config.steps, self.step, shown=first)) as progress,
        ):
            log = RunLog(self.folder, self.step) if first else None
            losses: list[float] = []
            started = time.monotonic()
            while self.step < self.config.steps:
                losses.append(self._one_step(loss_function))
                progress.update(1)
                at_end = self.step == self.config.steps
                if log is not None and (self.step % 50 == 0 or at_end):
                    loss = sum(losses) / len(losses)
                    step_s = (time.monotonic() - started) / len(losses)
                    rate = self.optimizer.param_groups[0]["lr"]
                    log.write(self.step, {"loss": loss, "step_s": step_s, "learning_rate": rate})
                    progress.set_postfix_str(f"loss {loss:.4f}")
                    losses, started = [], time.monotonic()
                if at_end:
                    self.save()
                if sample is not None and (self.step % self.config.sample_every == 0 or at_end):
                    self._expect_finite_weights()
                    if log is not None:
                        self._write_sheet(sample, log)

    def _write_sheet(self, sample: Callable[[Path], None], log: RunLog) -> None:
        make_folder(self.folder / "samples")
        sheet = self.folder / "samples" / f"{self.step:06d}.png"
        with writing(sheet), self.averaged():
            sample(sheet)
        log.picture(self.step, sheet)

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
        self._expect_finite("a finite loss", mean_loss)
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        self._expect_finite("a finite gradient", norm)
        # Only now is it known that the weights before this step were good.
        if self.step % self.config.save_every == 0 and self.step > self.kept_step:
            self.save()
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return mean_loss.item()

    def _expect_finite(self, expected: str, tensor: Tensor, where: str = "") -> None:
        finite = tensor.isfinite()
        if not finite.all():
            kept = f"the checkpoint of step {self.kept_step} is kept"
            raise AvatarError(
                f"{self.folder}: expected {expected}, found {tensor[~finite][0].item()}{where} at "
                f"step {self.step}; {kept if self.kept_step else 'there is no checkpoint yet'}"
            )

    def _expect_finite_weights(self) -> None:
        for name, average in self.ema.items():  # what a weight was once stays in its average
            for key, tensor in average.items():
                self._expect_finite("finite weights", tensor, f" in {name}.{key}")

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
        """Write the whole state aside, then rename; raises AvatarError for weights of NaN or inf.

        All processes call it, so that all stop then, and the first one writes.
        """
        self._expect_finite_weights()
        if self.workers.is_first:
            self._write_state()
        self.kept_step = self.step

    def _write_state(self) -> None:
        state = {
            "step": self.step,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
        }
        with written_aside(self.state_path) as aside:
            try:
                with aside.open("wb") as file:  # torch would not tell why a write of its own failed
                    torch.save(state, file)
            except RuntimeError as error:
                # Its complaint about an archive that is too short follows the file's own error.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def _load(self) -> None:
        for cut_off in self.folder.glob(f".{self.state_path.name}.*.tmp"):
            if self.workers.is_first:
                with writing(cut_off):
                    cut_off.unlink(missing_ok=True)
        configured = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
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
            self.step = self.kept_step = int(state["step"])
        except Exception as error:
            raise AvatarError(
                f"{self.state_path}: expected this run's checkpoint, found: {one_line(error)};"
                f" remove the file to start anew"
            ) from error
        # A checkpoint brings the rates that it was trained with; a changed file's are meant.
        for group, settings in zip(self.optimizer.param_groups, configured, strict=True):
            group.update(settings)


def _expect_steps_to_fit(rates: Mapping[str, float], weight_decay: float) -> None:
    for name, rate in rates.items():
        # AdamW's first step is ten rates long, and a weight is multiplied by 1 - rate * decay.
        if not 0 <= rate * max(10, weight_decay) <= torch.finfo(torch.float32).max:
            raise AvatarError(
                f"learning rate of {name}: expected 0 or more, and steps that float32 can hold, "
                f"found {rate}"
            )


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
