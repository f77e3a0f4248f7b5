# expect: ok error
# then: import os; print([open(f).read() for f in os.listdir(".")], getattr(os, "mark", ""))
import os

os.mark = "LEFT BEHIND"
os.makedirs("a/b/c", exist_ok=True) if os.access(".", os.W_OK) else None
for path in ("note", "/tmp/left_behind", "/dev/shm/note", "/var/tmp/left_behind", "/left_behind"):
    try:
        with open(path, "w") as file:
            file.write("LEFT BEHIND")
    except OSError:
        pass
os.chmod(".", 0)
