"""Errors that are the machine's and not the file's: permissions, locks, shares that went away, full disks."""

import errno
import os
import re

_WAYS_OUT = {
    "the file is whole, but this user may not read or write it: change its permissions": (errno.EACCES, errno.EPERM),
    "another program or another machine holds a lock on it: wait for it or end it, or copy the file to a local disk": (
        errno.EAGAIN,
        errno.EDEADLK,
        errno.ENOLCK,
        errno.EBUSY,
        errno.ETXTBSY,
        errno.EWOULDBLOCK,
    ),
    "the disk or the share fails, which says nothing about the file: check the mount, then run again": (
        errno.EIO,
        errno.ESTALE,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ECONNRESET,
        errno.EREMOTEIO,
    ),
    "the disk is full: free some space, then run again": (errno.ENOSPC, errno.EDQUOT),
    "too many files are open: raise the limit (ulimit -n) or lower WORKERS": (errno.EMFILE, errno.ENFILE),
}
_BY_NUMBER = {number: way_out for way_out, numbers in _WAYS_OUT.items() for number in numbers}
# libhdf5 puts the system's error into its own text.
_IN_TEXT = re.compile(r"errno = (\d+)")


def environment_trouble(error: BaseException | None) -> str | None:
    """``Input/output error: <way out>`` if the machine is to blame for an error, else None.

    Looks at the error and at those that it came from, which libraries cover with their own.
    """
    while error is not None:
        in_text = _IN_TEXT.search(str(error))
        number = error.errno if isinstance(error, OSError) else None
        number = number or (int(in_text[1]) if in_text else None)
        if number in _BY_NUMBER:
            return f"{os.strerror(number)}: {_BY_NUMBER[number]}"
        error = error.__cause__ or error.__context__
    return None
