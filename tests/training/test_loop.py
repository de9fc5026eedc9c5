"""The training loop, on a network of one layer."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from avatar_viewer.errors import AvatarError
from avatar_viewer.training.loop import LoopConfig, LossFunction, Run, learning_rate_factor
from avatar_viewer.training.workers import Workers

CONFIG = LoopConfig(steps=12, learning_rate=0.05, warmup_steps=3, save_every=5, sample_every=6)


class Killed(BaseException):
    pass


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 2)


def noisy_regression(network: nn.Module, times: list[int] | None = None):
    """A loss that draws its batch, and learns to add the inputs up."""

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        if times is not None:
            times.append(step)
        x = torch.randn(16, 4, generator=generator)
        return (network(x).float() - x.sum(1, keepdim=True)).square().mean()

    return loss_function


def trained(folder: Path, config: LoopConfig = CONFIG) -> Run:
    network = layer()
    run = Run(folder, {"layer": network}, config)
    run.train(noisy_regression(network))
    return run


def tensors(run: Run) -> dict[str, Tensor]:
    """Everything that the rest of a run depends on."""
    found = dict(run.modules["layer"].state_dict())
    found |= {f"ema {key}": value for key, value in run.ema["layer"].items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        found |= {f"{key} {index}": torch.as_tensor(value) for key, value in state.items()}
    return {key: value.clone() for key, value in found.items()}


def assert_same(a: Run, b: Run) -> None:
    expected, found = tensors(a), tensors(b)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_learning_rate_rises_stays_and_falls():
    config = LoopConfig(steps=100, warmup_steps=10, cooldown_fraction=0.2)
    factors = [learning_rate_factor(step, config) for step in range(100)]
    assert factors[0] == 0.1 and factors[4] == 0.5
    assert set(factors[9:81]) == {1.0}
    assert factors[90] == 0.5 and factors[99] == 0.05
    assert min(factors) > 0
    longer = replace(config, steps=1000)
    assert factors[:81] == [learning_rate_factor(step, longer) for step in range(81)]
    flat = LoopConfig(steps=5, warmup_steps=0, cooldown_fraction=0.0)
    assert [learning_rate_factor(step, flat) for step in range(5)] == [1.0] * 5


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path):
    run = trained(tmp_path, replace(CONFIG, steps=150))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]
    assert lines[-1]["loss"] < 0.1 * lines[0]["loss"]
    assert run.step == 150
    with run.averaged():
        torch.testing.assert_close(
            run.modules["layer"](torch.eye(4)), torch.ones(4, 2), atol=0.3, rtol=0
        )


@pytest.mark.parametrize("killed_at", [3, 5, 6, 11])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, killed_at: int):
    whole = trained(tmp_path / "whole")
    network, times = layer(), []
    loss_function = noisy_regression(network, times)

    def dying(step: int, generator: torch.Generator) -> Tensor:
        if step == killed_at:
            raise Killed
        return loss_function(step, generator)

    kept = max(killed_at - 1, 0) // 5 * 5  # the step after a checkpoint's writes it

    with pytest.raises(Killed):
        Run(tmp_path / "broken", {"layer": network}, CONFIG).train(dying)
    torch.manual_seed(99)
    network = nn.Linear(4, 2)  # other weights, which the checkpoint replaces
    resumed = Run(tmp_path / "broken", {"layer": network}, CONFIG)
    assert resumed.step == kept
    if resumed.step == 0:
        network.load_state_dict(layer().state_dict())
        resumed = Run(tmp_path / "broken", {"layer": network}, CONFIG)
    times.clear()
    resumed.train(noisy_regression(network, times))
    assert times == list(range(kept, 12))
    assert_same(whole, resumed)


def test_a_finished_run_does_nothing_and_a_longer_one_goes_on(tmp_path: Path):
    done, again = trained(tmp_path), trained(tmp_path)
    assert_same(done, again)
    assert trained(tmp_path, replace(CONFIG, steps=14)).step == 14


def test_every_step_draws_its_own_batch(tmp_path: Path):
    network, draws = layer(), []

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        draws.append(torch.rand(1, generator=generator).item())
        return network.weight.square().sum()

    Run(tmp_path, {"layer": network}, CONFIG).train(loss_function)
    assert len(set(draws)) == CONFIG.steps


def test_the_seed_decides(tmp_path: Path):
    one, other = trained(tmp_path / "1"), trained(tmp_path / "2", replace(CONFIG, seed=1))
    assert not torch.equal(one.modules["layer"].weight, other.modules["layer"].weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, value: float
):
    network = layer()
    run = Run(tmp_path, {"layer": network}, CONFIG)
    good = noisy_regression(network)

    def failing(step: int, generator: torch.Generator) -> Tensor:
        return good(step, generator) * (value if step == 7 else 1)

    with pytest.raises(AvatarError) as caught:
        run.train(failing)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}: expected a finite loss, found {value} at step 7")
    assert "\n" not in line
    assert line.endswith("; the checkpoint of step 5 is kept")
    assert all(torch.isfinite(value).all() for value in tensors(run).values())
    assert Run(tmp_path, {"layer": layer()}, CONFIG).step == 5


def test_where_no_checkpoint_is_yet_none_is_promised(tmp_path: Path):
    run = Run(tmp_path, {"layer": layer()}, CONFIG)
    with pytest.raises(AvatarError, match=r"found nan at step 0; there is no checkpoint yet$"):
        run.train(lambda step, generator: run.modules["layer"].weight.sum() * math.nan)


def test_a_gradient_that_is_no_number_stops_the_run(tmp_path: Path):
    network = layer()
    good = noisy_regression(network)

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        loss = good(step, generator)  # the slope of a root at 0 is infinite
        return loss + (0 * network.weight).sqrt().sum() if step == 7 else loss

    run = Run(tmp_path, {"layer": network}, CONFIG)
    with pytest.raises(AvatarError, match="expected a finite gradient, found nan at step 7; the"):
        run.train(loss_function)
    assert all(torch.isfinite(value).all() for value in tensors(run).values())


def test_weights_that_blow_up_do_not_replace_good_ones(tmp_path: Path):
    trained(tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    network = layer()
    wild = replace(CONFIG, steps=30, learning_rate=1e12, save_every=1)
    run = Run(tmp_path, {"layer": network}, wild)
    cubed = noisy_regression(network)
    with pytest.raises(AvatarError, match=r"step 13; the checkpoint of step 12 is kept$"):
        run.train(lambda step, generator: cubed(step, generator) ** 3)
    assert (tmp_path / "state.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("steps", "sample_every", "told_at"), [(30, 30, 10), (8, 30, 8), (30, 8, 8)]
)
def test_weights_that_are_no_numbers_are_neither_kept_nor_drawn(
    tmp_path: Path, steps: int, sample_every: int, told_at: int
):
    network = layer()
    network.register_buffer("unused", torch.zeros(1))
    run = Run(tmp_path, {"layer": network}, replace(CONFIG, steps=steps, sample_every=sample_every))
    good = noisy_regression(network)

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        if step == 7:
            network.state_dict()["unused"].fill_(math.nan)
        return good(step, generator)

    with pytest.raises(AvatarError) as caught:
        run.train(loss_function, lambda path: pytest.fail("drawn"))
    expected = f"expected finite weights, found nan in layer.unused at step {told_at}; the"
    assert str(caught.value).startswith(f"{tmp_path}: {expected}")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 5


def test_settings_win_over_those_of_the_checkpoint(tmp_path: Path):
    def run_with(config: LoopConfig, bias_rate: float) -> Run:
        modules = {"layer": layer(), "own": nn.Linear(4, 2)}
        return Run(tmp_path, modules, config, {"own": bias_rate})

    def sum_of_weights(run: Run) -> LossFunction:
        return lambda step, generator: sum(m.weight.sum() for m in run.modules.values())

    first = run_with(CONFIG, 0.01)
    first.train(sum_of_weights(first))
    changed = replace(CONFIG, steps=20, learning_rate=0.0, weight_decay=0.5)
    again = run_with(changed, 0.3)
    assert again.step == 12
    groups = again.optimizer.param_groups
    assert [group["base_lr"] for group in groups] == [0.0, 0.3]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.5]
    before = again.modules["layer"].weight.detach().clone()
    again.train(sum_of_weights(again))
    assert torch.equal(again.modules["layer"].weight, before)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("steps", 0, "1 or more"),
        ("save_every", 0, "1 or more"),
        ("sample_every", -1, "1 or more"),
        ("warmup_steps", -1, "0 or more"),
        ("cooldown_fraction", 1.5, "0 to 1"),
        ("ema_decay", -0.1, "0 to 1"),
        ("ema_decay", math.nan, "0 to 1"),
        ("seed", -1, f"0 to {2**32 - 1}"),
        ("seed", 2**32, f"0 to {2**32 - 1}"),
        ("learning_rate", -1e-4, "a finite number, 0 or more"),
        ("learning_rate", math.nan, "a finite number, 0 or more"),
        ("weight_decay", math.inf, "a finite number, 0 or more"),
        ("clip_norm", 0.0, "more than 0"),
    ],
)
def test_settings_that_cannot_be_are_said(field: str, value: float, expected: str):
    with pytest.raises(AvatarError) as caught:
        replace(CONFIG, **{field: value})
    assert str(caught.value) == f"{field}: expected {expected}, found {value}"


@pytest.mark.parametrize(
    ("rate", "decay", "rates"), [(1e38, 0, {}), (1e30, 1e30, {}), (1, 0, {"layer": -1.0})]
)
def test_steps_that_float32_cannot_hold_are_said(tmp_path: Path, rate, decay, rates):
    config = replace(CONFIG, learning_rate=rate, weight_decay=decay, warmup_steps=0)
    with pytest.raises(AvatarError, match="learning rate of layer: expected 0 or more, and steps"):
        Run(tmp_path, {"layer": layer()}, config, rates)


def test_the_largest_steps_end_in_a_line(tmp_path: Path):
    network = layer()
    config = replace(CONFIG, learning_rate=3e37, warmup_steps=0)
    with pytest.raises(AvatarError, match="expected a finite loss, found inf at step 1"):
        Run(tmp_path, {"layer": network}, config).train(noisy_regression(network))


def test_the_progress_bar_ends_before_the_error(tmp_path: Path, capsys):
    pytest.importorskip("tqdm")
    network = layer()
    with pytest.raises(AvatarError) as caught:
        Run(tmp_path, {"layer": network}, CONFIG).train(
            lambda step, generator: network.weight.sum() * math.nan
        )
    shown = capsys.readouterr().err
    assert "0/12" in shown and shown.endswith("\n")
    del caught
    gc.collect()
    assert capsys.readouterr().err == ""  # nor is it drawn anew


def test_only_one_training_runs_in_a_folder(tmp_path: Path):
    network = layer()
    good = noisy_regression(network)
    line = f"{tmp_path}: expected no other training in this folder, found one that is running"
    modules = {"layer": layer()}
    second = Run(tmp_path, modules, CONFIG)

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        for start in (partial(Run, tmp_path, modules, CONFIG), partial(second.train, good)):
            with pytest.raises(AvatarError) as caught:
                start()
            assert str(caught.value) == line
        return good(step, generator)

    Run(tmp_path, {"layer": network}, CONFIG).train(loss_function)
    assert Run(tmp_path, {"layer": layer()}, CONFIG).step == 12


def test_processes_that_train_together_share_a_lock(tmp_path: Path, monkeypatch):
    with Workers().alone_in(tmp_path):
        monkeypatch.setenv("RANK", "1")
        with Workers().alone_in(tmp_path):
            pass


def test_a_file_system_without_locks_is_trained_on(tmp_path: Path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert trained(tmp_path).step == 12


def test_steps_that_are_done_again_are_logged_once(tmp_path: Path):
    network = layer()
    good = noisy_regression(network)
    config = replace(CONFIG, steps=120, save_every=30)
    log = tmp_path / "log.jsonl"

    def dying(step: int, generator: torch.Generator) -> Tensor:
        if step == 115:
            raise Killed
        return good(step, generator)

    def steps() -> list[int]:
        return [json.loads(line)["step"] for line in log.read_text().splitlines()]

    with pytest.raises(Killed):
        Run(tmp_path, {"layer": network}, config).train(dying)
    assert steps() == [50, 100]
    with log.open("a") as file:
        file.write('{"step": 5')  # as a kill leaves it
    resumed = Run(tmp_path, {"layer": network}, config)
    assert resumed.step == 90
    resumed.train(good)
    assert steps() == [50, 100, 120]
    Run(tmp_path, {"layer": network}, config).train(good)  # it is finished
    assert steps() == [50, 100, 120]
    (tmp_path / "state.pt").unlink()  # to start anew
    with pytest.raises(Killed):
        Run(tmp_path, {"layer": network}, config).train(dying)
    assert steps() == [50, 100]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a checkpoint"),
        lambda path: torch.save({"step": 3}, path),
        lambda path: torch.save([1], path),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage):
    trained(tmp_path)
    damage(tmp_path / "state.pt")
    with pytest.raises(AvatarError) as caught:
        Run(tmp_path, {"layer": layer()}, CONFIG)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'state.pt'}: expected this run's checkpoint, found: ")
    assert "\n" not in line


def test_the_checkpoint_of_another_network_is_named(tmp_path: Path):
    trained(tmp_path)
    for modules in ({"layer": nn.Linear(5, 2)}, {"other": layer()}):
        with pytest.raises(AvatarError, match=r"state\.pt: expected this run's") as caught:
            Run(tmp_path, modules, CONFIG)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_is_not_unpickled(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    tmp_path.joinpath("run").mkdir()
    torch.save({"step": Trap()}, tmp_path / "run" / "state.pt")
    with pytest.raises(AvatarError, match=r"state\.pt"):
        Run(tmp_path / "run", {"layer": layer()}, CONFIG)
    assert not (tmp_path / "sprung").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(AvatarError, match="file/run: expected a folder to write to"):
        Run(tmp_path / "file" / "run", {"layer": layer()}, CONFIG)


def test_averages_are_put_in_for_a_while(tmp_path: Path):
    run = trained(tmp_path)
    network = run.modules["layer"]
    raw = network.weight.detach().clone()
    with run.averaged():
        assert torch.equal(network.weight, run.ema["layer"]["weight"])
        assert not torch.equal(network.weight, raw) and not network.training
    assert torch.equal(network.weight, raw) and network.training
    with pytest.raises(Killed), run.averaged():
        raise Killed
    assert torch.equal(network.weight, raw) and network.training
    assert not torch.equal(run.ema["layer"]["weight"], raw)


def test_the_average_lags_behind_the_weights(tmp_path: Path):
    network = layer()
    run = Run(tmp_path, {"layer": network}, replace(CONFIG, steps=1, ema_decay=0.999))
    before = network.weight.detach().clone()
    run.train(noisy_regression(network))
    decay = 1 / 11  # a young average follows closely
    expected = decay * before + (1 - decay) * network.weight.detach()
    torch.testing.assert_close(run.ema["layer"]["weight"], expected)


def test_sheets_are_written_from_the_averages(tmp_path: Path):
    network = layer()
    run = Run(tmp_path, {"layer": network}, CONFIG)
    seen = []

    def sample(path: Path) -> None:
        assert torch.equal(network.weight, run.ema["layer"]["weight"])
        seen.append(path.relative_to(tmp_path))
        Image.new("RGB", (4, 4)).save(path)

    run.train(noisy_regression(network), sample)
    assert seen == [Path("samples/000006.png"), Path("samples/000012.png")]


def test_tensorboard_is_told_the_same(tmp_path: Path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    network = layer()

    def sample(path: Path) -> None:
        Image.new("RGB", (4, 4)).save(path)

    run = Run(tmp_path, {"layer": network}, replace(CONFIG, steps=100, sample_every=60))
    run.train(noisy_regression(network), sample)
    board = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for name in ("loss", "learning_rate"):
        found = [(event.step, event.value) for event in board.Scalars(name)]
        assert found == [(line["step"], pytest.approx(line[name], rel=1e-4)) for line in lines]
    assert [event.step for event in board.Images("samples")] == [60, 100]


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs a file that is always full")
@pytest.mark.parametrize("name", ["state.pt", "log.jsonl", "samples/000009.png", "tensorboard"])
def test_a_full_disk_is_said_whatever_is_written(tmp_path: Path, name: str, capfd):
    network = layer()
    run = Run(tmp_path, {"layer": network}, replace(CONFIG, steps=9, sample_every=9))
    good = noisy_regression(network)
    path = tmp_path / name

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        nonlocal path
        if step == 7:
            if name == "tensorboard":
                pytest.importorskip("tensorboard")
                (path,) = path.iterdir()
                path.unlink()
            path.parent.mkdir(exist_ok=True)
            aside = f".state.pt.{os.getpid()}.tmp"
            (tmp_path / aside if name == "state.pt" else path).symlink_to(FULL)
        return good(step, generator)

    def sample(sheet: Path) -> None:
        Image.effect_noise((64, 64), 50).save(sheet)

    with pytest.raises(AvatarError) as caught:
        run.train(loss_function, sample)
    found = "expected a writable path, found: No space left on device"
    assert str(caught.value) == f"{path}: {found}"
    assert "Traceback" not in capfd.readouterr().err
    kept = torch.load(run.state_path, weights_only=True)["step"]
    assert kept == (9 if name.startswith("samples") else 5)


@pytest.mark.parametrize("room", [1000, 100_000])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, room: int):
    resource = pytest.importorskip("resource")
    network = layer()
    network.register_buffer("large", torch.zeros(100_000))  # is written at once, not by a buffer
    run = Run(tmp_path, {"layer": network}, CONFIG)
    run.train(noisy_regression(network))
    before = run.state_path.read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # no file may grow beyond this
    try:
        with pytest.raises(AvatarError) as caught:
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    found = "expected a writable path, found: File too large"
    assert str(caught.value) == f"{run.state_path}: {found}"
    assert run.state_path.read_bytes() == before
    assert not list(tmp_path.glob(".state.pt*"))


ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_loop import CONFIG, layer, noisy_regression, replace, Run
network = layer()
config = replace(CONFIG, steps=10**6, save_every=1)
Run(Path(sys.argv[1]), {"layer": network}, config).train(noisy_regression(network))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_what_is_killed_while_it_saves_goes_on(tmp_path: Path):
    """With a checkpoint at every step, most kills fall into the writing of one."""
    words = [sys.executable, "-c", ENDLESS, str(tmp_path), str(Path(__file__).parent)]
    state, steps = tmp_path / "state.pt", [0]
    for delay_s in (0.011, 0.017, 0.029):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        written = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (
            not state.exists() or state.stat().st_mtime_ns == written
        ):
            time.sleep(0.01)
        with pytest.raises(AvatarError, match="found one that is running"):
            Run(tmp_path, {"layer": layer()}, CONFIG)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(Run(tmp_path, {"layer": layer()}, CONFIG).step)
    assert steps == sorted(set(steps))  # each goes on from where the last one was
    assert not list(tmp_path.glob(".state.pt*"))


def test_rates_of_their_own_and_frozen_weights(tmp_path: Path):
    modules = {name: layer() for name in ("slow", "still")}
    modules["slow"].bias.requires_grad_(False)
    before = modules["slow"].state_dict()["bias"].clone(), modules["still"].weight.detach().clone()
    run = Run(tmp_path, modules, CONFIG, {"still": 0.0})

    def loss_function(step: int, generator: torch.Generator) -> Tensor:
        x = torch.randn(8, 4, generator=generator)
        return (modules["slow"](x) + modules["still"](x)).square().mean()

    run.train(loss_function)
    assert torch.equal(modules["slow"].bias, before[0])
    assert torch.equal(modules["still"].weight, before[1])
    assert not torch.equal(modules["slow"].weight, before[1])
