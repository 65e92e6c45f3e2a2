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
                    r"([\w.$]+)(?:(@@?)([\w.]+))?", re.A)


def wanted(name):
    return NAMES.fullmatch(name) is not None


def symbols(text):
    """What a library defines, by readelf's word: {name: (kind, its newest version or "")}."""
    found = {}
    for line in text.splitlines():
        match = SYMBOL.match(line)
        # C++ is called by nobody outside of these libraries.
        if match and not match[2].startswith("_Z") and (match[2] not in found or match[3] == "@@"):
            found[match[2]] = ("object" if match[1] == "OBJECT" else "function", match[4] or "")
    return found


def make(name, source, folder):
    """The path of a stub of the library `source`, below `folder`; made once for each state of that."""
    path = os.path.join(folder, name)
    time = os.stat(source).st_mtime_ns
    if os.path.exists(path) and os.stat(path).st_mtime_ns == time:
        return path
    os.makedirs(folder, exist_ok=True)
    text = subprocess.check_output(["readelf", "--dyn-syms", "-W", source], text=True)
    code, versions = [], {}
    for symbol, (kind, version) in symbols(text).items():
        code.append(f".globl {symbol}\n.type {symbol}, @{kind}\n{symbol}: ud2\n")
        versions.setdefault(version, []).append(symbol)
    with open(f"{path}.s", "w", encoding="ascii") as file:
        file.write(".text\n" + "".join(code) + '.section .note.GNU-stack,"",@progbits\n')
    with open(f"{path}.map", "w", encoding="ascii") as file:
        for version, names in versions.items():
            if version:
                file.write(f"{version} {{ {'; '.join(names)}; }};\n")
    script = [f"-Wl,--version-script={path}.map"] if set(versions) - {""} else []
    subprocess.run(["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", *script, "-o", f"{path}.new", f"{path}.s"],
                   check=True)
    os.utime(f"{path}.new", ns=(time, time))
    os.rename(f"{path}.new", path)
    return path
