"""Training in several processes, as torchrun and `accelerate launch` start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_loop import CONFIG, layer, noisy_regression

from avatar_viewer.training.loop import Run
from avatar_viewer.training.workers import Workers

ON_CPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
ONE_OF_TWO = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[2])
from test_loop import CONFIG, layer, noisy_regression
from avatar_viewer.training.loop import Run
folder, network = Path(sys.argv[1]), layer()
run = Run(folder, {"layer": network}, CONFIG)
run.train(noisy_regression(network))
torch.save(network.state_dict(), folder / f"{run.workers.rank}.pt")
"""


def test_alone_nothing_is_exchanged():
    workers = Workers()
    tensor = torch.tensor([1.0, 3.0])
    workers.average([tensor])
    assert (workers.count, workers.rank, workers.is_first) == (1, 0, True)
    assert tensor.tolist() == [1.0, 3.0]


@pytest.mark.slow
def test_two_processes_take_the_steps_of_their_mean_gradient(tmp_path: Path):
    pytest.importorskip("accelerate")
    (tmp_path / "two.py").write_text(ONE_OF_TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = [str(tmp_path / "two.py"), str(tmp_path / "run"), str(Path(__file__).parent)]
    subprocess.run([*launch, *words], check=True, timeout=200, env=ON_CPU)

    ours, theirs = (torch.load(tmp_path / "run" / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["weight"], one_process(tmp_path / "first")["weight"])
    expected = one_process(tmp_path / "both", ranks=(0, 1))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    # One of them writes for both.
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 1


def one_process(folder: Path, ranks: tuple[int, ...] = (0,)) -> dict[str, torch.Tensor]:
    """The weights after one process has taken the batches of all ranks."""
    network = layer()
    loss_of = noisy_regression(network)

    def loss_function(step: int, generator: torch.Generator) -> torch.Tensor:
        seeds = [(CONFIG.seed + 7919 * rank) * 1_000_003 + step for rank in ranks]
        losses = [loss_of(step, torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(losses).mean()

    Run(folder, {"layer": network}, CONFIG).train(loss_function)
    return dict(network.state_dict())
