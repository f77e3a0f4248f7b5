# expect: ok error
# Makes the pipes so small that the next program's account does not fit.
import fcntl

for descriptor in (1, 2, 5):
    for size in (4096, 1 << 20):
        try:
            fcntl.fcntl(descriptor, 1031, size)
            print("PWNED: pipe size", descriptor, size)
        except OSError:
            pass
