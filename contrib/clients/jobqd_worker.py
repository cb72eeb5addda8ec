"""Workers for jobqd in Python: the protocol of jobqd-worker(7).

    from jobqd_worker import Fail, Worker

    worker = Worker()

    @worker.handler("resize")
    def resize(job):                  # in a thread; "async def" runs in the loop
        if "url" not in job.data:
            raise Fail("data lacks url", "validation")
        job.progress(50, "half of it")
        return {"width": 640}         # the result, any JSON

    worker.run()

In the configuration: handlers: {app: {driver: worker, argv: [python3, app.py]}}.
As many jobs run at once as in_flight says: plain functions in threads,
coroutines in one asyncio loop. What an exception says fails its job, class
error, with the trace in the job's log. What is printed to standard output is in
the log of the job, as is standard error. Needs Python 3.8 and nothing else.

Put this file beside your program; it may be changed and used for any purpose.
"""

import asyncio
import inspect
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Cancelled", "Fail", "Job", "Worker"]


class Fail(Exception):
    """Fails the job; class_ is one of error, validation, rate_limit, auth,
    network, timeout and resource, retry_after a number of seconds."""

    def __init__(self, message, class_="error", retry_after=None):
        super().__init__(message)
        self.class_ = class_
        self.retry_after = retry_after


class Cancelled(Fail):
    """What job.check() raises when the job is to stop."""

    def __init__(self):
        super().__init__("cancelled")


class Job:
    """One attempt of one job: id, token, queue, type, data, attempt,
    max_attempts, tenant, deadline, and what to tell while it runs."""

    def __init__(self, worker, fields):
        self._worker = worker
        self._stop = threading.Event()
        self._task = None
        self.queue = worker.queue
        for name in ("id", "token", "type", "data", "attempt", "max_attempts",
                     "tenant", "deadline"):
            setattr(self, name, fields.get(name))

    @property
    def cancelled(self):
        """Somebody wants the job to stop, or its time is over. A coroutine is
        cancelled by asyncio as well."""
        return self._stop.is_set()

    def check(self):
        """Raises Cancelled when the job is to stop: call it now and then."""
        if self._stop.is_set():
            raise Cancelled()

    def wait(self, seconds):
        """Sleeps so long; raises Cancelled at once when the job is to stop."""
        if self._stop.wait(seconds):
            raise Cancelled()

    def progress(self, pct=None, note=None):
        """How far it is, 0 to 100, and a word on it or partial results."""
        said = {"id": self.id}
        if pct is not None:
            said["pct"] = pct
        if note is not None:
            said["note"] = note
        self._worker._say({"progress": said})

    def log(self, text):
        """Lines to be kept with this job alone."""
        for line in str(text).splitlines():
            self._worker._say({"log": {"id": self.id, "line": line}})

    def enqueue(self, queue, type="", data=None, **more):
        """Puts in a job, if and when this one is done. more: the other
        arguments of jobq.enqueue(), as priority, delay or unique_key."""
        self._worker._say({"enqueue": {"id": self.id, "queue": queue,
                                       "type": type, "data": data or {}, **more}})


class Worker:
    def __init__(self):
        self.queue = None
        self._handlers = {}
        self._jobs = {}
        self._tasks = set()
        self._pool = None
        self._lock = threading.Lock()
        self._out = None

    def handler(self, *types):
        """Decorates what runs jobs of these types, or without any, of all
        others."""
        def register(function):
            for type_ in types or (None,):
                self._handlers[type_] = function
            return function
        return register

    def enqueue(self, queue, type="", data=None, **more):
        """Puts in a job at once, whatever becomes of those that run."""
        self._say({"enqueue": {"queue": queue, "type": type,
                               "data": data or {}, **more}})

    def run(self):
        """Serves until jobqd says quit, and returns when all jobs have ended."""
        # Whatever prints, and what it starts, prints to the log.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        sys.stdout.flush()
        os.dup2(2, 1)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
        asyncio.run(self._serve())

    def _say(self, message):
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
        with self._lock:
            self._out.write(text + "\n")
            self._out.flush()

    async def _serve(self):
        loop = asyncio.get_running_loop()
        lines = asyncio.Queue()

        def put(line):
            try:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            except RuntimeError:  # the loop is closed, as after quit
                pass

        def read():
            # Not by sys.stdin: this thread would hold its lock when the
            # interpreter ends, which aborts if it finds it held.
            parts = []
            while data := os.read(0, 65536):
                head, *rest = data.split(b"\n")
                parts.append(head)
                for part in rest:
                    put(b"".join(parts))
                    parts = [part]
            put(None)

        threading.Thread(target=read, daemon=True).start()
        while True:
            line = await lines.get()
            if line is None or not self._take(json.loads(line)):
                break
            await asyncio.sleep(0)  # what is cancelled must have begun
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._pool is not None:
            self._pool.shutdown()

    def _take(self, message):
        if "hello" in message:
            hello = message["hello"]
            self.queue = hello.get("queue")
            self._pool = ThreadPoolExecutor(max(1, hello.get("in_flight", 1)))
            self._say({"ready": {}})
        elif "job" in message:
            job = Job(self, message["job"])
            self._jobs[job.id] = job
            job._handler = self._handlers.get(job.type, self._handlers.get(None))
            job._coroutine = inspect.iscoroutinefunction(job._handler)
            job._task = asyncio.ensure_future(self._run(job))
            self._tasks.add(job._task)
            job._task.add_done_callback(self._tasks.discard)
        elif "cancel" in message:
            job = self._jobs.get(message["cancel"].get("id"))
            if job is not None:
                job._stop.set()
                if job._coroutine:
                    job._task.cancel()
        return "quit" not in message

    async def _run(self, job):
        try:
            if job._handler is None:
                raise Fail("no handler for type %r" % job.type, "validation")
            if job._coroutine:
                result = await job._handler(job)
            else:
                result = await asyncio.get_running_loop().run_in_executor(
                    self._pool, job._handler, job)
            done = {"id": job.id}
            if result is not None:
                done["result"] = result
            self._say({"done": done})
        except Fail as e:
            self._fail(job, str(e), e.class_, e.retry_after)
        except asyncio.CancelledError:
            self._fail(job, "cancelled")
        except BaseException as e:  # SystemExit of a handler is no end of all
            job.log(traceback.format_exc())
            self._fail(job, "%s: %s" % (type(e).__name__, e))
        finally:
            del self._jobs[job.id]

    def _fail(self, job, message, class_="error", retry_after=None):
        said = {"id": job.id, "class": class_, "message": message}
        if retry_after is not None:
            said["retry_after"] = retry_after
        self._say({"fail": said})
