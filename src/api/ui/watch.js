// Overview, queues, workers and nodes, alerts, audit.
//
// A view is {load, draw}, and may have: head, what stands above and is drawn
// once; wants, which events make it load again; still, when it never does.

const views = Object.create(null);

// Series over time: of all queues, or one. The server chooses the steps.

const RANGES = { '1h': 3600, '24h': 86400, '7d': 604800 };

const rangeOf = at => (RANGES[at.query.get('range')] ? at.query.get('range') : '1h');

const series = (range, queue) => get('v1/metrics' + query({ range, queue }));

const ranges = at =>
	h(
		'span',
		{ class: 'acts', role: 'group', 'aria-label': 'Range of the charts' },
		Object.keys(RANGES).map(range =>
			h(
				'a',
				{
					class: 'button',
					href: to(at.place, ...at.args) + query({ range }),
					'aria-current': range === rangeOf(at) && 'true',
				},
				range.replace(/\d+/, '$& '),
			),
		),
	);

const rate = v =>
	v === 0 || v >= 1 ? `${num(v)}/s` : v * 60 >= 1 ? `${num(v * 60)}/min` : `${num(v * 3600)}/h`;

function charts(range, { items, step_ms: step }) {
	const until = Date.now(),
		span = { step, from: until - RANGES[range] * 1000, until };
	// What has not completed, a second.
	const failing = p => (exists(p.per_second) ? p.per_second * (p.failure_rate || 0) : null);
	return h(
		'div',
		{ class: 'columns' },
		chart(
			'Throughput',
			items,
			[
				{
					name: 'completed',
					value: p => (exists(p.per_second) ? p.per_second - failing(p) : null),
					area: true,
					color: 4,
				},
				{ name: 'failed', value: failing, color: 2 },
			],
			{ format: rate, ...span },
		),
		chart('Backlog', items, [{ name: 'ready', value: p => p.ready, area: true }], {
			least: 5,
			...span,
		}),
		chart(
			'Run time',
			items,
			[
				{ name: 'median', value: p => p.run_p50_ms },
				{ name: '99 %', value: p => p.run_p99_ms, color: 3 },
			],
			{ format: ms, ...span },
		),
		chart(
			'Waiting time',
			items,
			[
				{ name: 'median', value: p => p.wait_p50_ms },
				{ name: '99 %', value: p => p.wait_p99_ms, color: 3 },
			],
			{ format: ms, ...span },
		),
		chart(
			'Failed attempts',
			items,
			[{ name: 'share', value: p => p.failure_rate, area: true, color: 2 }],
			{ format: percent, least: 0.1, ...span },
		),
	);
}

