"""avatar-viewer: a real-time viewer of diffusion-rendered 3D head avatars."""

import os

__version__ = "0.1.0"

# torch's threads wait for more work by spinning, some milliseconds by default, and so keep the
# rasterizer's and OpenVINO's from the cores: half as long again for a picture of two cores. GNU's
# OpenMP reads this when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
