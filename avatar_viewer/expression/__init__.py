"""Expression codes: blending, fitting."""
