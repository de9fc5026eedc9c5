"""Text that fits where it is drawn; widgets clip theirs themselves."""

from __future__ import annotations

import dearpygui.dearpygui as dpg


def text_width(text: str, size_px: float) -> float:
    """In letters of that height; a guess before the first drawing, which makes the font."""
    found = dpg.get_text_size(text)
    return found[0] / found[1] * size_px if found else len(text) * size_px / 2


def shortened(text: str, width_px: float, size_px: float) -> str:
    """As much of a text as fits."""
    kept = text
    while text_width(kept, size_px) > width_px and len(kept) > 1:
        kept = f"{kept.removesuffix('…')[:-1].rstrip()}…"
    return kept
