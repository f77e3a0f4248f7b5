# expect: ok error
import socket

for family, kind, address in (
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 45999)),
    (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 45999)),
    (socket.AF_UNIX, socket.SOCK_STREAM, "\0sbx_canary"),
    (socket.AF_UNIX, socket.SOCK_STREAM, "/tmp/sbx_canary.sock"),
    (socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)),
    (socket.AF_PACKET, socket.SOCK_RAW, ("lo", 0)),
):
    try:
        client = socket.socket(family, kind)
        client.settimeout(0.5)
        client.connect(address)
        print("PWNED:", family, address)
    except OSError:
        pass
# A pair is allowed, and must not become anything else.
one, _ = socket.socketpair()
try:
    one.connect("\0sbx_canary")
    print("PWNED: reconnected")
except OSError:
    pass
