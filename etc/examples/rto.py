#!/usr/bin/env python3
"""What a training organisation fetches from others, for the driver exec.

    rto.py syncXero             employees, from the payroll
    rto.py syncAccelerate       enrolments, from the learning management system
    rto.py feedbackAIAnalysis   feedback that nobody has read yet, to be judged

Each may be run again at any time: what is there already is only brought up to date.
"""
import json
import os

from job_tools import ask, main, psql, tell

env = os.environ


def fetch(service, path):
    """All items of all pages."""
    items, page = [], 1
    while True:
        with ask("GET", f"{env[service + '_URL']}/{path}?page={page}",
                 headers={"Authorization": f"Bearer {env[service + '_TOKEN']}"}) as answer:
            new = json.load(answer)["items"]
        if not new:
            return items
        items += new
        tell(note=f"{len(items)} {path}")
        page += 1


def sync_xero(_):
    items = fetch("XERO", "employees")
    gone = psql("""
CREATE TEMPORARY TABLE fetched ON COMMIT DROP AS
SELECT * FROM jsonb_to_recordset(:'items') AS (id text, name text, email text);
INSERT INTO staff (xero_id, name, email, active) SELECT id, name, email, true FROM fetched
ON CONFLICT (xero_id) DO UPDATE SET name = excluded.name, email = excluded.email, active = true;
WITH gone AS (UPDATE staff SET active = false
	WHERE active AND xero_id NOT IN (SELECT id FROM fetched) RETURNING id)
SELECT count(*) FROM gone""", items=json.dumps(items))
    return {"employees": len(items), "left": int(gone)}


def sync_accelerate(_):
    items = fetch("ACCELERATE", "enrolments")
    psql("""
INSERT INTO enrolment (id, student, unit, status)
SELECT * FROM jsonb_to_recordset(:'items') AS (id text, student text, unit text, status text)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, synced_at = now()
""", items=json.dumps(items))
    return {"enrolments": len(items)}


def analyse_feedback(_):
    waiting = json.loads(psql("""
SELECT coalesce(json_agg(f ORDER BY f.id), '[]') FROM (
	SELECT id, text FROM feedback WHERE analysed_at IS NULL ORDER BY id LIMIT 100) f"""))
    for n, feedback in enumerate(waiting, 1):
        with ask("POST", f"{env['AI_URL']}/analyse", {"text": feedback["text"]},
                 {"Authorization": f"Bearer {env['AI_TOKEN']}"}) as answer:
            judged = json.load(answer)
        # One by one: what was paid for is not asked again.
        psql("""
UPDATE feedback SET sentiment = :'sentiment',
	themes = ARRAY(SELECT jsonb_array_elements_text(:'themes')), analysed_at = now()
WHERE id = :'id'""", id=feedback["id"], sentiment=judged["sentiment"],
             themes=json.dumps(judged["themes"]))
        tell(pct=100 * n // len(waiting), note=f"{n} of {len(waiting)}")
    return {"analysed": len(waiting)}


main({"syncXero": sync_xero, "syncAccelerate": sync_accelerate,
      "feedbackAIAnalysis": analyse_feedback})
