#!/usr/bin/env python3
"""net-verify PROGRAM finds what is right right, and a byte that was changed on its way wrong."""
import contextlib
import socket
import subprocess
import sys
import threading

PROGRAM = sys.argv[1]
FLIPPED = 300000  # the byte of the stream that the proxy changes


def free_port():
    with socket.socket(socket.AF_INET6) as s:
        s.bind(("::1", 0))
        return s.getsockname()[1]


def serve(port):
    server = subprocess.Popen([PROGRAM, "serve", str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    return server


def pump(source, sink, flip):
    at = 0
    with contextlib.suppress(OSError):  # the client hangs up when it has found it
        while data := bytearray(source.recv(65536)):
            if flip and at <= FLIPPED < at + len(data):
                data[FLIPPED - at] ^= 0x10
            at += len(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def proxy(listener, port):
    ours = listener.accept()[0]
    theirs = socket.create_connection(("::1", port))
    for args in ((ours, theirs, False), (theirs, ours, True)):
        threading.Thread(target=pump, args=args, daemon=True).start()


def right():
    port = free_port()
    server = serve(port)
    client = subprocess.run([PROGRAM, "run", "::1", str(port), "1", "7"], capture_output=True, text=True, timeout=60)
    server.wait(20)
    print(client.stdout, client.stderr, file=sys.stderr)
    return client.returncode == 0 and server.returncode == 0 and "received and right" in client.stdout


def wrong():
    port = free_port()
    server = serve(port)
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    threading.Thread(target=proxy, args=(listener, port), daemon=True).start()
    client = subprocess.run([PROGRAM, "run", "::1", str(listener.getsockname()[1]), "2", "7"], capture_output=True,
                            text=True, timeout=60)
    server.kill()
    return client.returncode == 1 and f"WRONG: TCP at byte {FLIPPED - 16}" in client.stdout


print("1..2")
for number, case in enumerate((right, wrong), 1):
    print(f"{'ok' if case() else 'not ok'} {number} - {case.__name__}")
