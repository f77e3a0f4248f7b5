# expect: ok error
# What the interpreter and the system are made of, to be cut, written to and removed.
import os
import sys
import sysconfig

library = sysconfig.get_paths()["purelib"]
for path in (sys.executable, os.__file__, "/usr/lib", "/etc/passwd", "/etc/ld.so.cache", "/bin/sh"):
    for name, attempt in (
        ("cut", lambda: os.truncate(path, 0)),
        ("open", lambda: open(path, "ab")),
        ("unlink", lambda: os.unlink(path)),
        ("rename", lambda: os.rename(path, path + ".old")),
    ):
        try:
            attempt()
            print("PWNED:", name, path)
        except OSError:
            pass
for folder in (library, os.path.dirname(os.__file__), "/usr/lib", "/etc", "/dev"):
    try:
        open(f"{folder}/pwned.py", "w")
        print("PWNED: a new file in", folder)
    except OSError:
        pass
