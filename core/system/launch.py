"""Ties a process down, then becomes another program. Run by file name, never imported:

    python -I -S launch.py PARENT_PID NICE [RLIMIT_NAME=NUMBER ...] -- PROGRAM [ARGUMENT ...]

This is what `subprocess`'s preexec_fn is for, but that is unsafe in a program with threads; and
util-linux's setpriv and prlimit are not on every machine (macOS, slim containers). Costs about 9 ms.
Standard library only, and as little of it as possible.
"""

import ctypes
import os
import resource
import sys

#: linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, SIGKILL = 1, 38, 9


def main(parent: int, niceness: int, limits: list[str], program: list[str]) -> None:
    """Does not return: the process becomes `program`, or ends with status 1 and a line on stderr."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was asked for
        sys.exit("the parent is gone")
    os.nice(niceness)
    for limit in limits:
        name, number = limit.split("=")
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        wanted = int(number) if hard == resource.RLIM_INFINITY else min(int(number), hard)
        try:
            resource.setrlimit(which, (wanted, wanted))
        except (OSError, ValueError):
            if sys.platform == "linux":
                raise  # elsewhere some limits exist by name only
    try:
        os.execv(program[0], program)  # noqa: S606 (no shell is the point)
    except OSError as error:
        sys.exit(f"cannot run {os.path.basename(program[0])}: {error.strerror}")


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:split], sys.argv[split + 1 :])
