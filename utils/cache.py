"""Folders for files that can be made or fetched again."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

FOLDER = "diffpose"


def cache_folders() -> list[Path]:
    """Where such files may lie, best first: the user's cache folder, then one in the temporary folder.

    The first is ``$XDG_CACHE_HOME/diffpose`` or ``~/.cache/diffpose``; a user without a home folder has none. Whoever
    sets XDG_CACHE_HOME gets that folder and no other. The temporary one belongs to this user alone, since a file in it
    is trusted as if it were our own; it is left out where it can't be had. The list may be empty.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return [Path(os.environ["XDG_CACHE_HOME"]) / FOLDER]
    home = os.path.expanduser("~")  # "~" again for a user without an entry and without $HOME
    folders = [Path(home) / ".cache" / FOLDER] if os.path.isabs(home) else []
    with contextlib.suppress(OSError):  # no temporary folder, or somebody else's under our name
        temporary = Path(tempfile.gettempdir()) / f"{FOLDER}-{os.getuid()}"
        temporary.mkdir(mode=0o700, exist_ok=True)
        status = temporary.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
            folders.append(temporary)
    return folders


def cache_folder() -> Path:
    """The first of :func:`cache_folders` that can be written; the first of all when none can, or ``.cache`` here."""
    folders = cache_folders()
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return folders[0] if folders else Path(".cache") / FOLDER
