"""A job's program, in the place of the office's own: says what it was asked.

Data comes on standard input, everything else in the environment; the last
line of the output is the job's result.
"""
import json
import os
import sys

data = json.load(sys.stdin)
queue, kind = os.environ["JOBQ_QUEUE"], os.environ["JOBQ_TYPE"]
print(f"{queue}: {kind or 'a job'}, attempt {os.environ['JOBQ_ATTEMPT']}")
for key, value in sorted(data.items()):
    print(f"  {key}: {json.dumps(value)}")
print(json.dumps({"task": kind, "options": data}))
