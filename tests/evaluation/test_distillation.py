"""What a student loses against its teacher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from known_person import known_codes
from PIL import Image
from tiny import write_tiny_avatar, write_tiny_frames

from avatar_viewer.errors import AvatarError
from avatar_viewer.evaluation import distillation
from avatar_viewer.evaluation.distillation import evaluate_distillation, table
from avatar_viewer.evaluation.results import write_section


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_tiny_frames(tmp_path / "data", train=3, test=2)
    monkeypatch.setattr(distillation, "person_of", known_codes(folder))
    return folder


def test_teacher_and_student_side_by_side(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    avatar = write_tiny_avatar(tmp_path / "avatar", student=True)
    results = tmp_path / "results.md"
    results.write_text("# Ablation\n\nkept\n")
    evaluate_distillation(str(avatar), data, ["test"], tmp_path / "scores.json", results)
    scores = json.loads((tmp_path / "scores.json").read_text())["test"]
    assert list(scores) == ["teacher, 20", "teacher, 1", "student, 1", "student, 2", "student, 4"]
    # Untrained networks differ from each other, and one step from many.
    assert len({mean["psnr"] for mean in scores.values()}) == len(scores)
    text = results.read_text()
    assert text.startswith("# Ablation\n\nkept\n\n# Distillation\n")
    assert table(scores) in text and table(scores) in capsys.readouterr().out
    lost = scores["student, 1"]["psnr"] - scores["teacher, 20"]["psnr"]
    assert f"| student, 1 | {scores['student, 1']['psnr']:.2f} ({lost:+.2f}) |" in text
    sheet = np.asarray(Image.open(tmp_path / "results_distillation_test.webp"))
    assert sheet.ndim == 3 and sheet.std() > 5


def test_an_avatar_without_a_student(data: Path, tmp_path: Path):
    avatar = write_tiny_avatar(tmp_path / "avatar")
    with pytest.raises(AvatarError, match="expected an avatar with a student, found none"):
        evaluate_distillation(str(avatar), data, ["test"])


def test_a_section_takes_the_place_of_the_former(tmp_path: Path):
    path = tmp_path / "results.md"
    write_section(path, "# One\n\nfirst\n\n## Part\n\nof one")
    write_section(path, "# Two\n\nsecond")
    write_section(path, "# One\n\nchanged")
    assert path.read_text() == "# One\n\nchanged\n\n# Two\n\nsecond\n"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AvatarError, match=r"results\.md: expected Markdown, found"):
        write_section(path, "# One")
