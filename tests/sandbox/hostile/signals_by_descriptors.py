# expect: ok error
# Has the kernel send the signals that it may not send itself.
import fcntl
import os
import socket
import struct

SET_SIGNAL, SET_OWNER_EX, LEASE, NOTIFY = 10, 15, 1024, 1026
FIOASYNC, FIOSETOWN, SIOCSPGRP = 0x5452, 0x8901, 0x8902

around = [1, *range(max(1, os.getppid() - 24), os.getppid() + 1)]
reading, writing = os.pipe()
ours, theirs = socket.socketpair()
for end, other in ((reading, writing), (ours.fileno(), theirs.fileno())):
    for pid in around:
        for name, attempt in (
            ("signal", lambda: fcntl.fcntl(end, SET_SIGNAL, 9)),
            ("owner", lambda: fcntl.fcntl(end, fcntl.F_SETOWN, pid)),
            ("group", lambda: fcntl.fcntl(end, fcntl.F_SETOWN, -pid)),
            ("owner ex", lambda: fcntl.fcntl(end, SET_OWNER_EX, struct.pack("ii", 1, pid))),
            ("own", lambda: fcntl.ioctl(end, FIOSETOWN, struct.pack("i", pid))),
            ("pgrp", lambda: fcntl.ioctl(end, SIOCSPGRP, struct.pack("i", pid))),
            ("async", lambda: fcntl.fcntl(end, fcntl.F_SETFL, os.O_ASYNC)),
            ("fioasync", lambda: fcntl.ioctl(end, FIOASYNC, struct.pack("i", 1))),
        ):
            try:
                attempt()
                print("PWNED:", name, pid)
            except OSError:
                pass
        os.write(other, b"x")
with open("file", "w") as file:
    try:
        fcntl.fcntl(file, LEASE, 1)
        print("PWNED: lease")
    except OSError:
        pass
folder = os.open(".", os.O_RDONLY)
try:
    fcntl.fcntl(folder, NOTIFY, 4)
    print("PWNED: notify")
except OSError:
    pass
