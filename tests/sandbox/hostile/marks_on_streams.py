# expect: ok error
# then: import fcntl, os, struct; q = struct.pack("hhqqi", 1, 0, 0, 0, 0); print([("LEFT BEHIND", i) for i in (1, 2, 5) if struct.unpack("hhqqi", fcntl.fcntl(i, fcntl.F_GETLK, q))[0] != 2 or os.fstat(i).st_mode & 0o777 != 0o600], [("LEFT BEHIND", i) for i in (0, 1, 2, 5, ".") if 424242 in (os.stat(i).st_mtime_ns % 10**6, os.stat(i).st_atime_ns % 10**6)]); [open(f"/dev/{n}", "a").close() for n in ("stdout", "stderr")]; fcntl.flock(os.open("/dev/null", 0), fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.flock(os.open("/dev/stdout", 1), fcntl.LOCK_EX | fcntl.LOCK_NB)
# Whatever can be set on a descriptor and on what is behind it: locks, times, modes, flags, limits.
import fcntl
import os
import struct

SET_HINT = 1038
for descriptor in (0, 1, 2, 5, os.open(".", os.O_RDONLY)):
    for attempt in (
        lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB),
        lambda: [
            fcntl.fcntl(
                descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, at, 1, 0)
            )
            for at in range(0, 4000, 2)
        ],
        lambda: os.utime(descriptor, ns=(424242, 424242)),
        lambda: os.fchmod(descriptor, 0),
        lambda: fcntl.fcntl(descriptor, SET_HINT, struct.pack("Q", 5)),
        lambda: os.setxattr(descriptor, "user.mail", b"LEFT BEHIND"),
        lambda: fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND | os.O_DIRECT),
        lambda: os.lseek(descriptor, 4242, 0),
    ):
        try:
            attempt()
        except OSError:
            pass
