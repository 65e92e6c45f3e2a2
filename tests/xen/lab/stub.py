"""Libraries that are there in name only.

Debian's fio and QEMU are linked with Ceph, GlusterFS and more, which nobody calls here; they would make
the images three times as large, and each start of a program takes a second of emulation to link them. A
stub has the name, the symbols and the symbols' versions of the library, and a trap behind each.
"""
import os
import re
import subprocess

NAMES = re.compile(r"lib(rbd|rados|gfapi|nbd|ibverbs|rdmacm|pmem|pmemblk|spice-server|iscsi|nfs|cacard|usb-1|usbredir"
                   r"parser|virglrenderer|ssh|curl|curl-gnutls|gstreamer-1|gstapp-1|gstbase-1|daxctl|ndctl|fuse3|sasl2|"
                   r"brlapi|vdeplug|capstone|cbor|u2f-server|jack|pulse|asound|sndio|pipewire-0|vte-2|gtk-3|SDL2-2)"
                   r"(\.\d+)?\.so(\.\d+)*")
SYMBOL = re.compile(r"\s*\d+: [0-9a-f]+\s+\S+ (FUNC|OBJECT|IFUNC|TLS)\s+(?:GLOBAL|WEAK|UNIQUE) DEFAULT\s+(?!UND|ABS)\S+ "
                    r"([\w.$]+)(?:@@?([\w.]+))?", re.A)


def wanted(name):
    return NAMES.fullmatch(name) is not None


def make(name, source, folder):
    """The path of a stub of the library `source`, below `folder`; made once."""
    path = os.path.join(folder, name)
    if os.path.exists(path):
        return path
    os.makedirs(folder, exist_ok=True)
    text = subprocess.check_output(["readelf", "--dyn-syms", "-W", source], text=True)
    code, versions, seen = [], {}, set()
    for line in text.splitlines():
        found = SYMBOL.match(line)
        # C++ is called by nobody outside of these libraries.
        if not found or found[2] in seen or found[2].startswith("_Z"):
            continue
        seen.add(found[2])
        kind = "object" if found[1] == "OBJECT" else "function"
        code.append(f".globl {found[2]}\n.type {found[2]}, @{kind}\n{found[2]}: ud2\n")
        versions.setdefault(found[3] or "", []).append(found[2])
    with open(f"{path}.s", "w", encoding="ascii") as file:
        file.write(".text\n" + "".join(code) + '.section .note.GNU-stack,"",@progbits\n')
    with open(f"{path}.map", "w", encoding="ascii") as file:
        for version, symbols in versions.items():
            if version:
                file.write(f"{version} {{ {'; '.join(symbols)}; }};\n")
    script = [f"-Wl,--version-script={path}.map"] if set(versions) - {""} else []
    subprocess.run(["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", *script, "-o", f"{path}.new", f"{path}.s"],
                   check=True)
    os.rename(f"{path}.new", path)
    return path
