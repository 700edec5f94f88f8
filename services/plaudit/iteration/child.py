"""`python -m plaudit.iteration.child PARENT COMMAND ...`: `plaudit`, for as long as the process PARENT lives.

A run that is killed without a warning leaves nobody behind who would hold its folders when it is begun again. Linux
alone can say so (`prctl(2)`); elsewhere it is `plaudit` and nothing more.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """The system kills this process when `parent` ends; at once where it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with(int(sys.argv.pop(1)))
    runpy.run_module("plaudit.cli", run_name="__main__", alter_sys=True)
