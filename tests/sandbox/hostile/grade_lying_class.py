# mode: grade
# expect: fail
# Looks like numpy's scalar, so that the harness asks it for its plain value.
class Scalar:
    __module__ = "numpy"

    def tolist(self):
        return [self]


def add(a, b):
    return Scalar()
