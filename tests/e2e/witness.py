"""The backend of witness.sluice.test, which the test itself plays: it sees what Sluice sends to a
backend and how it ends."""

import socket

import lab

PORT = 9  # [[backend]] witness of the lab's configuration


class Witness:
    def __init__(self, timeout=10):
        with lab.inside("backend"):
            self.listener = socket.create_server(("", PORT), backlog=64)
        self.listener.settimeout(timeout)
        self.timeout = timeout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(self.timeout)
        return connection


def read_to_end(connection):
    """(bytes, "end" or "reset")"""
    data = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return data, "reset"
        if not piece:
            return data, "end"
        data += piece
