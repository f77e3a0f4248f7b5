# expect: ok error killed memory
# Memory that a limit on the address space does not see.
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
for name, attempt in (
    ("memfd", lambda: os.memfd_create("x")),
    ("shmget", lambda: libc.shmget(0, 1 << 30, 0o1600)),
    ("mq_open", lambda: libc.mq_open(b"/queue", 0o102, 0o600, None)),
):
    try:
        if attempt() >= 0:
            print("PWNED:", name)
    except (OSError, AttributeError):
        pass
