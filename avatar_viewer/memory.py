"""How much memory a process takes."""

from __future__ import annotations

import sys
from pathlib import Path


def resident_mb(pid: int) -> tuple[float | None, float | None]:
    """Resident memory of a process now and at its peak, in MB; None where /proc does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None, None
    fields = dict(line.split(":", 1) for line in lines)
    rss, peak = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return rss, peak


def gpu_mb() -> float | None:
    """GPU memory that this process's tensors take, in MB; None where CUDA is not in use."""
    torch = sys.modules.get("torch")  # where nobody has imported it, nothing is in use
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    return cuda.memory_allocated() / 1e6
