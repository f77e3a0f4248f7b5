# expect: ok error
import os

places = [
    "/etc/shadow", "/proc/1/environ", "/proc/self/environ", "/tmp/other_episode/key",
    "/tmp/other_episode/secret.txt", "/proc/1/root/tmp/other_episode/secret.txt",
    f"/proc/self/root/{os.pardir}/tmp/other_episode/secret.txt", "/proc/1/cwd/secret.txt",
    f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/mem", "/dev/mem", "/dev/kmsg",
]  # fmt: skip
for place in places:
    try:
        with open(place, "rb") as file:
            print(place, file.read(4096))
            if place.startswith(("/etc/shadow", "/dev/", "/tmp/other_episode")):
                print("PWNED:", place)
    except OSError:
        pass
print(dict(os.environ))
