"""A test program of ours in a machine: each of its cases is a check of the scenario."""
import re

from .say import Failed
from .scenario import Skipped

CASE = re.compile(r"(not )?ok \d+ (- |# SKIP )(.*)")


def run_suite(lab, machine, command, where, timeout=300):
    """`command` prints TAP as cmocka does; `where` begins the name of each check."""
    job = machine.run(f"CMOCKA_MESSAGE_OUTPUT=TAP {command} 2>&1", timeout)
    why, cases = "", 0
    for line in job.output.splitlines():
        found = CASE.fullmatch(line)
        if not found:
            why = line.removeprefix("# skipped: ") if line.startswith("# skipped: ") else why
            continue
        cases += 1
        with lab.check(f"{where}: {found[3].replace('_', ' ')}"):
            if found[2] != "- ":
                raise Skipped(why)
            if found[1]:
                # cmocka says what was wrong after the line, for the last one at the end.
                raise Failed(f"see the log of {machine.channel.name}")
    with lab.check(f"{where}: all cases were run"):
        if job.status or not cases:
            raise Failed(f"status {job.status}\n{job.output[-800:]}")
