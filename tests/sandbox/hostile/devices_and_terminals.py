# expect: ok error
# Devices of the host, and keys pressed in its terminals.
import fcntl
import os
import termios

PASTE, STUFF = 0x541C, termios.TIOCSTI
for descriptor in (0, 1, 2, 5):
    for request, argument in ((STUFF, b"\n"), (PASTE, b"\x02")):
        try:
            fcntl.ioctl(descriptor, request, argument)
            print("PWNED: terminal", request)
        except OSError:
            pass
for (
    name
) in "tty ptmx pts/0 console tty1 fuse kvm mem loop-control net/tun vhost-vsock sda vda".split():
    try:
        os.open(f"/dev/{name}", os.O_RDWR)
        print("PWNED:", name)
    except OSError:
        pass
