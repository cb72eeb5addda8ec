#!/usr/bin/env python3
"""A program of the driver worker, for tests: does with each job what its data
asks for, and is as bad as it can be.

A job's data is {"do": [STEP, ...]}; a step is a list:

    ["say", TEXT]         a line on standard output, as it is
    ["raw", HEX]          bytes there
    ["err", TEXT]         a line on standard error
    ["flood", FD, BYTES]  so many bytes without a newline
    ["sleep", SECONDS]    meanwhile it does nothing else
    ["later", SECONDS, STEP, ...]   the other steps after a while
    ["await", NAME]       the other steps when {"cancel"} came for the job
    ["file", PATH, TEXT]  a line appended to a file
    ["sh", TEXT]          what a shell is to do
    ["spin", SECONDS]     so much processor time
    ["grow", MIB]         so much memory
    ["die", SIGNAL]       ["exit", STATUS]  ["close", FD]
    ["daemon", SECONDS]   leaves a process behind that has its pipes
    ["fork", SECONDS]     starts a process, which has not

In a TEXT @id, @token and @attempt are the job's, and @pid is the program's.

Arguments: options of the program itself: never-ready, slow-ready=S, deaf (reads
nothing after the first job), stubborn (ignores cancel and quit), exit-ready=N
(exits with N instead of being ready), start-text=TEXT, once (exits with 0 after
each job), heard=PATH (all that it is told goes there).
"""
import json, os, signal, sys, threading, time

options = dict(a.partition("=")[::2] for a in sys.argv[1:])
lock = threading.Lock()
waiting = {}
memory = []


def out(data):
    with lock:
        while data:
            data = data[os.write(1, data):]


def say(message):
    out(json.dumps(message).encode() + b"\n")


def named(text, job):
    names = {"id": job["id"], "token": job["token"], "attempt": job["attempt"], "pid": os.getpid()}
    for name, value in names.items():
        text = text.replace("@" + name, str(value))
    return text


def step(job, what, *args):
    if what == "say":
        out(named(args[0], job).encode() + b"\n")
    elif what == "raw":
        out(bytes.fromhex(args[0]))
    elif what == "err":
        os.write(2, named(args[0], job).encode() + b"\n")
    elif what == "flood":
        with lock:  # in one piece, or another job's message would end the line
            block, left = b"x" * 65536, args[1]
            while left > 0:
                left -= os.write(args[0], block[:left])
    elif what == "sleep":
        time.sleep(args[0])
    elif what == "file":
        fd = os.open(args[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, named(args[1], job).encode() + b"\n")
        os.close(fd)
    elif what == "sh":
        if os.system(named(args[0], job)) != 0:
            raise RuntimeError(args[0])
    elif what == "grow":
        memory.append(b"x" * (args[0] << 20))
    elif what == "spin":
        until = time.process_time() + args[0]
        while time.process_time() < until:
            pass
    elif what == "die":
        os.kill(os.getpid(), args[0])
    elif what == "exit":
        os._exit(args[0])
    elif what == "close":
        os.close(args[0])
    elif what in ("daemon", "fork"):
        if os.fork() == 0:
            if what == "daemon":
                os.setsid()
            else:
                os.closerange(0, 3)
            os.execlp("sleep", "sleep", str(args[0]))
    else:
        raise ValueError(what)


def do(job, steps):
    for at, s in enumerate(steps):
        if s[0] == "later":
            threading.Timer(s[1], do, (job, list(s[2:]) + steps[at + 1:])).start()
            return
        if s[0] == "await":
            waiting[job["id"]] = (job, steps[at + 1:])
            return
        step(job, *s)


def main():
    if "start-text" in options:
        print(options["start-text"], file=sys.stderr, flush=True)
    if "exit-ready" in options:
        os._exit(int(options["exit-ready"]))
    while line := sys.stdin.buffer.readline():
        if "heard" in options:
            with open(options["heard"], "ab") as f:
                f.write(line)
        message = json.loads(line)
        if "hello" in message:
            time.sleep(float(options.get("slow-ready", 0)))
            if "never-ready" not in options:
                say({"ready": {}})
        elif "job" in message:
            job = message["job"]
            do(job, job["data"].get("do") or [["say", '{"done":{"id":@id,"result":{"pid":%d}}}' % os.getpid()]])
            if "once" in options:
                os._exit(0)
            while "deaf" in options:
                time.sleep(1000)
        elif "cancel" in message and "stubborn" not in options:
            job, steps = waiting.pop(message["cancel"]["id"], (None, None))
            if job is not None:
                do(job, steps)
        elif "quit" in message and "stubborn" not in options:
            os._exit(0)
    while "stubborn" in options:
        time.sleep(1000)
    os._exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN)
main()
