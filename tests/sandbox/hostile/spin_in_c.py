# expect: timeout killed
# One call that never comes back to the interpreter, so no soft interrupt can land.
pow(3, 10**9)
