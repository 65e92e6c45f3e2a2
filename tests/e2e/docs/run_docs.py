#!/usr/bin/env python3
"""
Runs the commands of the documentation. All ```sh blocks of a page, in their order, are one script
that has to end well in an empty directory with this build's tools on the PATH; a command that goes
to the background is ended with the page. `./dev COMMAND`, wherever it stands, has to be a command
that ./dev knows, and a link to a file of ours has to lead to one. TAP, a case for each page and
kind of check that has something to check.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ["SR_SOURCE"], os.environ["SR_BUILD"]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
DEV = re.compile(r"\./dev ([a-z]+)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
# A page's script must not outlive it, nor may what it started: it gets a session of its own.
FRAME = 'set -eu -o pipefail\ntrap "kill $(jobs -p) 2>/dev/null || true" EXIT\n'


def run_blocks(blocks):
    """None, or what went wrong."""
    env = {**os.environ, "PATH": f"{BUILD}/tools:{os.environ['PATH']}", "SR_SOURCE": SOURCE,
           "SR_BUILD": BUILD}
    with tempfile.TemporaryDirectory(prefix="splitring-docs-") as work:
        with subprocess.Popen(["bash", "-c", FRAME + "\n".join(blocks)], cwd=work, env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, start_new_session=True) as shell:
            try:
                # A background command inherits the pipe: what counts is the shell's own end.
                output = shell.communicate(timeout=120)[0]
                problem = f"exit status {shell.returncode}" if shell.returncode else None
            except subprocess.TimeoutExpired as late:
                output = (late.stdout or b"").decode(errors="replace")
                problem = "did not end within 120 s"
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
    return f"{problem}\n{output}" if problem else None


def check_names(text, page, commands):
    unknown = [c for c in DEV.findall(text) if c not in commands]
    if unknown:
        return f"./dev has no command {', '.join(sorted(set(unknown)))}"
    folder = os.path.dirname(os.path.join(SOURCE, page))
    lost = [l for l in LINK.findall(text) if not os.path.exists(os.path.join(folder, l.strip()))]
    return f"links that lead nowhere: {', '.join(lost)}" if lost else None


def main():
    usage = subprocess.check_output([f"{SOURCE}/dev", "help"], text=True)
    commands = set(re.findall(r"^  ([a-z]+)", usage, re.M))
    pages = subprocess.check_output(
        ["find", ".", "-name", "*.md", "-not", "-path", "./build/*", "-not", "-path", "./out/*"],
        cwd=SOURCE, text=True).split()
    number = failed = 0
    for page in sorted(os.path.relpath(p, ".") for p in pages):
        with open(os.path.join(SOURCE, page), encoding="utf-8") as file:
            text = file.read()
        results = []
        if BLOCK.search(text):
            results.append(("commands", run_blocks(BLOCK.findall(text))))
        if DEV.search(text) or LINK.search(text):
            results.append(("names", check_names(text, page, commands)))
        for what, problem in results:
            number += 1
            print(f"{'not ok' if problem else 'ok'} {number} - {page}: {what}")
            for line in (problem or "").splitlines():
                print(f"# {line}")
            failed += bool(problem)
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())
