"""What a release of Debian gives the lab: its Xen, its kernel and its programs, unpacked and not installed.

apt works on a state of its own below the cache, so that nothing of this machine changes and a release
other than this machine's can be had from the same mirror.
"""
import contextlib
import os
import shutil
import subprocess

from .say import Failed, say

# Programs come with what they depend on. The kernel and the hypervisor come alone.
PROGRAMS = ["xenstore-utils", "qemu-system-xen", "fio", "busybox-static", "e2fsprogs", "bash", "util-linux",
            "iproute2", "iperf3", "ethtool", "tcpdump"]
RELEASES = {"bookworm": "4.17", "trixie": "4.20"}


def mirror():
    """Where this machine's apt gets Debian's main archive from."""
    lines = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT) $(CREATED_BY)"],
        text=True).splitlines()
    for line in lines:
        uri, suite, component, kind = line.split()
        if component == "main" and kind == "Packages" and "-" not in suite and "security" not in uri:
            return uri
    raise Failed("apt knows no mirror of Debian here (apt-get indextargets)")


class Release:
    """A release of Debian. `root` is where its packages lie unpacked, once fetch() is done."""

    def __init__(self, name, cache):
        if name not in RELEASES:
            raise Failed(f"no release is called '{name}': {', '.join(RELEASES)}")
        self.name = name
        self.xen = RELEASES[name]
        self.folder = os.path.join(os.path.abspath(cache), name)
        self.root = os.path.join(self.folder, "root")

    def apt(self, *words):
        """The words of an apt command that works on our state."""
        state = os.path.join(self.folder, "apt")
        options = {
            "Dir::State::lists": f"{state}/lists", "Dir::State::status": f"{state}/status",
            "Dir::State::extended_states": f"{state}/extended_states",
            "Dir::Cache::archives": f"{state}/archives", "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "", "Dir::Etc::sourcelist": f"{state}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
            "Acquire::Languages": "none", "Acquire::Retries": "3", "Dpkg::Use-Pty": "0",
        }
        if os.geteuid() == 0:
            options["APT::Sandbox::User"] = "root"
        return [words[0], "-q", *(f"-o{key}={value}" for key, value in options.items()), *words[1:]]

    def run(self, log, *words):
        """Runs an apt command and appends what it says to the log; gives what it printed."""
        done = subprocess.run(self.apt(*words), capture_output=True, text=True, check=False,
                              cwd=os.path.join(self.folder, "apt", "archives"))
        log.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}\n")
        log.flush()
        if done.returncode:
            raise Failed(f"{words[0]} {words[1]} failed, see {log.name}:\n{done.stderr.strip()[-600:]}")
        return done.stdout

    def fetch(self):
        """Downloads and unpacks, once."""
        done = os.path.join(self.folder, "unpacked")
        what = " ".join(PROGRAMS) + "\n"
        with contextlib.suppress(FileNotFoundError), open(done, encoding="ascii") as file:
            if file.read() == what:
                return
        say(f"fetching Xen {self.xen} and a kernel of {self.name} (about 130 MB, a minute or two)")
        state = os.path.join(self.folder, "apt")
        for path in ("lists/partial", "archives/partial"):
            os.makedirs(os.path.join(state, path), exist_ok=True)
        with open(f"{state}/status", "w", encoding="ascii"):
            pass
        with open(f"{state}/sources.list", "w", encoding="ascii") as file:
            file.write(f"deb {mirror()} {self.name} main\n")
        with open(f"{self.folder}/fetch.log", "w", encoding="utf-8") as log:
            self.run(log, "apt-get", "update")
            depends = self.run(log, "apt-cache", "depends", "linux-image-amd64")
            kernel = next(line.split()[1] for line in depends.splitlines() if "Depends:" in line)
            self.run(log, "apt-get", "download", kernel, f"xen-hypervisor-{self.xen}-amd64")
            self.run(log, "apt-get", "install", "-y", "--no-install-recommends", "--download-only",
                     f"xen-utils-{self.xen}", *PROGRAMS)
        shutil.rmtree(self.root, ignore_errors=True)
        archives = f"{state}/archives"
        for package in sorted(os.listdir(archives)):
            if package.endswith(".deb"):
                subprocess.run(["dpkg-deb", "-x", f"{archives}/{package}", self.root], check=True)
        shutil.rmtree(archives)
        shutil.rmtree(f"{state}/lists")
        with open(done, "w", encoding="ascii") as file:
            file.write(what)

    def kernel_version(self):
        """As uname -r says it."""
        return os.listdir(self.path("lib/modules"))[0]

    def path(self, name):
        """A file of the release; /usr/lib and /lib are one, and so on."""
        for prefix in ("", "usr/"):
            found = os.path.join(self.root, prefix + name.lstrip("/"))
            if os.path.lexists(found):
                return found
        if name.lstrip("/").startswith("usr/"):
            return os.path.join(self.root, name.lstrip("/")[4:])
        return os.path.join(self.root, name.lstrip("/"))
