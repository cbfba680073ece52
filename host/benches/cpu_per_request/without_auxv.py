"""Runs a program whose system calls for the auxiliary vector fail: without_auxv.py PROGRAM ARGUMENT...

The kernel's answer (prctl PR_GET_AUXV, Linux 6.4) names the vDSO, which is not there under valgrind, and rustix believes
it. /proc/self/auxv, which it reads otherwise, valgrind puts right.
"""

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
PR_GET_AUXV = 0x41555856
ALLOW, FAIL_WITH_EINVAL = 0x7FFF0000, 0x00050016
PRCTL = {"x86_64": 157, "aarch64": 167}[platform.machine()]

LOAD, IS_EQUAL, RETURN = 0x20, 0x15, 0x06
RULES = [
    (LOAD, 0, 0, 0),  # the number of the call
    (IS_EQUAL, 0, 3, PRCTL),
    (LOAD, 0, 0, 16),  # its first argument
    (IS_EQUAL, 0, 1, PR_GET_AUXV),
    (RETURN, 0, 0, FAIL_WITH_EINVAL),
    (RETURN, 0, 0, ALLOW),
]


class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("rules", ctypes.c_char_p)]


# Aligned as `struct sock_filter` is; ctypes adds what is between the fields.
program = Program(len(RULES), b"".join(struct.pack("HBBI", *rule) for rule in RULES))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in [
    (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
]:
    if libc.prctl(*arguments) != 0:
        sys.exit(f"{sys.argv[0]}: prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
