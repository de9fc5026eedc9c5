"""The command line: what reaches the program, and what is said of bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avatar_viewer import __version__
from avatar_viewer.avatar_info import AvatarInfo, Corner
from avatar_viewer.cli import COMMANDS, main
from avatar_viewer.config import DEMO_FOLDER, EMBEDDED
from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import ExpressionSequence, Header, save_sequence
from avatar_viewer.head.expression_space import ExpressionSpace
from avatar_viewer.live.camera_path import CameraPath, Keyframe, write_path
from avatar_viewer.live.screenshot import read_screenshot, session_of
from avatar_viewer.live.session import Session, write_session
from avatar_viewer.live.still import Picture
from avatar_viewer.raster.camera import Orbit
from avatar_viewer.stages import LAYERS, ExpressionCode, Frame, RenderRequest

INFO = AvatarInfo(
    name="plain",
    licence="CC0-1.0",
    provenance="a test",
    resolution_px=24,
    steps=6,
    quick_steps=2,
    sampler="lcm",
    default_view=Orbit(5.0, 6.0, 2.0, (0.0, 0.0, 0.0), 30.0),
    corners=tuple(  # type: ignore[arg-type]
        Corner(name, ExpressionCode((float(value),))) for value, name in enumerate("abcd")
    ),
)


class PlainAvatar:
    """A picture of one colour, which is the expression's."""

    info = INFO
    expressions = ExpressionSpace()

    def render(self, request: RenderRequest, cancelled: Any = None) -> Frame:
        size = (request.camera.height, request.camera.width, 3)
        return Frame(request, np.full(size, round(50 * request.expression.values[0]), np.uint8))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources of the avatars that are loaded, in a world where every source is one."""
    sources: list[str] = []

    def load(source: str) -> PlainAvatar:
        if "broken" in source:
            raise AvatarError(f"{source}: expected an avatar,\nfound a broken one")
        sources.append(source)
        return PlainAvatar()

    module = SimpleNamespace(Avatar=SimpleNamespace(load=load))
    monkeypatch.setitem(sys.modules, "avatar_viewer.avatar", module)
    return sources


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The sources that windows are opened with; there is a display."""
    sources: list[str | None] = []
    window = SimpleNamespace(run=lambda source, session, load, debug: sources.append(source))
    monkeypatch.setitem(sys.modules, "avatar_viewer.viewer.window", window)
    monkeypatch.setattr("avatar_viewer.viewer.display.require_display", lambda: None)
    return sources


def one_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("avatar-viewer: error: ")
    return lines[0]


def test_version_and_help(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"avatar-viewer {__version__}\n"
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    names = {word for name in COMMANDS for word in name.split()}
    assert names <= set(capsys.readouterr().out.replace(",", " ").split())


def test_help_of_render_names_every_layer(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["render", "--help"])
    words = capsys.readouterr().out.replace("│", " ").split()
    assert " | ".join(LAYERS) in " ".join(words)


@pytest.mark.parametrize("words", [["rendr"], ["--ckp", "x"], ["mesh"], ["train", "hair"]])
def test_a_misspelt_command_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ([], None),
        (["--ckpt", "owner/name"], "owner/name"),
        (["view", "--ckpt", "owner/name"], "owner/name"),
        (["--or-render", "x.png"], None),
    ],
)
def test_the_viewer_opens(opened: list[str | None], words: list[str], source: str | None):
    assert main(words) == 0
    assert opened == [source]


def test_without_a_display_the_viewer_says_so_or_renders(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    loaded: list[str],
    tmp_path: Path,
):
    def require_display() -> None:
        raise AvatarError("DISPLAY: expected one, found none")

    monkeypatch.setattr("avatar_viewer.viewer.display.require_display", require_display)
    assert main([]) == 2
    assert "DISPLAY" in one_error_line(capsys)
    assert main(["--or-render", str(tmp_path / "avatar.png")]) == 0
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert loaded == [str(DEMO_FOLDER)]
    assert Image.open(tmp_path / "avatar.png").size == (24, 24)


