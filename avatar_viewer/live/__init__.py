"""The live loop: render thread and screenshots; no window needed."""
