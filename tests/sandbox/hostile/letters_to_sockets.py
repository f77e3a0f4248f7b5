# expect: ok error
# A datagram may be addressed anew each time, even from a socket of a pair.
import socket

try:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for address in ("\0sbx_canary_letters", "/tmp/sbx_canary_letters.sock", "/dev/log"):
        try:
            one.sendto(b"PWNED", address)
            print("PWNED: a letter to", address)
        except OSError:
            pass
except OSError:
    pass
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    for address in ("\0sbx_canary_letters", "/tmp/sbx_canary_letters.sock"):
        try:
            one.sendto(b"PWNED", address)
        except OSError:
            pass
    one.send(b"x")
    other.recv(100)