def test_without_a_display_a_real_process_says_so_in_one_line():
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "avatar_viewer"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("only X needs DISPLAY")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "DISPLAY" in line
    assert "avatar-viewer render" in line


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_has_had_enough_ends_a_command_quietly():
    """As `avatar-viewer evaluate ... | head` does."""
    script = (
        "from avatar_viewer import cli; from avatar_viewer.commands.judge import Evaluate\n"
        "Evaluate.run = lambda self: print('line\\n' * 100_000)\n"
        "raise SystemExit(cli.main(['evaluate', '--data', 'x', '--split', 'test']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_a_picture_carries_the_request_that_the_options_ask_for(loaded: list[str], tmp_path: Path):
    out = tmp_path / "out.png"
    words = "--pad 1 0 --azimuth -30 --elevation 12 --size 20 --steps 3 --seed 9 --show depth"
    assert main(["render", "--ckpt", "some/one", "--out", str(out), *words.split()]) == 0
    assert loaded == ["some/one"]
    shot = read_screenshot(out)
    assert shot.avatar_source == "some/one"
    assert shot.request == RenderRequest(
        expression=ExpressionCode((1.0,)),
        camera=Orbit(-30, 12, 2, (0, 0, 0), 30).camera(20, 20),
        seed=9,
        steps=3,
        sampler="lcm",
        show="depth",
    )
    assert np.unique(np.asarray(Image.open(out))).tolist() == [50]


def test_what_is_left_out_is_the_avatars_own(loaded: list[str]):
    request = Picture().request(INFO)
    assert request.camera == INFO.default_view.camera(24, 24)
    assert (request.steps, request.seed, request.show) == (6, 0, "image")
    assert request.expression.values == (1.5,)  # the mean of the four corners


def test_a_screenshot_is_made_again(
    loaded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    main(["render", "--ckpt", "some/one", "--out", str(first), "--pad", "0.3", "0.9"])
    assert main(["render", "--from", str(first), "--out", str(again)]) == 0
    assert again.read_bytes() == first.read_bytes()
    assert loaded == ["some/one", "some/one"]
    assert main(["render", "--from", str(first), "--out", str(again), "--steps", "2"]) == 2
    assert "--from: expected no other option" in one_error_line(capsys)


def test_a_screenshot_finds_its_avatar_from_anywhere(
    loaded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    main(["render", "--ckpt", "mine", "--out", str(first)])
    monkeypatch.chdir("/")
    assert main(["render", "--from", str(first), "--out", str(again)]) == 0
    assert loaded == ["mine", str(tmp_path / "mine")]
    assert again.read_bytes() == first.read_bytes()


def test_a_screenshot_of_the_embedded_avatar_names_no_folder(
    loaded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, there = tmp_path / "here", tmp_path / "there"
    for demo in (here, there):
        demo.mkdir()
    monkeypatch.setattr("avatar_viewer.config.DEMO_FOLDER", here)
    main(["render", "--out", str(tmp_path / "first.png")])
    assert read_screenshot(tmp_path / "first.png").avatar_source == EMBEDDED
    monkeypatch.setattr("avatar_viewer.config.DEMO_FOLDER", there)
    words = ["--from", str(tmp_path / "first.png"), "--out", str(tmp_path / "again.png")]
    assert main(["render", *words]) == 0
    assert loaded == [str(here), str(there)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--pad 0.2 1.5", "--pad: expected two numbers in 0..1, found 0.2 1.5"),
        ("--pad -0.1 0", "--pad: expected two numbers in 0..1, found -0.1 0.0"),
        ("--pad nan 0", "--pad: expected two numbers in 0..1, found nan 0.0"),
        ("--size 0", "--size: expected 1 to 4096 pixels, found 0"),
        ("--size 4097", "--size: expected 1 to 4096 pixels, found 4097"),
        ("--steps 0", "--steps: expected 1 to 1000, found 0"),
        ("--seed -1", "--seed: expected 0 to 2^63 - 1, found -1"),
        ("--azimuth inf", "--azimuth: expected a finite angle, found inf"),
        ("--elevation nan", "--elevation: expected a finite angle, found nan"),
        ("--distance 0", "--distance: expected more than 0, found 0.0"),
        ("--fov 180", "--fov: expected an angle in (0, 180), found 180.0"),
        ("--show noise", "--show: expected image | normal | depth"),
    ],
)
def test_an_option_out_of_range_is_named_before_anything_is_loaded(
    words: str,
    expected: str,
    loaded: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    assert main(["render", "--out", str(tmp_path / "x.png"), *words.split()]) == 2
    assert expected in one_error_line(capsys)
    assert loaded == []
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_named_before_anything_is_loaded(
    loaded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for out in (tmp_path / "nowhere" / "x.png", folder, tmp_path / "x.jpg"):
        assert main(["render", "--out", str(out)]) == 2
        assert str(out) in one_error_line(capsys)
    assert loaded == []


def test_a_failed_render_leaves_the_old_picture(
    monkeypatch: pytest.MonkeyPatch,
    loaded: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "x.png"
    main(["render", "--out", str(out)])
    before = out.read_bytes()

    def render(self: PlainAvatar, request: RenderRequest) -> Frame:
        raise AvatarError("render: expected luck, found none")

    monkeypatch.setattr(PlainAvatar, "render", render)
    assert main(["render", "--out", str(out)]) == 2
    assert "expected luck" in one_error_line(capsys)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_an_error_is_one_line_and_a_traceback_only_with_debug(
    loaded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["render", "--ckpt", "broken", "--out", str(tmp_path / "x.png")]
    assert main(words) == 2
    assert one_error_line(capsys).endswith("broken: expected an avatar, found a broken one")
    for debug in (["--debug", *words], [*words, "--debug"]):
        assert main(debug) == 2
        said = capsys.readouterr().err
        assert "Traceback" in said and "found a broken one" in said.splitlines()[-1]


@pytest.mark.parametrize("model", ["head", "vae", "avatar"])
def test_a_config_that_is_not_there_is_named(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", model, "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in one_error_line(capsys)


def test_data_and_evaluation_get_their_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    calls: list[tuple[Any, ...]] = []
    heads = SimpleNamespace(sample_heads=lambda *options: calls.append(options))
    images = SimpleNamespace(evaluate=lambda *options: calls.append(options))
    monkeypatch.setitem(sys.modules, "avatar_viewer.data.heads", heads)
    monkeypatch.setitem(sys.modules, "avatar_viewer.evaluation.images", images)
    out = str(tmp_path)
    assert main(["data", "heads", "--out", out, "--identities", "3", "--seed", "4"]) == 0
    assert main(["evaluate", "--data", out, "--ckpt", "some/one", "--json", "f.json"]) == 0
    words = ["evaluate", "head", "--head", "m", "--heads", out, "--people", "2"]
    head = SimpleNamespace(evaluate_head=lambda *options: calls.append(options))
    monkeypatch.setitem(sys.modules, "avatar_viewer.evaluation.head", head)
    assert main(words) == 0
    assert calls.pop() == (Path("m"), tmp_path, 2, None)
    evaluated = ("some/one", tmp_path, "test", Path("f.json"), None, 24.0, None)
    assert calls == [(tmp_path, 3, 12, 4, 0, None), evaluated]


def test_evaluation_gets_its_sheet_and_the_ablation_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
):
    from avatar_viewer.evaluation.ablation import Ablation
    from avatar_viewer.evaluation.sheet import SheetOptions

    calls: list[tuple[Any, ...]] = []
    images = SimpleNamespace(evaluate=lambda *options: calls.append(options))
    monkeypatch.setitem(sys.modules, "avatar_viewer.evaluation.images", images)
    monkeypatch.setattr(
        "avatar_viewer.evaluation.ablation.run_ablation", lambda *options: calls.append(options)
    )
    words = ["evaluate", "--data", "d", "--split", "s", "--sheet", "a.webp", "--sheet-size", "64"]
    assert main([*words, "--fps", "30", "--landmarks", "lm.task"]) == 0
    sheet = SheetOptions(Path("a.webp"), 64)
    assert calls.pop() == (None, Path("d"), "s", None, sheet, 30.0, Path("lm.task"))
    assert main([*words[:5], "--sheet", "a.gif"]) == 2
    assert "sheet: expected a name in .png" in capsys.readouterr().err and calls == []
    config = tmp_path / "ablation.yaml"
    config.write_text("avatar: some.yaml\nsteps: 7\nsplits: [test, sequence]\n")
    words = ["evaluate", "ablation", "--config", str(config), "--out", "runs"]
    assert main([*words, "--results", "results.md"]) == 0
    ablation = Ablation(Path("some.yaml"), 7, ("test", "sequence"))
    assert calls == [(ablation, Path("runs"), Path("results.md"))]
    config.write_text("avatar: some.yaml\nsteps: 7\nvariants: [none_such]\n")
    assert main(words) == 2
    assert "variants[0]: expected full | no_attention" in capsys.readouterr().err


def test_a_session_is_rendered_as_the_window_shows_it(loaded: list[str], tmp_path: Path):
    file, out = tmp_path / "session.yaml", tmp_path / "out.png"
    session = replace(Session.of("some/one", INFO), pad=(1.0, 0.0), seed=4, steps=3)
    write_session(session, file)
    assert main(["render", "--session", str(file), "--out", str(out)]) == 0
    assert read_screenshot(out).request == session.request(ExpressionSpace(), 24, 24)
    assert session_of(out) == session
    words = ["--ckpt", "other/one", "--seed", "0", "--azimuth", "0", "--size", "20"]
    assert main(["render", "--session", str(out), "--out", str(out), *words]) == 0
    changed = replace(
        session, avatar="other/one", seed=0, view=replace(session.view, azimuth_deg=0)
    )
    assert read_screenshot(out).request == changed.request(ExpressionSpace(), 20, 20)
    assert session_of(out) == changed
    assert loaded == ["some/one", "other/one"]


def shades(folder: Path) -> list[int]:
    """The colours of a folder's pictures."""
    return [int(np.asarray(Image.open(file))[0, 0, 0]) for file in sorted(folder.iterdir())]


def test_a_movie_follows_a_path_or_a_sequence(
    loaded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, sequence, out = tmp_path / "p.yaml", tmp_path / "q.npz", tmp_path / "shots"
    keyframes = (Keyframe(0, INFO.default_view, (0, 0)), Keyframe(1, INFO.default_view, (1, 0)))
    write_path(CameraPath(keyframes, "linear", fps=4), path)
    codes = np.array([[1], [2], [3]], np.float32)
    save_sequence(ExpressionSequence(Header(2), codes), sequence)
    words = ["render", "--video", str(out)]
    assert main([*words, "--path", str(path), "--size", "16"]) == 0
    assert shades(out) == [0, 12, 25, 38]
    assert Image.open(out / "0000.png").size == (16, 16)
    said = capsys.readouterr()
    assert said.out == f"Saved {out} (4 pictures)\n"
    assert "1 of 4, " in said.err and said.err.endswith("\n")
    words = ["render", "--video", str(tmp_path / "b" / "%d.png")]
    assert main([*words, "--sequence", str(sequence), "--path", str(path), "--fps", "2"]) == 0
    assert shades(tmp_path / "b") == [50, 100, 150]
    words = ["render", "--video", str(tmp_path / "c.mp4")]
    assert main([*words, "--seconds", "0.2", "--ckpt", "some/one", "--pad", "0", "1"]) == 0
    assert (tmp_path / "c.mp4").stat().st_size > 0
    assert loaded[-1] == "some/one"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "--out, --video: expected one of them, found neither"),
        ("--out a.png --video a.mp4", "--out, --video: expected one of them, found both"),
        ("--out a.png --fps 3 --path p", "--out: expected only options of a picture, found --path"),
        ("--video a.mp4", "--video: expected --path, --sequence or --seconds, found none"),
        ("--video a.mp4 --seconds 0", "--seconds: expected more than 0, found 0"),
        ("--video a.mp4 --seconds 1 --fps 0", "fps: expected more than 0"),
        ("--video a.avi --seconds 1", "a.avi: expected a name that ends in"),
        ("--video none/a.mp4 --seconds 1", "expected a writable path"),
        ("--video a.mp4 --seconds 1 --transparent", "transparent: expected a name for PNGs"),
        ("--video a.mp4 --seconds 1 --from s.png", "--video: expected --session, found --from"),
        ("--video a.mp4 --path p.yaml", "p.yaml: expected a YAML file"),
        ("--video a.mp4 --sequence q.npz", "q.npz: expected an expression sequence"),
        ("--video a.mp4 --seconds 1 --session s.yaml", "s.yaml: expected a YAML file"),
        ("--video a.mp4 --path p --azimuth 0 --pad 0 0", "found --pad, --azimuth"),
        ("--video a.mp4 --seconds 1 --head-pose", "--head-pose: expected --sequence too"),
        ("--video a.mp4 --sequence q --pad 0 0", "--sequence: expected nothing that it decides"),
        ("--video a.mp4 --seconds 1 --size 0", "--size: expected 1 to 4096 pixels, found 0"),
        ("--out a.png --session s.jpg", "s.jpg: expected a name that ends in .png | .yaml"),
    ],
)
def test_options_that_do_not_fit_are_named_before_anything_is_loaded(
    words: str,
    expected: str,
    loaded: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["render", *words.split()]) == 2
    assert expected in one_error_line(capsys)
    assert loaded == [] and list(tmp_path.iterdir()) == []


def test_a_screenshot_and_a_session_are_one_too_many(
    loaded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shot = tmp_path / "shot.png"
    main(["render", "--out", str(shot)])
    words = ["render", "--from", str(shot), "--session", str(shot), "--out", str(shot)]
    assert main(words) == 2
    assert "--from: expected no other option of the picture, found --session" in one_error_line(
        capsys
    )
