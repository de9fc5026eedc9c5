"""Expressions over time, changed as a whole: smoothed, mixed, joined, and closed to a loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import comb

import numpy as np

from avatar_viewer.errors import AvatarError
from avatar_viewer.expression.sequence import ExpressionSequence

RADIUS_S = 0.2
"""How far to either side an expression is smoothed over."""
ORDER = 3
"""Of the differences of successive expressions in which noise shows, and motion does not."""
NOISE_REACH = 3.0
"""Numbers that are further apart than so many times the noise are motion, and not mixed."""


def smoothed(sequence: ExpressionSequence, strength: float = 1.0) -> ExpressionSequence:
    """Without the trembling of what made the sequence; codes and head pose.

    Each number follows the lines that fit it best around each time, alike before and after, so that
    nothing lags. Times at which it, or all numbers together, differ by more than the noise do not
    count: blinks keep their height. The noise is each number's own, told by its trembling;
    `strength` multiplies it.
    """
    radius = max(1, round(RADIUS_S * sequence.header.fps))
    pose = sequence.head_pose_deg
    return replace(
        sequence,
        codes=_smoothed(sequence.codes, radius, strength),
        head_pose_deg=None if pose is None else _smoothed(pose, radius, strength),
    )


def noise_of(rows: np.ndarray) -> np.ndarray:
    """[E] standard deviation of each column of [T,E] that its smooth course does not explain.

    From the median of third differences, which motion in less than half of the time leaves alone,
    and steady or smooth motion all of the time.
    """
    if len(rows) <= ORDER:
        return np.zeros(rows.shape[1])
    bends = np.abs(np.diff(rows.astype(np.float64), n=ORDER, axis=0))
    return np.median(bends, axis=0) / (0.6745 * np.sqrt(comb(2 * ORDER, ORDER)))


def blended(
    one: ExpressionSequence, other: ExpressionSequence, weight: float
) -> ExpressionSequence:
    """`one` at weight 0, `other` at 1, as long as the shorter; times are those of `one`."""
    if not 0 <= weight <= 1:
        raise AvatarError(f"weight: expected a number in 0..1, found {weight:g}")
    one, other = _alike(one, other)
    count = min(len(one.codes), len(other.codes))
    shares = np.full((count, 1), weight)
    return _mixed(_rows(one, slice(count)), _rows(other, slice(count)), shares)


def joined(one: ExpressionSequence, other: ExpressionSequence) -> ExpressionSequence:
    """`other` after `one`, at the rate of `one`."""
    one, other = _alike(one, other)
    return _concatenated(one, other)


def looped(sequence: ExpressionSequence, seam_s: float) -> ExpressionSequence:
    """Such that its end goes over into its beginning: the last `seam_s` fade into the first.

    It becomes shorter by that; a seam takes at most half of it.
    """
    count = len(sequence.codes)
    seam = max(1, round(seam_s * sequence.header.fps))
    if not 0 < seam <= count / 2:
        most_s = count // 2 / sequence.header.fps
        raise AvatarError(f"seam: expected at most {most_s:g} s, found {seam_s:g} s")
    place = (np.arange(seam) + 1) / (seam + 1)
    shares = (place * place * (3 - 2 * place))[:, None]
    start = _mixed(
        _rows(sequence, slice(count - seam, count)), _rows(sequence, slice(seam)), shares
    )
    if count == 2 * seam:
        return start
    return _concatenated(start, _rows(sequence, slice(seam, count - seam)))


def _smoothed(rows: np.ndarray, radius: int, strength: float) -> np.ndarray:
    """[T,E] float32: the value at its middle of a weighted line through each window."""
    count, dim = rows.shape
    values = rows.astype(np.float64)
    told = np.maximum(noise_of(rows), 1e-9)
    usual, scatter = _usual_distance(values, told)
    noise = np.maximum(strength * told, 1e-9)
    sums = np.zeros((5, count, dim))  # of weights, of their values, and of those times time
    for shift in range(-radius, radius + 1):
        first, last = max(0, -shift), min(count, count - shift)
        if first >= last:
            continue
        step = values[first + shift : last + shift] - values[first:last]
        time = shift / (radius + 1)
        distance = ((step / noise) ** 2).sum(axis=1, keepdims=True) / 2
        moved = np.maximum(distance - usual - scatter, 0) / scatter
        weight = np.exp(-0.5 * moved**2 - 0.5 * (step / noise / NOISE_REACH) ** 2) * (1 - time**2)
        parts = (weight, weight * time, weight * time**2, weight * step, weight * time * step)
        sums[:, first:last] += np.stack(parts)
    total, ahead, spread, value, slope = sums
    spread = spread + 1e-6  # a number on its own has no slope
    change = (spread * value - ahead * slope) / (spread * total - ahead**2)
    return (values + change).astype(np.float32)


def _usual_distance(values: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """Squared distance of two times between which only noise differs, over all numbers: its median,
    and by how much it is seldom exceeded."""
    if len(values) <= ORDER:
        return 0.0, 1e-9
    bends = ((np.diff(values, n=ORDER, axis=0) / noise) ** 2).sum(axis=1) / comb(2 * ORDER, ORDER)
    median, upper = np.quantile(bends, (0.5, 0.75))
    return float(median), float(NOISE_REACH * (upper - median) + 1e-9)


def _alike(
    one: ExpressionSequence, other: ExpressionSequence
) -> tuple[ExpressionSequence, ExpressionSequence]:
    """Both at the rate of the first; AvatarError where codes differ in length."""
    if one.codes.shape[1] != other.codes.shape[1]:
        found = f"{one.codes.shape[1]} and {other.codes.shape[1]} values"
        raise AvatarError(f"sequences: expected expressions of one length, found {found}")
    if other.header.fps != one.header.fps:
        other = other.resampled(one.header.fps)
    return one, other


def _rows(sequence: ExpressionSequence, part: slice) -> ExpressionSequence:
    return sequence.each(lambda rows: rows[part])


def _together(
    one: ExpressionSequence,
    other: ExpressionSequence,
    change: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> ExpressionSequence:
    """Codes by `change`, and of the other arrays those that both have."""
    sure, pose = None, None
    if one.confidence is not None and other.confidence is not None:
        sure = change(one.confidence[:, None], other.confidence[:, None])[:, 0]
    if one.head_pose_deg is not None and other.head_pose_deg is not None:
        pose = change(one.head_pose_deg, other.head_pose_deg)
    return ExpressionSequence(one.header, change(one.codes, other.codes), sure, pose)


def _mixed(
    one: ExpressionSequence, other: ExpressionSequence, shares: np.ndarray
) -> ExpressionSequence:
    """Of equally many expressions; `shares` [T,1] is the second one's."""
    return _together(one, other, lambda a, b: ((1 - shares) * a + shares * b).astype(np.float32))


def _concatenated(one: ExpressionSequence, other: ExpressionSequence) -> ExpressionSequence:
    return _together(one, other, lambda a, b: np.concatenate([a, b]))
