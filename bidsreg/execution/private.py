"""Who may write into the work folder: Nipype unpickles what lies there, so whoever can runs code as the user."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from bidsreg.errors import InputError

LOGGER = logging.getLogger('bidsreg')

#: The access list of a file on Linux: a version, then entries of a tag, permissions and a number of a user or group.
_ACL = 'system.posix_acl_access'
_HEAD, _ENTRY = struct.Struct('<I'), struct.Struct('<HHI')
_USER, _GROUP_OBJ, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
_WRITE = 0x02


def prepare_work_folder(folder: Path, shared: bool = False) -> None:
    """Make the work folder for this user alone, or see that nobody else may write into the one that is there.

    Parameters
    ----------
    folder
        The work folder. An empty one of this user's is closed to others.
    shared
        Take one that others may write to: they are trusted.

    Raises
    ------
    InputError
        If others may write to it, with what to do; or if it cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        others = others_who_write(folder)
        if others and folder.stat().st_uid == os.geteuid() and not any(folder.iterdir()):
            with contextlib.suppress(OSError):  # a file system without modes
                folder.chmod(0o700)
            others = others_who_write(folder)
    except OSError as error:
        raise InputError(f'The work folder {folder} cannot be written: {error.strerror}.') from error
    if others and not shared:
        raise InputError(
            f'Not only you may write to the work folder {folder}: {others}. Whoever can runs code as you, for files '
            f'there are unpickled. Give another one with -w, such as {folder / "of-mine"}, or close it (chmod 700) if '
            'all in it is yours, or accept it with --shared-work-dir.'
        )
    if others:
        LOGGER.warning('The work folder %s is shared: %s, and is trusted to run code as you', folder, others)


def others_who_write(folder: Path) -> str:
    """Say who besides this user (and root) may write to a folder; empty where nobody may, as far as the system says."""
    facts = folder.stat()
    if facts.st_uid not in (os.geteuid(), 0):
        return f'it belongs to {_user(facts.st_uid)}'
    if facts.st_mode & stat.S_IWOTH:
        return 'everybody may write there'
    for tag, number in _writers(folder, facts):
        if tag == _USER and number not in (os.geteuid(), 0):
            return f'its access list lets {_user(number)} write there'
        if tag in (_GROUP, _GROUP_OBJ) and not _is_own_group(number):
            return f'the group {_group(number)} may write there'
    return ''


def _writers(folder: Path, facts: os.stat_result) -> Iterator[tuple[int, int]]:
    """Yield users and groups that may write, besides the owner: of the access list, or of the mode without one."""
    try:
        text = os.getxattr(folder, _ACL)
    except (OSError, AttributeError):  # none, or not Linux
        if facts.st_mode & stat.S_IWGRP:
            yield _GROUP_OBJ, facts.st_gid
        return
    entries = list(_ENTRY.iter_unpack(text[_HEAD.size :]))
    mask = next((allowed for tag, allowed, _ in entries if tag == _MASK), 0o7)
    for tag, allowed, number in entries:
        if tag in (_USER, _GROUP, _GROUP_OBJ) and allowed & mask & _WRITE:
            yield tag, facts.st_gid if tag == _GROUP_OBJ else number


def _is_own_group(number: int) -> bool:
    """Tell whether a group has this user alone, as on systems where each user has a group of the same name."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:  # a container that knows no names
        return False
    return number == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(number: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f'user {number}'


def _group(number: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
