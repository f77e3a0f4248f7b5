"""What runs on the far side of the wall, in the warm fork server and below it.

```
launcher   a clean interpreter, exec'd by the host: preloads, builds the outer jail, waits
└─ zygote      pid 1 of the outer jail: forks a slot when the host asks for one
   └─ slot         pid 1 of its own jail: confined for good, forks one child per execution
      └─ child         runs one program (or one session) and is gone
```
Each level trusts the one above it only. The modules here import nothing of the library but each
other and `plain`, so that the launcher loads them without the package's own dependencies, and a
child finds none of them in `sys.modules`.
"""
