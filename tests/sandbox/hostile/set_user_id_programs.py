# expect: ok error
# Programs that make their callers root, and what the kernel says of this one's rights.
import subprocess

for command in ("su -c id", "unshare -Ur id", "nsenter -t 1 -a id", "setpriv --reuid 0 id"):
    try:
        done = subprocess.run(
            command.split(), capture_output=True, text=True, timeout=1, stdin=subprocess.DEVNULL
        )
        if "uid=0" in done.stdout:
            print("PWNED:", command)
    except (OSError, subprocess.SubprocessError):
        pass
try:
    with open("/proc/self/status") as file:
        status = dict(line.rstrip().split(":\t", 1) for line in file)
except OSError:
    status = {}
for key, wanted in (("NoNewPrivs", "1"), ("CapEff", "0" * 16), ("CapBnd", "0" * 16)):
    if status.get(key, wanted) != wanted:
        print("PWNED:", key, status[key])
