// pg-boss: a queue with a table of its own, large fetches, and no waiting
// while fetches come back full. Latency: LISTEN, as its manual advises.
import { PgBoss } from 'pg-boss'
import pg from 'pg'

const queue = 'bench'

async function start (options) {
	const boss = new PgBoss({ schedule: false, ...options })
	boss.on('error', e => console.error(`pg-boss: ${e.message}`))
	await boss.start()
	return boss
}

export async function setup (measure) {
	const boss = await start({ supervise: false })
	await boss.createQueue(queue, { partition: true, notify: measure === 'latency' })
	await boss.stop({ graceful: false })
}

export async function producer () {
	const boss = await start({ supervise: false, max: 1 })
	return {
		one: data => boss.send(queue, data),
		many: list => boss.insert(queue, list.map(data => ({ data })))
	}
}

export async function worker (handle, measure) {
	const fast = measure === 'latency'
	const boss = await start({ max: 10, useListenNotify: fast })
	const options = fast
		? { batchSize: 100, localConcurrency: 2, burstWhenBatchFull: true }
		: { batchSize: 1000, localConcurrency: 4, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
	return () => boss.work(queue, options, async jobs => { for (const job of jobs) handle(job.data) })
}

export async function left () {
	const c = new pg.Client()
	await c.connect()
	const { rows } = await c.query('select table_name from pgboss.queue where name = $1', [queue])
	const sql = `select exists (select from pgboss.${rows[0].table_name} where name = '${queue}' and state < 'completed')::int n`
	return async () => (await c.query(sql)).rows[0].n
}
