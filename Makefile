# Random use of the window, for so many minutes: make soak MINUTES=30
MINUTES ?= 30
SEED ?= 0

.PHONY: soak
soak:
	xvfb-run -a -s "-screen 0 1400x900x24" python tests/viewer/soak.py --minutes $(MINUTES) --seed $(SEED)
