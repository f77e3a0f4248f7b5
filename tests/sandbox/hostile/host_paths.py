# expect: ok error
# What started it, and where, is nobody's business in here.
import os
import sys

texts = [" ".join(sys.orig_argv), " ".join(sys.argv), repr(dict(os.environ))]
for name in ("cmdline", "environ"):
    for pid in ("self", str(os.getppid()), "1"):
        try:
            with open(f"/proc/{pid}/{name}", errors="replace") as file:
                texts.append(file.read())
        except OSError:
            pass
for text in texts:
    if "host_pid" in text or "preload" in text:
        print("PWNED:", text)
