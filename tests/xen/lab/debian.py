"""A whole Debian on a disk image, and a repository of packages; both made once and kept."""
import glob
import os
import shutil
import subprocess

from .release import mirror
from .say import Failed, say
from .scenario import Skipped

PACKAGES = "systemd,systemd-sysv,dbus,udev,login,e2fsprogs,iproute2,kmod"
# What the guest installs: one that needs others.
INSTALLED, OFFERED = "jq", ("jq", "libjq1", "libonig5")
ADDRESS, SERVER = "10.9.0.20", "http://10.9.0.1:8000/"
NETWORK = f"[Match]\nName=e*\n\n[Network]\nAddress={ADDRESS}/24\nLinkLocalAddressing=no\n"


def command(log, *words, **options):
    with open(log, "a", encoding="utf-8") as out:
        out.write(f"$ {' '.join(words)}\n")
        out.flush()
        if subprocess.run(words, stdout=out, stderr=out, check=False, **options).returncode:
            raise Failed(f"{words[0]} failed, see {log}")


def disk(folder, path, size):
    """An image with an ext4 file system of what is in a folder."""
    subprocess.run(["truncate", "-s", size, f"{path}.new"], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", "-d", folder, f"{path}.new"], check=True)
    os.rename(f"{path}.new", path)
    return path


def settle(root):
    """What a fresh root wants to be a guest of the lab: no password, an address, our repository only."""
    def put(name, text):
        with open(f"{root}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    with open(f"{root}/etc/shadow", encoding="utf-8") as file:
        rest = file.read().split(":", 2)[2]
    put("etc/shadow", f"root::{rest}")
    put("etc/fstab", "/dev/xvda / ext4 defaults 0 1\n")
    put("etc/hostname", "debian\n")
    put("etc/systemd/network/lab.network", NETWORK)
    put("etc/apt/sources.list", f"deb [trusted=yes] {SERVER} ./\n")
    wanted = f"{root}/etc/systemd/system/multi-user.target.wants"
    os.makedirs(wanted, exist_ok=True)
    os.symlink("/lib/systemd/system/systemd-networkd.service", f"{wanted}/systemd-networkd.service")
    for path in glob.glob(f"{root}/var/cache/apt/archives/*.deb") + glob.glob(f"{root}/var/lib/apt/lists/*Packages*"):
        os.remove(path)


def debian(release, folder):
    """A disk image of Debian's root file system: systemd and what belongs to it, 1 GiB."""
    path = f"{folder}/debian.ext4"
    if os.path.exists(path):
        return path
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise Skipped("making a Debian needs debootstrap and root")
    say("making a Debian of packages (about 80 MB, some minutes, once)")
    root, log = f"{folder}/debian.root", f"{folder}/debian.log"
    shutil.rmtree(root, ignore_errors=True)
    command(log, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", release.name, root, mirror())
    settle(root)
    disk(root, path, "1G")
    shutil.rmtree(root)
    return path


def repository(folder):
    """A folder of packages with an index, as an http server offers it."""
    path, log = f"{folder}/repo", f"{folder}/repo.log"
    if os.path.exists(f"{path}/Packages"):
        return path
    os.makedirs(path, exist_ok=True)
    command(log, "apt-get", "download", *OFFERED, cwd=path)
    index = subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=path, capture_output=True, check=False)
    if index.returncode or not index.stdout:
        raise Failed(f"dpkg-scanpackages failed: {index.stderr.decode()[-300:]}")
    with open(f"{path}/Packages", "wb") as file:
        file.write(index.stdout)
    return path
