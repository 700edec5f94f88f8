"""Errors that end a program with one clear line.

PlauditError
├── ConfigurationError      exit code 2: the user can mend it; raised before any long work starts
├── DependencyUnreachable   exit code 69: a service stayed away past `startup_timeout`; trying again may help
└── RunFailed               exit code 1: the run itself could not go on (too many rewards missing, all workers lost)
    └── WouldEndAgain       exit code 3: begun again, it would come to the same end
"""

TERMINATED = 143
"""Exit code after SIGTERM."""


class PlauditError(Exception):
    """Printed as one line, without a traceback. The message names the thing and the remedy."""

    exit_code = 1


class ConfigurationError(PlauditError):
    """A setting, a file, a model or a data row is wrong."""

    exit_code = 2


class DependencyUnreachable(PlauditError):
    """A service that this program needs did not answer in time."""

    exit_code = 69


class RunFailed(PlauditError):
    """The run cannot go on."""


class WouldEndAgain(RunFailed):
    """The run cannot go on, and neither could the process that goes on from its checkpoint."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
