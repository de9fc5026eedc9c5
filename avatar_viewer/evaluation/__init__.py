"""Evaluation: image metrics and timing."""
