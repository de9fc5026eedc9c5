"""What `avatar-viewer transfer` says of options that do not go together."""

import pytest

from avatar_viewer.cli import main


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("", "--arkit, --meshes, --video: expected one of them, found none"),
        (
            "--arkit a.csv --video a.mp4",
            "--arkit, --meshes, --video: expected one of them, found --arkit, --video",
        ),
        ("--video a.mp4 --side-by-side", "--side-by-side: expected --render beside it, found none"),
        (
            "--arkit a.csv --render a.mp4 --side-by-side",
            "--side-by-side: expected --video beside it, found none",
        ),
        ("--arkit a.csv --size 64", "--size: expected --render beside it, found none"),
        (
            "--arkit a.csv --render a.mp4 --size 0",
            "--size: expected 1 to 4096 pixels, found 0",
        ),
        ("--video absent.mp4", "absent.mp4: expected a video, found: No such file or directory"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, monkeypatch, capsys, options: str, line: str):
    monkeypatch.chdir(tmp_path)
    assert main(["transfer", "--out", "codes.npz", *options.split()]) == 2
    assert capsys.readouterr().err == f"avatar-viewer: error: {line}\n"
    assert not list(tmp_path.iterdir())
