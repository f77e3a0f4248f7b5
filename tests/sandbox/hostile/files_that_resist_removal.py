# expect: ok error killed timeout
# then: import os; print("LEFT BEHIND" if os.listdir(".") else "clean")
import os

os.mkdir("x")
os.chdir("x")
for depth in range(400):
    os.mkdir("y" * 200)
    os.chdir("y" * 200)
open("file", "w").close()
os.chmod(".", 0)
