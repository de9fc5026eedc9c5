"""`transfer`: what its options become, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatar_viewer.cli import main
from avatar_viewer.evaluation.transfer import Sources
from avatar_viewer.expression import transfer
from avatar_viewer.expression.sequence import ExpressionSequence, Header
from avatar_viewer.expression.transfer import Meshes, Options


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches the functions that do the work."""
    found: list[tuple[Any, ...]] = []

    def record(*arguments: Any) -> ExpressionSequence:
        found.append(arguments)
        return ExpressionSequence(Header(20), np.zeros((30, 2), np.float32))

    for name in ("transfer_units", "transfer_meshes"):
        monkeypatch.setattr(transfer, name, record)
    monkeypatch.setattr("avatar_viewer.live.moving.render_movie", record)
    return found


def test_weights_get_their_options(calls: list, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["transfer", "--arkit", "w.csv", "--out", "o.npz", "--ckpt", "some/one"]
    assert main(words) == 0
    assert calls.pop() == (Path("w.csv"), Path("o.npz"), "some/one", Options())
    assert capsys.readouterr().out == "wrote o.npz (30 expressions, 1.5 s)\n"
    assert main([*words, "--neutral", "3", "--fps", "24", "--no-smoothing"]) == 0
    assert calls.pop()[3] == Options(3, 24.0, smooth=False)


def test_meshes_get_their_options(calls: list):
    words = ["--unit", "mm", "--landmarks", "l.yaml"]
    assert main(["transfer", "--meshes", "m", "--out", "o.npz", *words]) == 0
    meshes = Meshes(Path("m"), "mm", Path("l.yaml"))
    assert calls.pop()[:1] == (meshes,)


def test_the_movie_is_made_of_the_file(calls: list, tmp_path: Path):
    words = ["transfer", "--arkit", "w.csv", "--out", "o.npz", "--render"]
    assert main([*words, str(tmp_path / "m.mp4")]) == 0
    _, film, out, source = calls.pop()
    assert (film.sequence, out, source) == (Path("o.npz"), tmp_path / "m.mp4", None)
    calls.clear()
    assert main([*words, str(tmp_path / "none/m.mp4")]) == 2 and calls == []


@pytest.mark.parametrize(
    ("words", "found"), [([], "none"), (["--arkit", "a.csv", "--meshes", "m"], "--arkit, --meshes")]
)
def test_one_source_is_expected(
    words: list[str], found: str, calls: list, capsys: pytest.CaptureFixture
):
    assert main(["transfer", "--out", "o.npz", *words]) == 2
    assert (
        f"--arkit, --meshes, --video: expected one of them, found {found}"
        in capsys.readouterr().err
    )
    assert calls == []


def test_evaluation_gets_its_options(monkeypatch: pytest.MonkeyPatch):
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        "avatar_viewer.evaluation.transfer.evaluate_transfer",
        lambda *options: calls.append(options),
    )
    words = ["evaluate", "transfer", "--heads", "h", "--people", "2", "--results", "r.md"]
    assert main(words) == 0
    assert calls.pop() == (None, Sources(Path("h"), 2), None, Path("r.md"))
    assert main([*words, "--footage", "a", "b", "--face-model", "m.task"]) == 0
    assert calls.pop()[1] == Sources(Path("h"), 2, (Path("a"), Path("b")), Path("m.task"))
