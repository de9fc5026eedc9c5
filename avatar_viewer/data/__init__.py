"""Data sets: format, readers, synthetic heads."""
