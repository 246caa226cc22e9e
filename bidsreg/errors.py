"""Errors that are written for the person who runs the program."""


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, which file and what to do.

    Raised before any work it ends the run with exit code 2; raised inside a node it fails that pair only.
    """
