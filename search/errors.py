"""The exceptions of ratchetree. A failed experiment is data (`Failure`); an exception means the harness cannot go on.

RatchetreeError         the work cannot be done; one line, exit code 1
├── WrongUse            what was asked for cannot be: what was given, what is allowed, what to do; exit code 2
├── MainMoved           somebody else moved main during the campaign
└── Unavailable         a model cannot be asked now; never leaves the campaign, which tries again when it is resumed
"""


class RatchetreeError(Exception):
    """Base class; the message is one line for the user."""

    exit_code = 1


class WrongUse(RatchetreeError):
    """The user asked for something that cannot be; nothing was changed."""

    exit_code = 2


class Unavailable(RatchetreeError):
    """The campaign is stopping while a model's server does not answer: the step is left for the next run."""


class MainMoved(RatchetreeError):
    """main is not where the ratchet left it."""
