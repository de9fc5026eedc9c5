"""Rasterizing: HeadMesh + Camera -> GBuffer."""
