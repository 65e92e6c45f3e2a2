#!/usr/bin/env python3
"""The manual pages: no warning from roff, and each option that --help tells, and no other."""
import re
import shutil

from harness import SOURCE, SPLITRING, SPLITRINGD, Skip, equal, main, run

PAGES = {SPLITRING: f"{SOURCE}/docs/man/splitring.1", SPLITRINGD: f"{SOURCE}/docs/man/splitringd.8"}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def rendered(page):
    if not shutil.which("groff"):
        raise Skip("groff is not installed")
    status, out, err = run("groff", "-man", "-ww", "-Tutf8", "-P-cbou", page)
    equal((status, err), (0, ""))
    return re.sub(r"[\u2010\u2212]", "-", out)


def test_clean():
    """the pages render without a warning"""
    for page in PAGES.values():
        assert "EXIT STATUS" in rendered(page)


def test_man():
    """man itself has no warning either"""
    if not shutil.which("man"):
        raise Skip("man is not installed")
    for page in PAGES.values():
        status, _, err = run("man", "--warnings", "-l", page, env={
            "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANPAGER": "cat", "MANWIDTH": "80"})
        equal((status, err), (0, ""))


def test_options():
    """each option stands in --help and on the page"""
    for program, page in PAGES.items():
        told = set(OPTION.findall(run(program, "--help")[1]))
        # An example of a page may use the other program's options.
        described = rendered(page).split("EXAMPLES")[0]
        written = set(OPTION.findall(described))
        equal(sorted(told - written), [])
        equal(sorted(written - told), [])


def test_commands():
    """each command of splitring stands on its page"""
    page = rendered(PAGES[SPLITRING])
    for line in run(SPLITRING, "--help")[1].splitlines():
        command = re.match(r"  ([a-z][a-z-]*)( start| stop| list)?\b", line)
        if command:
            words = command[1] + (command[2] or "" if command[1] == "machine" else "")
            assert re.search(rf"^\s+{words}\b", page, re.M), words


main([test_clean, test_man, test_options, test_commands])
