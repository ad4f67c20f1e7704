#!/usr/bin/python3
"""An echo server for the lab, IPv4 and IPv6: echo_server.py PORT.

One thread a connection, blocking calls: a peer that does not read makes send wait, and then
nothing more is read from it, so that a connection never holds more than its one buffer. At the
peer's end of stream everything has been sent back already; the write side is shut down and the
connection closed in order.
"""

import contextlib
import socket
import sys
import threading

BUFFER_BYTES = 256 * 1024


def echo(connection):
    buffer = bytearray(BUFFER_BYTES)
    view = memoryview(buffer)
    with connection, contextlib.suppress(ConnectionError, TimeoutError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while received := connection.recv_into(buffer):
            connection.sendall(view[:received])
        connection.shutdown(socket.SHUT_WR)


def main(port):
    threading.stack_size(256 * 1024)
    with socket.create_server(
        ("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
    ) as listener:
        print(f"echo: listening on port {port}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=echo, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
