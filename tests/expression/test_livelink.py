"""Recordings of ARKit weights: what is read, and that whatever is wrong is one line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.livelink import calibrated, read_units, sequence_of_units
from avatar_viewer.head.arkit import ArkitMap
from avatar_viewer.head.arkit_units import ARKIT_UNITS

JAW, BLINK = ARKIT_UNITS.index("jawOpen"), ARKIT_UNITS.index("eyeBlinkLeft")
MATRIX = torch.zeros(2, 52)
MATRIX[0, JAW] = MATRIX[1, BLINK] = 2.0
ARKIT_MAP = ArkitMap(MATRIX, torch.tensor([0.0, 1.0]))
"""The jaw and the left lid, the second from 1."""
ANGLES = ("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll")


def live_link(path, timecodes, jaw, angles=True):
    """As the app writes it: names with capitals, in another order than ours."""
    units = [unit[0].upper() + unit[1:] for unit in reversed(ARKIT_UNITS)]
    lines = [",".join(["Timecode", "BlendShapeCount", *units, *(ANGLES if angles else ())])]
    for index, (timecode, opened) in enumerate(zip(timecodes, jaw, strict=True)):
        cells = [f"{opened:.4f}" if unit == "JawOpen" else "0.0100" for unit in units]
        turned = [f"{0.1 * index:.3f}"] * len(ANGLES) if angles else []
        lines.append(",".join([timecode, "61", *cells, *turned]))
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def stream(path, rows, names=ARKIT_UNITS, times=None):
    header = [*names] if times is None else ["time_s", *names]
    cells = rows if times is None else [[t, *row] for t, row in zip(times, rows, strict=True)]
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *cells]))
    return path


def test_live_link_face_is_read(tmp_path):
    timecodes = [f"14:03:{52 + i // 60}:{i % 60:02}.{100 + i}" for i in range(150)]
    jaw = np.linspace(0, 0.9, 150)
    units = read_units(live_link(tmp_path / "take.csv", timecodes, jaw))
    assert units.fps == 60 and units.weights.shape == (150, 52)
    assert units.weights[:, JAW] == pytest.approx(jaw, abs=1e-4)
    assert (units.weights[:, BLINK] == 0.01).all()
    assert units.times_s == pytest.approx(np.arange(150) / 60, abs=0.01)
    assert units.head_pose_deg[10] == pytest.approx(np.degrees([1, 1, 1]), abs=0.1)
    assert read_units(live_link(tmp_path / "b.csv", timecodes, jaw, False)).head_pose_deg is None


def test_the_rate_is_the_timecodes_own(tmp_path):
    for fps in (24, 25, 30, 60):
        timecodes = [f"00:00:{i // fps:02}:{i % fps:02}.000" for i in range(3 * fps)]
        units = read_units(live_link(tmp_path / "take.csv", timecodes, np.zeros(3 * fps)))
        assert units.fps == fps and units.times_s[-1] == pytest.approx(3 - 1 / fps)


def test_midnight_passes(tmp_path):
    timecodes = ["23:59:58:00.0", "23:59:59:30.0", "00:00:00:00.0", "00:00:01:59.0"]
    units = read_units(live_link(tmp_path / "take.csv", timecodes, np.zeros(4)))
    assert units.times_s == pytest.approx((0, 1.5, 2, 3 + 59 / 60))


def test_dropped_frames_are_bridged_at_even_times(tmp_path):
    frames = [0, 1, 2, 10, 11]
    timecodes = [f"00:00:00:{frame:02}.000" for frame in frames]
    jaw = np.array(frames) / 20
    units = read_units(live_link(tmp_path / "take.csv", timecodes, jaw))
    even = sequence_of_units(units, ARKIT_MAP, source="take")
    assert even.codes.shape == (12, 6) and even.header.fps == 60
    assert even.codes[:, 0] == pytest.approx(2 * np.arange(12) / 20, abs=1e-3)
    assert even.confidence.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1]
    slower = sequence_of_units(units, ARKIT_MAP, source="take", fps=30)
    assert slower.codes[:, 0] == pytest.approx(2 * np.arange(0, 12, 2) / 20, abs=1e-3)
    assert slower.duration_s == even.duration_s == 0.2


def test_rows_without_a_face_are_bridged(tmp_path):
    rows = [[0.2] * 52, [""] * 52, [""] * 52, [""] * 52, [0.6] * 52]
    units = read_units(stream(tmp_path / "s.csv", rows, times=np.arange(5) / 25))
    assert len(units.times_s) == 2
    assert read_units(stream(tmp_path / "t.csv", rows)).times_s[1] == pytest.approx(4 / 60)


def test_a_stream_of_any_order_and_case(tmp_path):
    names = [unit.upper() for unit in reversed(ARKIT_UNITS)]
    rows = [[0.1 * t if name == "JAWOPEN" else 0 for name in names] for t in range(4)]
    units = read_units(stream(tmp_path / "s.csv", rows, names, times=[5, 5.1, 5.2, 5.3]))
    assert units.weights[:, JAW] == pytest.approx((0, 0.1, 0.2, 0.3))
    assert units.fps == pytest.approx(10) and units.times_s[0] == 0
    without = [name for name in ARKIT_UNITS if name != "tongueOut"]
    assert read_units(stream(tmp_path / "t.csv", [[1] * 51], without)).weights[0, -1] == 0


def test_gaze_follows_from_the_weights(tmp_path):
    row = [1.0 if unit.startswith("eyeLookUp") else 0.0 for unit in ARKIT_UNITS]
    units = read_units(stream(tmp_path / "s.csv", [row]))
    assert sequence_of_units(units, ARKIT_MAP, source="s").codes[0].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_face_at_rest_becomes_nothing_and_all_stays_all(tmp_path):
    rest = np.linspace(0, 0.3, 52)
    rows = [rest, np.ones(52), rest + 0.5 * (1 - rest), 0.5 * rest]
    assert calibrated(np.stack(rows), rest)[:, 1:] == pytest.approx(
        np.repeat([[0], [1], [0.5], [0]], 51, axis=1)
    )
    units = read_units(stream(tmp_path / "s.csv", [rest] * 5 + rows))
    codes = sequence_of_units(units, ARKIT_MAP, source="s", neutral=0).codes
    assert codes[0, :2] == pytest.approx(ARKIT_MAP.offset.numpy(), abs=1e-6)
    assert codes[6, :2] == pytest.approx((2, 3))
    with pytest.raises(AvatarError, match="neutral: expected a row of 0 to 8 with a face, found 9"):
        sequence_of_units(units, ARKIT_MAP, source="s", neutral=9)


GOOD = [[0.1] * 52] * 3


@pytest.mark.parametrize(
    ("rows", "names", "times", "message"),
    [
        (GOOD, ["a", *ARKIT_UNITS[1:]], None, "for each ARKit unit, found none for browDownLeft"),
        (GOOD, ["a", "b", "c", "d", *ARKIT_UNITS[4:]], None, "browInnerUp and 1 more"),
        ([[50.0] * 52], ARKIT_UNITS, None, r"expected weights in 0\.\.1, found up to 50"),
        ([[0.1] * 51 + ["nan"]], ARKIT_UNITS, None, "row 1, column tongueOut, found 'nan'"),
        ([["x"] + [0.1] * 51], ARKIT_UNITS, None, "row 1, column browDownLeft, found 'x'"),
        ([[0.1] * 51], ARKIT_UNITS, None, "row 1, column tongueOut, found 'nothing'"),
        ([[0.1] * 53], ARKIT_UNITS, None, "expected 52 cells in row 1, found 53"),
        ([[""] * 52], ARKIT_UNITS, None, "expected rows of weights, found none"),
        ([], ARKIT_UNITS, None, "expected rows of weights, found none"),
        (GOOD, ARKIT_UNITS, [0, 1, 1], "expected rising times, found row 2"),
        (GOOD, ARKIT_UNITS, [0, "soon", 1], "row 2, column time_s, found 'soon'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, rows, names, times, message):
    path = stream(tmp_path / "s.csv", rows, names, times)
    with pytest.raises(AvatarError, match=message) as caught:
        read_units(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_other_files_are_one_line(tmp_path):
    with pytest.raises(AvatarError, match="expected a CSV of ARKit weights, found"):
        read_units(tmp_path / "none.csv")
    for content in (b"", b"\xff\xfe\x00", b"words"):
        (tmp_path / "s.csv").write_bytes(content)
        with pytest.raises(AvatarError, match=r"s\.csv: expected a"):
            read_units(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("one\ntwo, three")
    with pytest.raises(AvatarError, match="a column for each ARKit unit, found none for browDown"):
        read_units(tmp_path / "s.csv")
    path = live_link(tmp_path / "t.csv", ["00:00:00:00.0", "later"], [0, 0])
    with pytest.raises(AvatarError, match=r"HH:MM:SS:FF\.fff in row 2, found 'later'"):
        read_units(path)


@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_one_line_or_reads(tmp_path_factory, place, byte):
    timecodes = [f"00:00:00:{i:02}.000" for i in range(4)]
    path = live_link(tmp_path_factory.mktemp("damaged") / "t.csv", timecodes, np.zeros(4))
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        sequence_of_units(read_units(path), ARKIT_MAP, source="t")
    except AvatarError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
