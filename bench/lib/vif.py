"""A vif between two testpmds: net_xenfront in a guest of the embedded hypervisor, net_xenback in its domain 0."""
from .testpmd import End, Link

# The fewest that testpmd agrees to. A pool of net_xenfront's has a page an mbuf; a backend keeps 1024 mapped for a queue.
GUEST_MBUFS = 1025
RING = 256  # netif's rings are a page
GUEST = "testpmd"
MAC = "00:16:3e:00:54:01"
CONNECTABLE = "2"  # XenbusStateInitWait


class Vif(Link):
    """Each run is a new guest's. static: its packet buffers stay mapped, else each packet is a grant copy."""

    def __init__(self, machine, static, guest_core):
        super().__init__(f"splitring {'mapped' if static else 'copy'}", None, None, "client")
        self.machine, self.static, self.core = machine, static, guest_core
        self.backend = None

    def nodes(self, domid):
        """A vif's, as a toolstack makes them."""
        front, back = f"/local/domain/{domid}/device/vif/0", f"/local/domain/0/backend/vif/{domid}/0"
        store = self.machine.xenstore
        store("write", front, "", back, "")
        store("chmod", front, f"n{domid}", "r0")
        store("chmod", back, "n0", f"r{domid}")
        store("write", f"{front}/backend", back, f"{front}/backend-id", "0", f"{front}/handle", "0",
              f"{front}/mac", MAC, f"{front}/state", "1")
        store("write", f"{back}/frontend", front, f"{back}/frontend-id", str(domid), f"{back}/handle", "0",
              f"{back}/mac", MAC, f"{back}/online", "1", f"{back}/state", "1")
        self.backend = back

    def ready(self):
        return self.machine.xenstore("read", f"{self.backend}/state") == CONNECTABLE

    def create(self):
        config = self.machine.path(f"{GUEST}.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'name = "{GUEST}"\nmemory = 64\nkernel = "/usr/bin/sleep"\nextra = "600"\n')
        self.machine.splitring("create", config)
        return next(d["domid"] for d in self.machine.json("list") if d["name"] == GUEST)

    def run(self, direction, packet, seconds, logs):
        domid = self.create()
        try:
            self.nodes(domid)
            address, build = self.machine.address(), self.machine.build
            self.server = End([f"net_xenback0,hypervisor={address},domid={domid},device=0"], 1 - self.core, self.core,
                              [f"{build}/backends/net/dpdk/librte_net_xenback.so"])
            self.client = End([f"net_xenfront0,hypervisor={address}#{domid},device=0,static={int(self.static)}"],
                              self.core, self.core, [f"{build}/frontends/net/dpdk/librte_net_xenfront.so"],
                              mbufs=GUEST_MBUFS, slots=RING)
            return super().run(direction, packet, seconds, logs)
        finally:
            self.machine.splitring("destroy", GUEST)
