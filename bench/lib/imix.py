"""A capture file of the usual mix of packet sizes, for testpmd to send over and over."""
import os
import struct

# Simple IMIX: 7 packets of 64 bytes, 4 of 594, 1 of 1518, as they are on the wire, with a checksum of 4 bytes.
MIX = {60: 7, 590: 4, 1514: 1}
MEAN = sum(size * count for size, count in MIX.items()) / sum(MIX.values())
ROUNDS = 8


def packet(size):
    """UDP over IPv4 with zeroes in it."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size - 14, 0, 0, 64, 17, 0, bytes((198, 18, 0, 1)), bytes((198, 18, 0, 2)))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~total & 0xffff) + ip[12:]
    head = bytes.fromhex("020000000000 00163e005401 0800") + ip + struct.pack("!HHHH", 9, 9, size - 34, 0)
    return head + bytes(size - len(head))


def sizes():
    """Spread out: the large ones don't come in a row."""
    slots = sum(MIX.values())
    places = sorted((i * slots / count + slots / count / 2, size) for size, count in MIX.items() for i in range(count))
    return [size for _, size in places]


def write(folder):
    path = os.path.join(folder, "imix.pcap")
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for size in sizes() * ROUNDS:
            file.write(struct.pack("=IIII", 0, 0, size, size) + packet(size))
    return path
