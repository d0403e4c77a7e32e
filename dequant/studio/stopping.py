"""Why work ends before it is done."""


class Stopped(Exception):
    """The one who asked is gone; nothing is kept."""


class TooLong(Exception):
    """The work has taken more time than it may."""
