# expect: ok error
import ctypes
import os
import resource

for pid in (1, os.getppid()):
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))
        print("PWNED: limits of", pid)
    except OSError:
        pass
libc = ctypes.CDLL(None)
if libc.prctl(1, 0, 0, 0, 0) == 0:
    print("PWNED: no longer dies with its slot")
if libc.setpriority(0, os.getppid(), 19) == 0 or libc.sched_setaffinity(1, 8, b"\0" * 8) == 0:
    print("PWNED: priorities of others")
