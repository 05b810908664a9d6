"""Python's `ssl` as a client of the interop matrix: client.py VERSION CA LONG SHORT.

One line for each connection: the step, what the client says of its handshake, and the page that the server sent.
"""

import socket
import ssl
import sys

version, ca, long, short = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = ssl.TLSVersion["TLSv" + version.replace(".", "_")]


def connect(step, port, session=None, name="localhost"):
    """One connection, from the handshake to the server's close. Returns the newest session."""
    with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname=name, session=session) as tls:
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            page = b""
            while chunk := tls.recv(4096):
                page += chunk
            # Only now: the tickets of TLS 1.3 come with the page.
            says = "resumed" if tls.session_reused else "full"
            print(step, says, page.decode().splitlines()[-1], flush=True)
            return tls.session


first = connect("full", long)
second = connect("resumed", long, first)
connect("twice", long, first)
# With TLS 1.3 the second is a session that was never used; with TLS 1.2 it is the first again.
connect("name", long, second, "other.localhost")
connect("expired", short, connect("full", short))
