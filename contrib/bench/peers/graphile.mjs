// graphile-worker: a local queue and batched completion, as in the preset of
// its authors' own benchmark, which is used as it is for latency; with the
// larger sizes here it drains faster.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'

const logger = new Logger(() => (level, message) => {
	if (level === 'error') console.error(`graphile-worker: ${message}`)
})

function pool (max) {
	const p = new pg.Pool({ max })
	p.on('error', () => {})
	p.on('connect', client => client.on('error', () => {}))
	return p
}

export async function setup () {
	const utils = await makeWorkerUtils({ pgPool: pool(1), logger })
	await utils.migrate()
}

export async function producer () {
	const utils = await makeWorkerUtils({ pgPool: pool(1), logger })
	return {
		one: data => utils.addJob('bench', data),
		many: list => utils.addJobs(list.map(payload => ({ identifier: 'bench', payload })))
	}
}

export async function worker (handle, measure) {
	const fast = measure === 'latency'
	const pgPool = pool(25)
	;(await pgPool.connect()).release()
	return () => run({
		pgPool,
		logger,
		noHandleSignals: true,
		parsedCronItems: [],
		taskList: { bench: async data => handle(data) },
		preset: {
			worker: {
				concurrentJobs: fast ? 24 : 100,
				maxPoolSize: 25,
				localQueue: { size: fast ? 500 : 2000 },
				completeJobBatchDelay: 0,
				failJobBatchDelay: 0,
				logger
			}
		}
	})
}

export async function left () {
	const c = new pg.Client()
	await c.connect()
	const sql = 'select exists (select from graphile_worker._private_jobs)::int n'
	return async () => (await c.query(sql)).rows[0].n
}
