"""Linux's own netback in the lab: what the net scenarios compare with works here at all."""
from lab.net import DOM0, DOM0_6, Server, bridge_linux, gbits, iperf, up, vif_linux
from lab.say import say


def run(lab):
    host = lab.boot(dom0_memory=1024)
    bridge_linux(host)
    guest = host.create("a", "pv", vifs=[vif_linux("00:16:3e:00:00:02")])
    up(guest, 2)
    with lab.check("ping and ping -6"):
        guest.good(f"ping -c 3 {DOM0} && ping -6 -c 3 {DOM0_6}")
    with lab.check("iperf3 both ways"), Server(host):
        say(f"out {gbits(iperf(guest, DOM0, '-t 3'))}, in {gbits(iperf(guest, DOM0, '-t 3 -R'))} Gb/s")
