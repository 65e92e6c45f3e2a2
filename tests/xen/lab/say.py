"""How the lab talks to the person who runs it."""
import sys
import time

START = time.monotonic()


class Failed(Exception):
    """Something that a person has to know; the message says what, and what to do."""


def say(text):
    """A line of progress. TAP readers take it for a comment."""
    print(f"# {time.monotonic() - START:6.1f} s  {text}", flush=True)


def warn(text):
    print(f"xen: {text}", file=sys.stderr, flush=True)