views.overview = {
	wants: kind => kind !== 'worker',
	async load(at) {
		const range = rangeOf(at);
		const shared = path => (exists(session.tenant) ? { items: [] } : get(path));
		const [stats, metrics, alerts, errors] = await Promise.all([
			get('v1/stats' + query({ range })),
			series(range),
			shared('v1/alerts' + query({ state: 'firing' })),
			shared('v1/errors' + query({ range, limit: 5 })),
		]);
		return {
			stats: { ...stats, since: 0, until: 0 },
			metrics: { ...metrics, since: 0, until: 0 },
			alerts: alerts.items,
			errors: errors.items,
		};
	},
	draw({ stats, metrics, alerts, errors }, at) {
		const { items: queues, total, dead_letters: letters, schedules } = stats;
		const oldest = queues
			.map(q => q.oldest_ready_at)
			.filter(Boolean)
			.sort()[0];
		const busy = queues
			.filter(q => q.paused || !q.served || q.ready > 0 || q.running > 0)
			.sort((a, b) => b.ready - a.ready || b.running - a.running)
			.slice(0, 10);
		const about = queues.some(q => q.estimated) ? '≈' : '';
		const of = (name, tone) =>
			tile(
				name,
				(name === 'ready' ? about : '') + num(total[name] ?? 0),
				to('jobs') + query({ state: name }),
				total[name] > 0 && tone,
			);
		const { per_second: ended, failure_rate: failing } = total.window;
		return [
			title('Overview', ranges(at)),
			alerts.length > 0 &&
				h(
					'div',
					{ class: 'banner' },
					h('a', { href: to('alerts') }, `${num(alerts.length)} firing`),
					': ',
					alerts
						.slice(0, 5)
						.map(a => a.message || a.name)
						.join(' · '),
				),
			h(
				'div',
				{ class: 'tiles' },
				of('ready'),
				of('running'),
				of('scheduled'),
				of('blocked'),
				of('retrying', 'warn'),
				tile(
					'unreviewed',
					num(letters.unreviewed),
					to('dead') + query({ reviewed: 'false' }),
					letters.unreviewed > 0 && 'bad',
				),
				tile('oldest ready', oldest ? time(oldest, 'age') : '–'),
				tile('finished', exists(ended) ? rate(ended) : '–'),
				tile(
					'failing',
					exists(failing) ? percent(failing) : '–',
					null,
					failing > 0.1 && 'bad',
				),
				!exists(session.tenant) &&
					tile(
						'workers busy',
						`${num(total.busy ?? 0)} of ${num(total.workers ?? 0)}`,
						to('workers'),
					),
				schedules.next_run && tile('next run', time(schedules.next_run), to('schedules')),
			),
			charts(rangeOf(at), metrics),
			section(
				'Busy queues',
				queueTable(busy, 'No queue has jobs that are ready or running.'),
			),
			errors.length > 0 &&
				section(
					'Why attempts failed',
					table(
						'The most frequent errors',
						errors,
						[
							[
								'Error',
								e =>
									h(
										'a',
										{
											href:
												to('dead') +
												query({
													queue: e.queue,
													fingerprint: e.fingerprint,
												}),
											class: 'clip',
										},
										e.error || e.class || 'no error was told',
									),
							],
							['Class', e => e.class],
							['Queue', e => queueLink(e.queue)],
							['Type', e => e.type],
							['Times', e => num(e.count), 'n'],
							['Last', e => time(e.last_at), 'w'],
						],
						{ key: e => `error ${e.queue} ${e.fingerprint}` },
					),
				),
		];
	},
};

// Queues

const queueState = q => (q.paused ? 'paused' : q.served === false ? 'not served' : 'active');

const pauseWords = q => [
	q.pause_reason || 'no reason given',
	q.paused_by && ` (${q.paused_by})`,
	q.paused_until && [', until ', time(q.paused_until)],
];

function queueTable(queues, empty) {
	const count = name => [
		name,
		q =>
			q[name] > 0
				? h(
						'a',
						{
							href:
								(name === 'dead' ? to('dead') : to('jobs')) +
								query({ queue: q.name, state: name === 'dead' ? '' : name }),
						},
						(name === 'ready' && q.estimated ? '≈' : '') + num(q[name]),
					)
				: h('span', { class: 'quiet zero' }, 0),
		'n',
	];
	return table(
		'Queues',
		queues,
		[
			['Queue', q => queueLink(q.name)],
			[
				'State',
				q => [
					state(queueState(q)),
					q.paused && q.pause_reason ? [' ', quiet(q.pause_reason)] : null,
					q.holds > 0 && [' ', quiet(`${q.holds} held`)],
				],
			],
			count('ready'),
			count('running'),
			count('scheduled'),
			count('blocked'),
			count('retrying'),
			count('dead'),
			['Oldest', q => time(q.oldest_ready_at, 'age'), 'w'],
			!exists(session.tenant) && ['Workers', q => num(q.workers), 'n'],
			may('operator', true) && ['', q => h('div', { class: 'acts' }, pauseButton(q))],
		],
		{ key: q => q.name, empty },
	);
}

function pauseButton(q) {
	return q.paused
		? act('Resume', { shared: true }, async () => {
				await post(v1('queues', q.name, 'resume'));
				return `Queue ${q.name} goes on.`;
			})
		: act('Pause', { shared: true }, () =>
				ask(`Pause the queue ${q.name}?`, {
					text: `Its jobs wait until it is resumed: ${num(q.ready)} are ready. What runs (${num(q.running)}) comes to its end.`,
					fields: [
						field('reason', 'Reason', {
							hint: 'Shown to everybody who looks at the queue.',
						}),
					],
					label: 'Pause',
					danger: true,
					go: v => post(v1('queues', q.name, 'pause'), v),
				}).then(done => done && `Queue ${q.name} is paused.`),
			);
}

