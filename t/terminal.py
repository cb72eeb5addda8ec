#!/usr/bin/env python3
"""Run a program on a terminal of its own: terminal.py ROWS COLS DIR PROGRAM ARG...

What it prints is appended to DIR/screen as it comes. Lines on standard input:
    key HEX        bytes typed
    size ROWS COLS another size
    signal NAME    to the program, as kill does
DIR/status has, when the program has ended, "exit N" or "signal N", and whether
the terminal's settings are "same" as before or "changed". DIR/stopped is there
while it is stopped. The end of standard input ends the program.
"""
import fcntl, os, pty, select, signal, struct, sys, termios

rows, columns, where = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
master, slave = pty.openpty()


def resize(r, c):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', r, c, 0, 0))


def write(name, text):
    with open(where + '/new', 'w') as f:
        f.write(text)
    os.rename(where + '/new', where + '/' + name)


resize(rows, columns)
before = termios.tcgetattr(slave)
# As a shell: the program has a group of its own, which is not an orphan, so that
# it can be stopped.
os.setsid()
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
wait_for, go_on = os.pipe()
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.read(wait_for, 1)
    for fd in 0, 1, 2:
        os.dup2(slave, fd)
    os.closerange(3, 256)
    os.execv(sys.argv[4], sys.argv[4:])
try:
    os.setpgid(pid, pid)
except PermissionError:
    pass    # it has done so, and is further on
os.tcsetpgrp(slave, pid)
os.write(go_on, b'.')
screen = os.open(where + '/screen', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
pending = b''
while True:
    ready, _, _ = select.select([master, 0], [], [], 0.02)
    if master in ready:
        os.write(screen, os.read(master, 65536))
    if 0 in ready:
        data = os.read(0, 4096)
        if not data:
            os.kill(pid, signal.SIGKILL)
        pending += data
        while b'\n' in pending:
            line, pending = pending.split(b'\n', 1)
            words = line.decode().split()
            if words[0] == 'key':
                os.write(master, bytes.fromhex(words[1]))
            elif words[0] == 'size':
                resize(int(words[1]), int(words[2]))
                os.kill(pid, signal.SIGWINCH)
            elif words[0] == 'signal':
                os.kill(pid, getattr(signal, 'SIG' + words[1]))
    got, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
    if got == 0:
        continue
    if os.WIFSTOPPED(status):
        write('stopped', 'same' if termios.tcgetattr(slave) == before else 'changed')
        continue
    if os.WIFCONTINUED(status):
        os.unlink(where + '/stopped')
        continue
    break
while select.select([master], [], [], 0)[0]:
    os.write(screen, os.read(master, 65536))
same = 'same' if termios.tcgetattr(slave) == before else 'changed'
if os.WIFSIGNALED(status):
    write('status', 'signal %d %s' % (os.WTERMSIG(status), same))
else:
    write('status', 'exit %d %s' % (os.WEXITSTATUS(status), same))
