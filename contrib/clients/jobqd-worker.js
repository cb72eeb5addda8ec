'use strict';
/*
 * Workers for jobqd in Node.js: the protocol of jobqd-worker(7).
 *
 *	const { Worker, Fail } = require('./jobqd-worker.js');
 *	const worker = new Worker();
 *
 *	worker.handle('resize', async (job) => {
 *		if (!job.data.url) throw new Fail('data lacks url', 'validation');
 *		const answer = await fetch(job.data.url, { signal: job.signal });
 *		job.progress(50, 'half of it');
 *		return { bytes: (await answer.arrayBuffer()).byteLength };
 *	});
 *
 *	worker.run();
 *
 * In the configuration: handlers: {app: {driver: worker, argv: [node, app.js]}}.
 * As many jobs run at once as in_flight says. What a handler throws fails its job,
 * class error, with the trace in the job's log. What is printed to standard
 * output is in the log of the job, as is standard error; a program started with
 * its parent's standard output must have that redirected. Needs Node 16 and
 * nothing else.
 *
 * Put this file beside your program; it may be changed and used for any purpose.
 */

/* Fails the job; klass is one of error, validation, rate_limit, auth, network,
 * timeout and resource, retryAfter a number of seconds. */
class Fail extends Error {
	constructor(message, klass = 'error', retryAfter = undefined) {
		super(message);
		this.klass = klass;
		this.retryAfter = retryAfter;
	}
}

/* One attempt of one job: id, token, queue, type, data, attempt, max_attempts,
 * tenant, deadline; signal, an AbortSignal, when it is to stop. */
class Job {
	#say;
	#controller = new AbortController();

	constructor(say, queue, fields) {
		Object.assign(this, fields, { queue, signal: this.#controller.signal });
		this.#say = say;
	}

	get cancelled() { return this.signal.aborted; }

	/* Throws when the job is to stop: call it now and then in a long loop that
	 * awaits something. */
	check() { if (this.cancelled) throw new Fail('cancelled'); }

	/* How far it is, 0 to 100, and a word on it or partial results. */
	progress(pct, note) { this.#say({ progress: { id: this.id, pct, note } }); }

	/* Lines to be kept with this job alone. */
	log(text) {
		for (const line of String(text).split('\n'))
			this.#say({ log: { id: this.id, line } });
	}

	/* Puts in a job, if and when this one is done. more: the other arguments
	 * of jobq.enqueue(), as priority, delay or unique_key. */
	enqueue(queue, type = '', data = {}, more = {}) {
		this.#say({ enqueue: { ...more, id: this.id, queue, type, data } });
	}

	_cancel() { this.#controller.abort(new Fail('cancelled')); }
}

class Worker {
	#handlers = new Map();
	#jobs = new Map();
	#queue = null;
	#leaving = false;
	#write = null;

	/* handler(job) runs jobs of this type, '*' those of all others. */
	handle(type, handler) {
		this.#handlers.set(type, handler);
		return this;
	}

	/* Puts in a job at once, whatever becomes of those that run. */
	enqueue(queue, type = '', data = {}, more = {}) {
		this.#say({ enqueue: { ...more, queue, type, data } });
	}

	/* Serves until jobqd says quit and all jobs have ended, then exits. */
	run() {
		this.#write = process.stdout.write.bind(process.stdout);
		process.stdout.write = process.stderr.write.bind(process.stderr);
		let rest = [];

		process.stdin.on('data', (chunk) => {
			let start = 0, end;

			while ((end = chunk.indexOf(10, start)) >= 0) {
				rest.push(chunk.subarray(start, end));
				this.#take(Buffer.concat(rest).toString());
				rest = [];
				start = end + 1;
			}
			rest.push(chunk.subarray(start));
		});
		process.stdin.on('end', () => this.#leave());
		/* One that nobody waits for is a mistake, and not the end of the rest. */
		process.on('unhandledRejection', (e) => console.error(e));
	}

	#say(message) {
		this.#write(JSON.stringify(message) + '\n');
	}

	#leave() {
		this.#leaving = true;
		if (this.#jobs.size === 0)	/* behind all that was said */
			this.#write('', () => process.exit(0));
	}

	#take(line) {
		const message = JSON.parse(line);

		if (message.hello) {
			this.#queue = message.hello.queue;
			this.#say({ ready: {} });
		} else if (message.job) {
			const job = new Job((m) => this.#say(m), this.#queue, message.job);

			this.#jobs.set(job.id, job);
			this.#run(job);
		} else if (message.cancel) {
			this.#jobs.get(message.cancel.id)?._cancel();
		} else if (message.quit) {
			this.#leave();
		}
	}

	async #run(job) {
		const handler = this.#handlers.get(job.type) || this.#handlers.get('*');

		try {
			if (!handler)
				throw new Fail(`no handler for type ${job.type}`, 'validation');
			const result = await handler(job);

			this.#say({ done: { id: job.id, result } });
		} catch (e) {
			if (!(e instanceof Fail) && e instanceof Error && !job.cancelled)
				job.log(e.stack);
			this.#say({ fail: { id: job.id, class: e?.klass || 'error',
				message: job.cancelled ? 'cancelled' : e instanceof Fail ?
					e.message : String(e), retry_after: e?.retryAfter } });
		}
		this.#jobs.delete(job.id);
		if (this.#leaving)
			this.#leave();
	}
}

module.exports = { Fail, Worker };
