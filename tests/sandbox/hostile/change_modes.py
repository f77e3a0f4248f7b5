# expect: ok error
# then: open("file", "w").write("x"); import os; os.mkdir("d"); print("honest", len(os.listdir(".")))
# Modes, times and lengths of what it may not write to, and of the folders around its own.
import os

here = os.getcwd()
parent = os.path.dirname(here)
places = ["/tmp/other_episode", "/tmp/other_episode/secret.txt", "/tmp/other_episode/key"]
places += [parent, here] + [f"{parent}/{number}" for number in range(8)]
places += [os.__file__, os.path.dirname(os.__file__)]
for place in places:
    for attempt in (
        lambda: os.truncate(place, 0),
        lambda: os.close(os.open(place, os.O_RDONLY | os.O_TRUNC)),
        lambda: os.close(os.open(place, 3 | os.O_TRUNC)),
        lambda: os.utime(place, (0, 0)),
        lambda: os.fchmod(os.open(place, os.O_RDONLY), 0),
        lambda: os.chmod(place, 0o4777),
        lambda: os.chown(place, os.getuid(), os.getgid()),
    ):
        try:
            attempt()
        except OSError:
            pass
for place in (*places[3:], ".."):
    try:
        os.chmod(place, 0)
    except OSError:
        pass
