"""Measuring an avatar on this machine."""
