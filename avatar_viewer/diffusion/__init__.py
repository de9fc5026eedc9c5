"""Deferred diffusion: GBuffer + expression -> latents -> image."""
