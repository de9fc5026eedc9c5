"""`python -m avatar_viewer` is `avatar-viewer`."""

import sys

from avatar_viewer.cli import main

sys.exit(main())
