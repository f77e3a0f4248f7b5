"""The numbers of the system calls that the sandbox names, on x86-64 and on arm64.

Source: the kernel's `asm/unistd_64.h` and `asm-generic/unistd.h`. An entry reads
`name:x86-64[:arm64]`; a single number holds on both, `-` is a call that arm64 never had.
"""

from __future__ import annotations

import platform

_GROUPS = {
    "files": """
        read:0:63 write:1:64 open:2:- close:3:57 stat:4:- fstat:5:80 lstat:6:- newfstatat:262:79
        statx:332:291 poll:7:- ppoll:271:73 select:23:- pselect6:270:72 lseek:8:62 pread64:17:67
        pwrite64:18:68 readv:19:65 writev:20:66 preadv:295:69 pwritev:296:70 preadv2:327:286
        pwritev2:328:287 access:21:- faccessat:269:48 faccessat2:439 pipe:22:- pipe2:293:59
        dup:32:23 dup2:33:- dup3:292:24 sendfile:40:71 flock:73:32 fsync:74:82 fdatasync:75:83
        truncate:76:45 ftruncate:77:46 fallocate:285:47 getdents:78:- getdents64:217:61
        getcwd:79:17 chdir:80:49 fchdir:81:50 rename:82:- renameat:264:38 renameat2:316:276
        mkdir:83:- mkdirat:258:34
        rmdir:84:- creat:85:- openat:257:56 openat2:437 link:86:- linkat:265:37 unlink:87:-
        unlinkat:263:35 symlink:88:- symlinkat:266:36 readlink:89:- readlinkat:267:78 umask:95:166
        mknod:133:- mknodat:259:33 statfs:137:43 fstatfs:138:44 getxattr:191:8 lgetxattr:192:9
        fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13 readahead:187:213
        fadvise64:221:223 splice:275:76 tee:276:77 copy_file_range:326:285 close_range:436
        epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 epoll_wait:232:- epoll_pwait:281:22
        epoll_pwait2:441 eventfd:284:- eventfd2:290:19 timerfd_create:283:85 timerfd_settime:286:86
        timerfd_gettime:287:87 signalfd:282:- signalfd4:289:74 sync_file_range:277:84""",
    "attributes": """
        chmod:90:- fchmod:91:52 fchmodat:268:53 fchmodat2:452 chown:92:- fchown:93:55 lchown:94:-
        fchownat:260:54 utime:132:- utimes:235:- utimensat:280:88 futimesat:261:-""",
    "memory": """
        mmap:9:222 mprotect:10:226 munmap:11:215 brk:12:214 mremap:25:216 msync:26:227
        mincore:27:232 madvise:28:233 membarrier:324:283""",
    "processes": """
        execve:59:221 execveat:322:281 exit:60:93 exit_group:231:94 wait4:61:260 waitid:247:95
        uname:63:160 getpid:39:172 getppid:110:173 gettid:186:178 getpgrp:111:- getpgid:121:155
        setpgid:109:154 getsid:124:156 setsid:112:157 getuid:102:174 geteuid:107:175
        getgid:104:176 getegid:108:177 getgroups:115:158 getresuid:118:148 getresgid:120:150
        getrlimit:97:163 setrlimit:160:164 getrusage:98:165 sysinfo:99:179 times:100:153
        getpriority:140:141 sched_yield:24:124 sched_getparam:143:121 sched_getscheduler:145:120
        sched_get_priority_max:146:125 sched_get_priority_min:147:126
        sched_rr_get_interval:148:127 sched_getaffinity:204:123 sched_getattr:315:275
        capget:125:90 arch_prctl:158:- set_tid_address:218:96 set_robust_list:273:99
        get_robust_list:274:100 rseq:334:293 restart_syscall:219:128 getcpu:309:168 pause:34:-
        pidfd_open:434""",
    "signals": """
        rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136
        rt_sigtimedwait:128:137 rt_sigsuspend:130:133 sigaltstack:131:132 alarm:37:-
        getitimer:36:102 setitimer:38:103""",
    "time": """
        time:201:- gettimeofday:96:169 clock_gettime:228:113 clock_getres:229:114
        clock_nanosleep:230:115 nanosleep:35:101 timer_create:222:107 timer_settime:223:110
        timer_gettime:224:108 timer_getoverrun:225:109 timer_delete:226:111""",
    "locks": "futex:202:98 futex_waitv:449 futex_wake:454 futex_wait:455 futex_requeue:456",
    # Calls on socket pairs, which are as harmless as pipes; `socket` itself is refused.
    "pairs": """
        sendto:44:206 recvfrom:45:207 sendmsg:46:211 recvmsg:47:212 shutdown:48:210
        getsockname:51:204 getpeername:52:205 getsockopt:55:209 setsockopt:54:208""",
    "random": "getrandom:318:278",
    "kill": """
        kill:62:129 tkill:200:130 tgkill:234:131 rt_sigqueueinfo:129:138 rt_tgsigqueueinfo:297:240
        pidfd_send_signal:424""",
    "fork": "fork:57:- vfork:58:-",
    "landlock": "landlock_create_ruleset:444 landlock_add_rule:445 landlock_restrict_self:446",
    "judged": """
        clone:56:220 clone3:435 socket:41:198 socketpair:53:199 ioctl:16:29 prctl:157:167
        prlimit64:302:261 memfd_create:319:279 io_uring_setup:425 io_uring_enter:426
        io_uring_register:427 fcntl:72:25""",
    "setup": "pivot_root:155:41 mount_setattr:442",
}

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(platform.machine(), 0)
"""The kernel's name for this machine's system-call table; 0 where we know no numbers for it."""


def _numbers_of(group: str) -> dict[str, int]:
    column = 2 if platform.machine() == "aarch64" else 1
    numbers = {}
    for entry in _GROUPS[group].split():
        parts = entry.split(":")
        number = parts[min(column, len(parts) - 1)]
        if number != "-":
            numbers[parts[0]] = int(number)
    return numbers


NUMBERS: dict[str, dict[str, int]] = {group: _numbers_of(group) for group in _GROUPS}
"""group → name → number, for this machine."""
