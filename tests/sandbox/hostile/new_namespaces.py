# expect: ok error killed
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
for name, result in (
    ("unshare user", libc.unshare(0x10000000)),
    ("unshare mount", libc.unshare(0x20000)),
    ("mount", libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    ("umount", libc.umount2(b"/tmp", 2)),
    ("chroot", libc.chroot(b"/tmp")),
    ("setuid", libc.setuid(0) if os.getuid() else -1),
    ("setns", libc.setns(0, 0)),
    ("sethostname", libc.sethostname(b"pwned", 5)),
    ("personality", libc.personality(0x0040000)),
    ("clone user", libc.syscall(56, 0x10000011, 0, 0, 0, 0)),
):
    if result >= 0 and os.getpid() > 0:
        print("PWNED:", name)
