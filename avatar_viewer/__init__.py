"""avatar-viewer: a real-time viewer of diffusion-rendered 3D head avatars."""

__version__ = "0.1.0"