views.queues = paged({
	path: 'v1/queues',
	names: [],
	limit: 1000,
	wants: kind => kind === 'queue' || kind === 'job',
	head: () => title('Queues'),
	draw: items => queueTable(items, 'There are no queues: they are named in the configuration.'),
});

views['queues/*'] = {
	wants: (kind, d, at) => d.queue === at.args[0],
	async load(at) {
		const [queue, metrics] = await Promise.all([
			get(v1('queues', at.args[0])),
			series(rangeOf(at), at.args[0]),
		]);
		return { queue, metrics };
	},
	draw({ queue: q, metrics }, at) {
		const tiles = [
			'ready',
			'running',
			'scheduled',
			'blocked',
			'retrying',
			'completed',
			'cancelled',
		]
			.filter(name => exists(q[name]))
			.map(name =>
				tile(
					name,
					(name === 'ready' && q.estimated ? '≈' : '') + num(q[name]),
					to('jobs') + query({ queue: q.name, state: name }),
				),
			);
		return [
			title(
				q.name,
				ranges(at),
				pauseButton(q),
				act(
					'Pause a part …',
					{ shared: true, hint: 'Jobs of a type or a tenant only' },
					() =>
						ask(`Pause a part of ${q.name}`, {
							text: 'Only jobs of this type or tenant wait.',
							fields: [
								field('type', 'Type'),
								field('tenant', 'Tenant'),
								field('reason', 'Reason'),
							],
							label: 'Pause',
							danger: true,
							go: v => post(v1('queues', q.name, 'pause'), filled(v)),
						}).then(done => done && `A part of ${q.name} is paused.`),
				),
				act(
					'Drain',
					{
						role: 'admin',
						shared: true,
						hint: 'Wait, up to 20 s, until nothing of it is ready or running',
					},
					async () => {
						const d = await post(v1('queues', q.name, 'drain'), { wait: '20s' });
						return d.drained
							? `Nothing of ${q.name} is ready or running.`
							: `Not yet: ${num(d.ready)} are ready, ${num(d.running)} run.`;
					},
				),
				act('Clean …', { role: 'admin', shared: true }, () => clean(q)),
				act('Clear …', { role: 'admin', shared: true, danger: true }, () => clear(q)),
			),
			q.paused &&
				h(
					'div',
					{ class: 'banner warn' },
					'Paused ',
					time(q.paused_at),
					': ',
					pauseWords(q),
				),
			q.served === false &&
				h('div', { class: 'banner warn' }, 'No node serves this queue: its jobs wait.'),
			h(
				'div',
				{ class: 'tiles' },
				tiles,
				tile(
					'dead',
					num(q.dead),
					to('dead') + query({ queue: q.name }),
					q.dead > 0 && 'bad',
				),
				tile('oldest ready', q.oldest_ready_at ? time(q.oldest_ready_at, 'age') : '–'),
				!exists(session.tenant) &&
					exists(q.workers) &&
					tile('workers', num(q.workers), to('workers') + query({ queue: q.name })),
			),
			parts(q),
			charts(rangeOf(at), metrics),
			q.types?.length > 0 &&
				section(
					'Types, in the last hour',
					table(
						'Types',
						q.types,
						[
							[
								'Type',
								t =>
									h(
										'a',
										{
											href:
												to('jobs') + query({ queue: q.name, type: t.type }),
										},
										t.type || 'none',
									),
							],
							['Completed', t => num(t.completed), 'n'],
							['Failed', t => num(t.failed), 'n'],
							['Failing', t => percent(t.failure_rate), 'n'],
							['Run time', t => ms(t.run_avg_ms), 'n'],
							['95 %', t => ms(t.run_p95_ms), 'n'],
						],
						{ key: t => `type ${t.type}` },
					),
				),
			q.limits?.length > 0 &&
				section(
					'Limits',
					table(
						'Limits',
						q.limits,
						[
							['Limit', l => h('span', null, l.name)],
							[
								'Rate',
								l => (l.rate > 0 ? `${num(l.rate)} in ${ms(l.period_ms)}` : ''),
							],
							['Started', l => num(l.started), 'n'],
							['At a time', l => (l.concurrency > 0 ? num(l.concurrency) : ''), 'n'],
							['Running', l => num(l.running), 'n'],
							['Apart', l => (l.min_gap_ms > 0 ? ms(l.min_gap_ms) : ''), 'n'],
						],
						{ key: l => `limit ${l.name}` },
					),
				),
			q.breakers?.length > 0 &&
				section(
					'Breakers',
					table(
						'Breakers',
						q.breakers,
						[
							['Destination', b => h('span', null, b.destination || 'all')],
							['State', b => state(b.state)],
							['Failures', b => `${num(b.failures)} of ${num(b.of)}`, 'n'],
							['Since', b => time(b.since), 'w'],
							['Waiting', b => num(b.waiting), 'n'],
							['Error', b => clip(b.last_error)],
						],
						{ key: b => `breaker ${b.destination}` },
					),
				),
			!isEmpty(q.settings) &&
				section(
					'Settings',
					h(
						'div',
						{ class: 'sheet' },
						facts(
							...Object.entries(q.settings)
								.filter(([, v]) => !isEmpty(v) && v !== '')
								.map(([k, v]) => [words(k), setting(k, v)]),
						),
					),
				),
		];
	},
};

