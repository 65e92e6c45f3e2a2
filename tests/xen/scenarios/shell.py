"""No checks: boots a host and runs what you type, in dom0 or after `GUEST:` in a guest."""
import re
import sys

from lab.say import Failed, say


def run(lab):
    host = lab.boot()
    say("a line is a command in dom0; `create NAME KIND [DISK]...` makes a guest (KIND: pv, pvh, hvm; DISK in xl's "
        "words), `NAME: COMMAND` runs in it; an empty line or the end of input ends it all")
    with lab.check("the session"):
        for line in iter(sys.stdin.readline, ""):
            if not line.strip():
                break
            try:
                print(obey(host, line.strip()), flush=True)
            except Failed as why:
                print(why, flush=True)


def obey(host, line):
    words = line.split()
    if words[0] == "create" and len(words) > 2:
        host.create(words[1], words[2], words[3:])
        return "created"
    found = re.match(r"(\w+): (.*)", line)
    machine = host.guests.get(found[1]) if found else None
    job = (machine or host).run(found[2] if machine else line, timeout=3600)
    return f"{job.output}[{job.status}]"
