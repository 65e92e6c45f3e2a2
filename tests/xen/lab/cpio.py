"""An initramfs: a tree of files, written as the kernel wants it (cpio, newc) without being root."""
import os
import stat

MERGED = ("bin", "sbin", "lib", "lib64")  # as in Debian, links into /usr


class Tree:
    """Paths are absolute; what is put below /bin, /lib and so on goes below /usr."""

    def __init__(self):
        self.nodes = {}
        for name in MERGED:
            self.folder(f"/usr/{name}")
            self.nodes[f"/{name}"] = (stat.S_IFLNK | 0o777, f"usr/{name}".encode())
        # What init has for stdout before it has mounted anything.
        self.folder("/dev")
        self.nodes["/dev/console"] = (stat.S_IFCHR | 0o600, b"")

    @staticmethod
    def place(path):
        first = path.split("/")[1]
        return f"/usr{path}" if first in MERGED else path

    def folder(self, path, mode=0o755):
        path = self.place(path)
        if path == "/" or path in self.nodes:
            return
        self.folder(os.path.dirname(path))
        self.nodes[path] = (stat.S_IFDIR | mode, b"")

    def link(self, path, target):
        path = self.place(path)
        self.folder(os.path.dirname(path))
        self.nodes[path] = (stat.S_IFLNK | 0o777, target.encode())

    def data(self, path, content, mode=0o644):
        path = self.place(path)
        self.folder(os.path.dirname(path))
        self.nodes[path] = (stat.S_IFREG | mode, content if isinstance(content, bytes) else content.encode())

    def file(self, path, source):
        """The content is read when the tree is written. Links are followed."""
        path = self.place(path)
        self.folder(os.path.dirname(path))
        mode = 0o755 if os.stat(source).st_mode & 0o111 else 0o644
        self.nodes[path] = (stat.S_IFREG | mode, source)

    def has(self, path):
        return self.place(path) in self.nodes

    def write(self, path):
        with open(f"{path}.new", "wb") as out:
            for number, (name, (mode, content)) in enumerate(sorted(self.nodes.items()), 1):
                if isinstance(content, str):
                    with open(content, "rb") as file:
                        content = file.read()
                device = (5, 1) if stat.S_ISCHR(mode) else (0, 0)
                put(out, name.lstrip("/"), mode, content, number, device)
            put(out, "TRAILER!!!", 0, b"", 0, (0, 0))
        os.rename(f"{path}.new", path)


def put(out, name, mode, content, number, device):
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    out.write(header + name + b"\0" * (-(len(header) + len(name)) % 4))
    out.write(content + b"\0" * (-len(content) % 4))