// What ended long enough ago: which, then how many that are, then it is done.
async function clean(q) {
	const path = v1('queues', q.name, 'clean');
	let wanted, found;
	const chosen = await ask(`Clean the queue ${q.name}`, {
		text: 'Remove jobs that have ended, for good.',
		fields: [
			field('state', 'State', { kind: ['completed', 'dead', 'cancelled'] }),
			field('older_than', 'That ended longer ago than', {
				value: '1d',
				hint: 'Like 30m, 12h, 7d; 0s: all of them.',
			}),
		],
		label: 'Count them',
		go: async v => {
			wanted = v;
			found = (await post(path, { ...v, dry_run: true })).removed;
		},
	});
	return (
		chosen &&
		sure(found, n => ({
			heading: `Remove ${jobs(n)} of ${q.name}?`,
			text: `They are ${wanted.state} for longer than ${wanted.older_than}. This cannot be undone.`,
			label: `Remove ${jobs(n)}`,
			go: () => post(path, wanted),
		})).then(done => done && `${jobs(done.removed)} of ${q.name} removed.`)
	);
}

async function clear(q) {
	const path = v1('queues', q.name, 'jobs');
	const found = (await call('DELETE', path + '?dry_run=true')).cancelled;
	return sure(found, n => ({
		heading: `Cancel all ${jobs(n)} that wait in ${q.name}?`,
		text: 'This cannot be undone.',
		fields: [field('name', 'The queue’s name, to be sure', { required: true })],
		label: `Cancel ${jobs(n)}`,
		go: v => {
			if (v.name !== q.name) throw new Problem(0, 'That is not its name.');
			return call('DELETE', path + '?confirm=yes');
		},
	})).then(done => done && `${jobs(done.cancelled)} of ${q.name} cancelled.`);
}

const words = name => name.replace(/_ms$/, '').replace(/_/g, ' ');
const setting = (name, v) =>
	typeof v === 'object'
		? Object.entries(v)
				.map(([k, w]) => `${words(k)} ${setting(k, w)}`)
				.join(', ')
		: /_ms$/.test(name)
			? ms(v)
			: typeof v === 'boolean'
				? v
					? 'yes'
					: 'no'
				: String(v);

// Types and tenants that are paused by themselves.
function parts(q) {
	const held = (q.held || []).filter(x => x.type !== null || x.tenant !== null);
	return (
		held.length > 0 &&
		section(
			'Paused parts',
			table(
				'Paused parts',
				held,
				[
					['Queue', x => x.queue || 'all'],
					['Type', x => x.type || 'any'],
					['Tenant', x => x.tenant || 'any'],
					['Reason', x => x.reason],
					['By', x => x.by],
					['Since', x => time(x.at), 'w'],
					[
						'',
						x =>
							h(
								'div',
								{ class: 'acts' },
								act('Resume', { shared: true }, () =>
									post(
										v1('queues', x.queue || '*', 'resume'),
										filled({ type: x.type, tenant: x.tenant }),
									).then(() => 'It goes on.'),
								),
							),
					],
				],
				{ key: x => `${x.queue} ${x.type} ${x.tenant}` },
			),
		)
	);
}

