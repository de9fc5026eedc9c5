"""What all tests share: the golden pictures' option, and gpu tests only where there is CUDA."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helper modules of the tests lie here

import golden_pictures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden", action="store_true", help="write the golden pictures anew"
    )


def pytest_configure(config: pytest.Config) -> None:
    golden_pictures.regenerate = config.getoption("--regenerate-golden")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))
