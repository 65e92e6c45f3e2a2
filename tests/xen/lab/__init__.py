"""The lab: a real Xen host under QEMU's emulation, driven from outside. See docs/xen.md."""