const filled = o => Object.fromEntries(Object.entries(o).filter(([, v]) => exists(v)));

// Workers and nodes

views.workers = {
	wants: kind => kind === 'worker' || kind === 'job',
	async load(at) {
		const [nodes, workers] = await Promise.all([
			get('v1/nodes'),
			get('v1/workers' + query({ ...Object.fromEntries(at.query), limit: 500 })),
		]);
		return { nodes: nodes.items, workers };
	},
	draw: ({ nodes, workers }, at) => [
		title('Workers and nodes'),
		table(
			'Nodes',
			nodes,
			[
				['Node', n => n.name],
				['State', n => state(n.alive ? 'alive' : 'gone')],
				['Version', n => n.version],
				['Started', n => time(n.started_at), 'w'],
				['Seen', n => time(n.seen), 'w'],
				['Queues', n => (n.queues || []).map((q, i) => [i > 0 && ', ', queueLink(q)])],
			],
			{ key: n => `node ${n.name}`, empty: 'No node has ever been here.' },
		),
		section(
			at.query.get('queue') ? `Workers of ${at.query.get('queue')}` : 'Workers',
			table(
				'Workers',
				workers.items,
				[
					['Worker', w => [queueLink(w.queue), String(w.worker).replace(w.queue, '')]],
					['Node', w => w.node],
					['Process', w => (exists(w.pid) ? String(w.pid) : ''), 'n'],
					['State', w => state(w.state)],
					['Job', w => jobLink(w.job_id), 'n'],
					['Since', w => time(w.since), 'w'],
					['Jobs', w => num(w.jobs), 'n'],
					['Memory', w => size(w.rss_kb), 'n'],
				],
				{ key: w => `${w.node} ${w.worker} ${w.pid}`, empty: 'No worker runs.' },
			),
			pager(workers, at),
		),
	],
};

// Alerts

views.alerts = {
	wants: kind => kind === 'alert',
	async load() {
		const [live, ended, rules] = await Promise.all([
			get('v1/alerts' + query({ state: 'live' })),
			get('v1/alerts' + query({ state: 'ended', limit: 50 })),
			get('v1/alert-rules'),
		]);
		return { live: live.items, ended: ended.items, rules: rules.items };
	},
	draw({ live, ended, rules }) {
		const columns = [
			['Alert', a => h('span', null, a.name)],
			['Queue', a => queueLink(a.queue)],
			['State', a => state(a.state)],
			['What', a => clip(a.message)],
			['Value', a => (exists(a.value) ? num(Number(a.value)) : ''), 'n'],
			['Since', a => time(a.since), 'w'],
		];
		return [
			title('Alerts'),
			section(
				'Now',
				table(
					'Alerts that stand',
					live,
					[
						...columns,
						[
							'By',
							a =>
								a.acknowledged_by ||
								(a.silenced_until && ['until ', time(a.silenced_until)]),
						],
						may('operator', true) && [
							'',
							a =>
								h(
									'div',
									{ class: 'acts' },
									a.state === 'firing' &&
										act('Acknowledge', { shared: true }, () =>
											post(
												v1('alerts', a.name, 'ack'),
												filled({ queue: a.queue }),
											).then(() => `${a.name} is acknowledged.`),
										),
									a.state === 'silenced'
										? act('End silence', { shared: true }, () =>
												post(
													v1('alerts', a.name, 'unsilence'),
													filled({ queue: a.queue }),
												),
											)
										: silence(a),
								),
						],
					],
					{ key: a => `${a.name} ${a.queue}`, empty: 'No alert fires.' },
				),
			),
			rules.length > 0 &&
				section(
					'Rules',
					table(
						'Rules',
						rules,
						[
							['Rule', r => h('span', null, r.name)],
							['Metric', r => r.metric],
							[
								'Limit',
								r =>
									exists(r.above)
										? `above ${r.above}`
										: exists(r.below)
											? `below ${r.below}`
											: '',
								'w',
							],
							['For', r => r.for],
							['Clear', r => r.clear],
							['Severity', r => r.severity],
							['Tells', r => (r.notify || []).join(', ')],
							[
								'Changed',
								r => r.changed_by && [r.changed_by, ' ', time(r.changed_at)],
							],
							may('operator', true) && [
								'',
								r => h('div', { class: 'acts' }, threshold(r), silence(r)),
							],
						],
						{ key: r => `rule ${r.name}` },
					),
				),
			section(
				'Ended',
				table(
					'Alerts that have ended',
					ended,
					[...columns, ['Ended', a => time(a.ended_at), 'w']],
					{
						key: a => `${a.name} ${a.queue} ${a.since}`,
						empty: 'None has ended lately.',
					},
				),
			),
		];
	},
};

