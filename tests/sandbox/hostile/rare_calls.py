# expect: ok error killed
import ctypes
import platform

libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(512)
calls = {
    "ptrace": (101, 16, 1, 0, 0), "bpf": (321, 0, buffer, 72), "userfaultfd": (323, 1),
    "perf_event_open": (298, buffer, 0, -1, -1, 0), "add_key": (248, b"user", b"k", b"v", 1, -4),
    "keyctl": (250, 0, -4, 1), "io_uring_setup": (425, 4, buffer), "syslog": (103, 3, buffer, 512),
    "open_by_handle_at": (304, -100, buffer, 0), "process_vm_readv": (310, 1, buffer, 1, buffer, 1, 0),
    "pidfd_getfd": (438, 0, 0, 0), "memfd_secret": (447, 0), "quotactl": (179, 0, 0, 0, 0),
    "swapon": (167, b"/tmp/x", 0), "iopl": (172, 3), "modify_ldt": (154, 0, buffer, 16),
    "setxattr": (188, b".", b"user.note", b"x", 1, 0), "fanotify_init": (300, 0, 0),
}  # fmt: skip
if platform.machine() == "x86_64":
    for name, arguments in calls.items():
        if libc.syscall(*arguments) >= 0:
            print("PWNED:", name)
