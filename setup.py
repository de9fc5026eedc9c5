"""The wheel carries checkpoints/demo as avatar_viewer/demo; the rest stands in pyproject.toml."""

from setuptools import find_namespace_packages, find_packages, setup

DEMO = "avatar_viewer.demo"
DEMO_FOLDER = "checkpoints/demo"

demo = [DEMO, *(f"{DEMO}.{folder}" for folder in find_namespace_packages(DEMO_FOLDER))]
setup(
    packages=[*find_packages(include=["avatar_viewer", "avatar_viewer.*"]), *demo],
    package_dir={DEMO: DEMO_FOLDER},
    package_data={package: ["*"] for package in demo},
)