const silence = a =>
	act('Silence', { shared: true }, () =>
		ask(`Silence ${a.name}`, {
			text: 'It is still looked at and shown; nobody is told.',
			fields: [
				field('for', 'For', { value: '1h', hint: 'Like 30m, 2h, 7d.' }),
				field('reason', 'Reason'),
			],
			label: 'Silence',
			go: v => post(v1('alerts', a.name, 'silence'), filled({ queue: a.queue, ...v })),
		}).then(done => done && `${a.name} is silenced.`),
	);

const threshold = r =>
	act('Thresholds', { role: 'admin', shared: true }, () => {
		const names = [exists(r.below) ? 'below' : 'above', 'clear', 'for'];
		return ask(`Thresholds of ${r.name}`, {
			text: 'This goes before the configuration until that changes.',
			fields: names.map(name => field(name, name, { value: r[name] })),
			label: 'Set',
			go: v =>
				call(
					'PUT',
					v1('alerts', r.name),
					Object.fromEntries(
						names
							.filter(n => v[n] !== String(r[n] ?? '') && v[n] !== '')
							.map(n => [n, v[n]]),
					),
				),
		}).then(done => done && `The rule ${r.name} is changed.`);
	});

// What has ended

views.history = paged({
	path: 'v1/history',
	names: ['queue', 'type', 'state', 'tenant', 'since', 'until'],
	head: at => [
		title('History'),
		h('p', { class: 'quiet' }, 'Attempts that have ended, also of jobs that are gone.'),
		filters(
			at,
			[
				'queue',
				'type',
				'state',
				!exists(session.tenant) && 'tenant',
				'since',
				'until',
			].filter(Boolean),
			['completed', 'failed', 'dead', 'cancelled', 'lost'],
		),
	],
	draw: items =>
		table(
			'History',
			items,
			[
				['Job', a => jobLink(a.id), 'w'],
				['Ended as', a => state(a.state)],
				['Queue', a => queueLink(a.queue)],
				['Type', a => a.type],
				['Attempt', a => num(a.attempt), 'n'],
				['Tenant', a => a.tenant],
				['Finished', a => time(a.finished_at), 'w'],
				['Took', a => ms(a.run_ms), 'n'],
				['Node', a => a.node],
				[
					'Result',
					a => clip(a.error ?? (isEmpty(a.result) ? '' : JSON.stringify(a.result))),
				],
			],
			{ key: a => `${a.id} ${a.attempt}`, empty: 'Nothing has ended in this time.' },
		),
});

// Audit

// 'job 42' and the like lead there.
function targetLink(target) {
	const [, kind, name] = /^(job|queue|schedule|workflow) (.+)$/s.exec(target) || [];
	return kind ? h('a', { href: to(`${kind}s`, name) }, target) : target;
}

views.audit = paged({
	path: 'v1/audit',
	names: ['actor', 'action', 'target', 'since', 'until'],
	head: at => [title('Audit'), filters(at, ['actor', 'action', 'target', 'since', 'until'])],
	draw: items =>
		table(
			'Audit',
			items,
			[
				['At', a => time(a.at), 'w'],
				['Who', a => a.actor],
				['From', a => a.source],
				['Did', a => a.action],
				['To', a => targetLink(a.target)],
				['Tenant', a => a.tenant],
				['Detail', a => clip(a.detail)],
				[
					'Before, after',
					a =>
						(!isEmpty(a.before) || !isEmpty(a.after)) &&
						h(
							'details',
							{ 'data-key': `audit ${a.id}` },
							h('summary', null, 'show'),
							!isEmpty(a.before) && [quiet('before'), block(a.before)],
							!isEmpty(a.after) && [quiet('after'), block(a.after)],
						),
				],
			],
			{ key: a => a.id, empty: 'Nothing was changed in this time.' },
		),
});
