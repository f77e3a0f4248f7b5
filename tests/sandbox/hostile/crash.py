# expect: killed
import ctypes

ctypes.memset(8, 0, 64)
