"""The wheel carries checkpoints/demo as avatar_viewer/demo and assets/fonts as avatar_viewer/fonts;
the rest stands in pyproject.toml."""

from setuptools import find_namespace_packages, find_packages, setup

CARRIED = {"avatar_viewer.demo": "checkpoints/demo", "avatar_viewer.fonts": "assets/fonts"}

carried = [
    *CARRIED,
    *(f"{name}.{f}" for name, folder in CARRIED.items() for f in find_namespace_packages(folder)),
]
setup(
    packages=[*find_packages(include=["avatar_viewer", "avatar_viewer.*"]), *carried],
    package_dir=CARRIED,
    package_data={package: ["*"] for package in carried},
)
