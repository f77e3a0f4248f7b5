# expect: ok error killed timeout
# then: import os; print("LEFT BEHIND" if os.listdir(".") else "clean")
# Deeper than any recursion goes, and shut on the way; one made so that nobody may look into it.
import os

try:
    os.chmod("..", 0)
except OSError:
    pass
os.mkdir("blind", 0o300)
with open("blind/file", "w") as file:
    file.write("x")
os.mkdir("shut", 0)
for depth in range(3000):
    os.mkdir("d")
    os.chdir("d")
