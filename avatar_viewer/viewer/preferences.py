"""What a person prefers whatever avatar is on show: one YAML file in their config folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_config_path

from avatar_viewer.config import from_plain, read_yaml, take_format_version, to_plain, write_yaml
from avatar_viewer.errors import AvatarError
from avatar_viewer.files import make_folder

FORMAT_VERSION = 1
PREFERENCES_FILE, LAST_SESSION_FILE = "preferences.yaml", "last_session.yaml"
MOST_RECENT = 10
ThemeName = Literal["dark", "light"]


@dataclass(frozen=True)
class Preferences:
    """How the window looks, and where it puts files."""

    theme: ThemeName = "dark"
    ui_scale: float = 1.0
    """Of fonts and widgets."""
    screenshot_folder: Path | None = None
    """None: the current folder."""
    screenshot_name: str = "avatar-{date}-{time}"
    """{date}, {time}, {name} (of the avatar) and {layer} are filled in; a number is added where the
    file is there already."""
    screenshot_scale: int = 1
    """How many times as large as the avatar's own size; rendered anew where it is not 1."""
    screenshot_transparent: bool = False
    """Without the background, where the avatar tells opacity."""
    recent: tuple[str, ...] = ()
    """Avatars that were opened, newest first."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.ui_scale <= 3:
            raise AvatarError(f"ui_scale: expected 0.5 to 3, found {self.ui_scale}")
        if not 1 <= self.screenshot_scale <= 4:
            raise AvatarError(f"screenshot_scale: expected 1 to 4, found {self.screenshot_scale}")
        try:
            self.screenshot_name.format(date="", time="", name="", layer="")
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise AvatarError(
                "screenshot_name: expected only {date}, {time}, {name} and {layer}, "
                f"found {self.screenshot_name}"
            ) from error


def config_folder() -> Path:
    """Where preferences and the last session are kept."""
    return user_config_path("avatar-viewer")


def read_preferences(folder: Path, say: Callable[[str], None]) -> Preferences:
    """What the file in `folder` says, or the defaults where there is none.

    A file that cannot be read is set aside under another name, and `say` hears so.
    """
    path = folder / PREFERENCES_FILE
    if not path.exists():
        return Preferences()
    try:
        content = read_yaml(path)
        take_format_version(content, FORMAT_VERSION, str(path))
        return from_plain(content, Preferences, str(path))
    except AvatarError as error:
        say(f"{error}; {set_aside(path)}")
        return Preferences()


def write_preferences(preferences: Preferences, folder: Path) -> None:
    """Raises AvatarError where the folder cannot be written to."""
    make_folder(folder)
    content = {"format_version": FORMAT_VERSION, **to_plain(preferences)}
    write_yaml(content, folder / PREFERENCES_FILE)


def set_aside(path: Path) -> str:
    """Rename a broken file so that it is not read again; what was done, in words."""
    aside = path.with_name(f"{path.name}.broken")
    try:
        path.replace(aside)
    except OSError:
        return "it is not used"
    return f"it was set aside as {aside.name}"
