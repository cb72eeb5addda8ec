// One role of one peer, in a process of its own: README.md tells the contract.
//
//	node run.mjs PEER setup|produce|work|empty [NAME=VALUE …]
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const [peer, role, ...words] = process.argv.slice(2)
const options = Object.fromEntries(words.map(word => word.split('=')))
const { setup, producer, worker, left } = await import(`./${peer}.mjs`)
const lines = createInterface({ input: process.stdin })
const orders = lines[Symbol.asyncIterator]()
const say = message => process.stdout.write(JSON.stringify(message) + '\n')

// The monotonic clock, the same for all processes of a machine.
const now = () => Number(process.hrtime.bigint()) / 1e6

// 200 bytes that do not compress, cut from a text made once: what is measured
// is the job system.
const noise = Array.from({ length: 9000 }, () => Math.floor(Math.random() * 16).toString(16)).join('')
const payload = i => ({ user: i, kind: 'mail', blob: noise.substr(i * 7 % 8800, 155) })

const median = list => list.sort((a, b) => a - b)[list.length >> 1]

// To each total that is read, one at a time or in batches; at a rate, if given.
async function produce () {
	const { one, many } = await producer()
	const batch = +options.batch
	let made = 0
	say({ ready: true })
	for await (const total of orders) {
		const calls = []
		const start = now() - made * 1000 / options.rate
		while (made < total) {
			if (options.rate) await sleep(start + made * 1000 / options.rate - now())
			const n = Math.min(batch, total - made)
			const at = now()
			if (batch === 1) await one({ ...payload(made), at })
			else await many(Array.from({ length: n }, (_, i) => payload(made + i)))
			calls.push(now() - at)
			made += n
		}
		say({ made, call_ms: median(calls) })
	}
}

// From "go" on; ms are the latencies of jobs that carry when they were sent.
async function work () {
	let done = 0
	let said = 0
	let ms = []
	const run = await worker(job => {
		if (job.at) ms.push(now() - job.at)
		done++
	}, options.for)
	say({ ready: true })
	await orders.next()
	setInterval(() => {
		if (done === said) return
		say({ done: said = done, ms })
		ms = []
	}, 20)
	await run()
	await orders.next()
}

async function empty () {
	const count = await left()
	say({ ready: true })
	await orders.next()
	while (await count() > 0) await sleep(5)
	say({ empty: true })
}

await { setup: () => setup(options.for), produce, work, empty }[role]()
process.exit(0)
