// BullMQ: a high concurrency, and jobs removed when they are complete, as its
// manual advises for production so that Redis does not fill up.
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

const queue = 'bench'
const connection = { path: process.env.REDIS_SOCKET, maxRetriesPerRequest: null }

export async function setup () {}

export async function producer () {
	const q = new Queue(queue, { connection, defaultJobOptions: { removeOnComplete: true } })
	await q.waitUntilReady()
	return {
		one: data => q.add('bench', data),
		many: list => q.addBulk(list.map(data => ({ name: 'bench', data })))
	}
}

export async function worker (handle) {
	const w = new Worker(queue, async job => handle(job.data),
		{ connection, autorun: false, concurrency: 200, removeOnComplete: { count: 0 } })
	w.on('error', e => console.error(`bullmq: ${e.message}`))
	await w.waitUntilReady()
	return async () => { w.run() }
}

export async function left () {
	const c = new Redis(connection)
	return async () => await c.llen(`bull:${queue}:wait`) + await c.llen(`bull:${queue}:active`)
}
