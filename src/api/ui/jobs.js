// Jobs, one job, dead letters. And lists that are read page by page.

const STATES = [
	'scheduled',
	'blocked',
	'ready',
	'running',
	'retrying',
	'completed',
	'dead',
	'cancelled',
];

const lengths = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };

// '2h' is that long ago; anything else is an instant.
function instant(text) {
	const m = /^(\d{1,6})([smhdw])$/.exec(text);
	const d = m ? new Date(Date.now() - m[1] * lengths[m[2]]) : new Date(text);
	if (isNaN(d))
		throw new Problem(
			0,
			`“${text}” is no time: give one like 2h (that long ago) or 2026-11-26 14:00.`,
		);
	return d.toISOString();
}

// A query of the API from that of the page.
function asked(at, names) {
	const q = {};
	for (const [name, value] of at.query)
		if (names.includes(name) || name.startsWith('data.'))
			q[name] = name === 'since' || name === 'until' ? instant(value) : value;
	return q;
}

// What is typed above: a job's id, or words; the place to go to.
function searched(text) {
	text = text.trim();
	if (text === '') return null;
	if (/^#?\d+$/.test(text)) return to('jobs', text.replace('#', ''));
	const found = {};
	const word =
		/(queue|state|type|tenant|tag|since|until):("[^"]*"|\S+)|(data\.[\w.-]+)[=:]("[^"]*"|\S+)|("[^"]*"|\S+)/g;
	for (const [, name, value, path, equals, bare] of text.matchAll(word))
		found[name ?? path ?? 'type'] = (value ?? equals ?? bare).replace(/^"(.*)"$/, '$1');
	return to('jobs') + query(found);
}

// A form of filters, whose values are the query of the page.
function filters(at, names, states = STATES) {
	const inputs = names.map(name => {
		const value = at.query.get(name) || '';
		const label =
			{ since: 'Since', until: 'Until', data: 'Data' }[name] ||
			name[0].toUpperCase() + name.slice(1);
		return name === 'state'
			? field(name, label, { kind: [['', 'any'], ...states], value })
			: name === 'reviewed'
				? field(name, label, {
						kind: [
							['', 'any'],
							['false', 'not yet'],
							['true', 'reviewed'],
						],
						value,
					})
				: name === 'data'
					? field(name, label, {
							placeholder: 'user=7',
							value: [...at.query]
								.filter(([k]) => k.startsWith('data.'))
								.map(([k, v]) => `${k.slice(5)}=${v}`)
								.join(' '),
						})
					: field(name, label, {
							value,
							list: name === 'queue' && 'queue-names',
							placeholder: /since|until/.test(name) ? '2h, or a date' : null,
						});
	});
	return h(
		'details',
		{ class: 'filter', open: innerWidth > 760 || at.query.size > 0 },
		h('summary', null, 'Filter'),
		h(
			'form',
			{
				class: 'filters',
				onsubmit(event) {
					event.preventDefault();
					const { data, ...rest } = values(event.currentTarget);
					for (const m of (data || '').matchAll(/([\w.-]+)=("[^"]*"|\S+)/g))
						rest[`data.${m[1]}`] = m[2].replace(/^"(.*)"$/, '$1');
					location.hash = to(at.place, ...at.args) + query(rest);
				},
			},
			inputs,
			h('button', { class: 'main' }, 'Filter'),
			at.query.size > 0 && h('a', { class: 'button', href: to(at.place, ...at.args) }, 'All'),
		),
	);
}

// A view of a list: a page of it and a way to the next.
function paged({ path, names, head, draw, wants, limit = 50, more }) {
	return {
		head,
		wants,
		load(at) {
			return get(
				path +
					query({
						...asked(at, names),
						cursor: at.query.get('cursor'),
						limit,
						...more?.(at),
					}),
			);
		},
		draw: (page, at) => [draw(page.items, at, page), pager(page, at)],
	};
}

// To the next page, and back to the first.
function pager(page, at) {
	const link = (label, cursor) =>
		h(
			'a',
			{
				class: 'button',
				href: to(at.place, ...at.args) + query({ ...Object.fromEntries(at.query), cursor }),
			},
			label,
		);
	return h(
		'p',
		{ class: 'acts' },
		at.query.has('cursor') && link('First page'),
		page.next_cursor && link('Next page', page.next_cursor),
	);
}

const tags = list => (list || []).map(t => h('span', { class: 'tag' }, t));

const JOB_FILTERS = ['queue', 'state', 'type', 'tenant', 'tag', 'since', 'until'];

views.jobs = paged({
	path: 'v1/jobs',
	names: JOB_FILTERS,
	wants: (kind, d, at) =>
		kind === 'job' &&
		!at.query.get('cursor') &&
		(!at.query.get('queue') || at.query.get('queue') === d.queue),
	more: at => ({ count: at.query.get('cursor') ? null : true }),
	head: at => [
		title('Jobs', enqueueButton()),
		filters(
			at,
			[
				'queue',
				'state',
				'type',
				exists(session.tenant) ? null : 'tenant',
				'tag',
				'since',
				'until',
				'data',
			].filter(Boolean),
		),
	],
	draw: (items, at, page) => [
		h(
			'div',
			{ class: 'title' },
			quiet(exists(page.count) ? counted(page) : 'Newest first'),
			h('div', { class: 'acts' }, bulk(at)),
		),
		table(
			'Jobs',
			items,
			[
				['Job', j => jobLink(j.id), 'w'],
				[
					'State',
					j => [
						state(j.state),
						exists(j.progress) && j.state === 'running' && ` ${j.progress} %`,
					],
					'w',
				],
				['Queue', j => queueLink(j.queue)],
				['Type', j => j.type],
				['Attempt', j => `${j.attempt}/${j.max_attempts}`, 'n'],
				['Tenant', j => j.tenant],
				['Tags', j => tags(j.tags)],
				['Created', j => time(j.created_at), 'w'],
				['Run at', j => time(j.run_at), 'w'],
				['Error', j => clip(j.error)],
			],
			{
				key: j => j.id,
				empty: at.query.size > 0 ? 'No job is like that.' : 'There are no jobs.',
			},
		),
	],
});

const counted = ({ count, exact }) => (exact ? '' : 'more than ') + jobs(count);

// What is done to all jobs of a filter: first asked how many that are.
function bulk(at) {
	const filter = { ...asked(at, JOB_FILTERS) },
		data = {};
	const like = Object.entries(filter)
		.map(([k, v]) => `${k} ${v}`)
		.join(', ');
	for (const name of Object.keys(filter).filter(k => k.startsWith('data.'))) {
		data[name.slice(5)] = filter[name];
		delete filter[name];
	}
	if (Object.keys(data).length > 0) filter.data = data;
	if (like === '') return null;
	const button = (verb, past, states, danger) =>
		(!filter.state || states.includes(filter.state)) &&
		act(`${verb} all …`, { danger, hint: `${verb} all jobs of this filter` }, async () => {
			const path = v1('jobs', verb.toLowerCase());
			const dry = await post(path, filter);
			const many = counted(dry);
			return sure(dry.count, () => ({
				heading: `${verb} ${many}?`,
				text: [`All that are like this: ${like}.`, danger && 'This cannot be undone.'],
				label: `${verb} ${many}`,
				danger,
				// So many at a time, until there are no more.
				async go() {
					let done = 0,
						answer;
					do {
						answer = await post(path, { ...filter, confirm: true });
						done += answer.done;
					} while (answer.more && answer.done > 0);
					return { done };
				},
			})).then(answer => answer && `${jobs(answer.done)} ${past}.`);
		});
	return [
		button('Retry', 'run again', ['dead', 'retrying']),
		button(
			'Cancel',
			'cancelled',
			['scheduled', 'blocked', 'ready', 'running', 'retrying'],
			true,
		),
		button(
			'Delete',
			'deleted',
			STATES.filter(s => s !== 'running'),
			true,
		),
	];
}

const enqueueButton = () =>
	act('Enqueue …', { role: 'producer' }, () =>
		ask('Enqueue a job', {
			fields: [
				h(
					'div',
					{ class: 'two' },
					field('queue', 'Queue', { list: 'queue-names', required: true }),
					field('type', 'Type'),
					field('delay', 'Delay', { placeholder: '5m' }),
					field('priority', 'Priority', { kind: 'number', placeholder: 'the queue’s' }),
				),
				field('data', 'Data, as JSON', { kind: 'area', value: '{}' }),
			],
			label: 'Enqueue',
			async go(v) {
				const { id } = await post(
					'v1/jobs',
					filled({
						...v,
						data: parsed(v.data, 'The data'),
						priority: v.priority && Number(v.priority),
					}),
				);
				location.hash = to('jobs', id);
			},
		}),
	);

// One job

views['jobs/*'] = {
	wants: (kind, d, at) => kind === 'job' && String(d.id) === at.args[0],
	async load(at) {
		const path = v1('jobs', at.args[0]);
		const [job, attempts, log] = await Promise.all([
			get(path),
			get(path + '/attempts'),
			get(path + '/log').catch(e => ({ problem: e.message })),
		]);
		return { job, attempts: attempts.items ?? attempts, log };
	},
	draw({ job: j, attempts, log }) {
		const ended = ['completed', 'dead', 'cancelled'].includes(j.state);
		const path = v1('jobs', j.id);
		return [
			title(
				[`Job ${j.id} `, state(j.state)],
				['dead', 'retrying'].includes(j.state) &&
					act('Retry', { kind: 'main' }, () =>
						post(path + '/retry').then(() => `Job ${j.id} runs again.`),
					),
				!ended &&
					act('Cancel', { danger: true }, () =>
						ask(`Cancel job ${j.id}?`, {
							text:
								j.state === 'running'
									? 'It runs: it is asked to stop, and stopped if it does not.'
									: 'It will not run.',
							label: 'Cancel the job',
							danger: true,
							go: () => post(path + '/cancel'),
						}).then(done => done && `Job ${j.id} is cancelled, or asked to stop.`),
					),
				['scheduled', 'blocked', 'retrying', 'dead'].includes(j.state) &&
					act('Edit data', {}, () =>
						ask(`Data of job ${j.id}`, {
							fields: [
								field('data', 'Data, as JSON', {
									kind: 'area',
									value: json(j.data),
								}),
							],
							label: 'Save',
							go: v => call('PATCH', path, { data: parsed(v.data, 'The data') }),
						}).then(done => done && `Job ${j.id} has other data.`),
					),
				j.state !== 'running' &&
					act('Delete', { danger: true }, () =>
						ask(`Delete job ${j.id}?`, {
							text: 'It, its result and its log are removed. This cannot be undone.',
							label: 'Delete',
							danger: true,
							go: () => call('DELETE', path),
						}).then(done => {
							if (done) location.hash = to('jobs') + query({ queue: j.queue });
							return done && `Job ${j.id} is deleted.`;
						}),
					),
			),
			exists(j.why) &&
				!ended &&
				h(
					'div',
					{ class: 'banner warn' },
					h('b', null, j.state === 'running' ? '' : 'Why it does not run: '),
					j.why,
				),
			j.error &&
				h(
					'div',
					{ class: 'banner' },
					h('b', null, j.error_class ? `${j.error_class}: ` : ''),
					j.error,
				),
			h(
				'div',
				{ class: 'columns' },
				h(
					'div',
					{ class: 'sheet' },
					facts(
						['Queue', queueLink(j.queue)],
						['Type', j.type],
						['Priority', exists(j.priority) && String(j.priority)],
						['Attempt', `${j.attempt} of ${j.max_attempts}`],
						[
							'Progress',
							exists(j.progress) && [
								h('progress', {
									max: 100,
									value: j.progress,
									'aria-label': 'Progress',
								}),
								` ${j.progress} % `,
								j.progress_note,
							],
						],
						['Tenant', j.tenant],
						['Tags', j.tags && j.tags.length > 0 && tags(j.tags)],
						['Unique key', j.unique_key],
						['Concurrency key', j.key],
						[
							'Workflow',
							exists(j.workflow) &&
								h('a', { href: to('workflows', j.workflow) }, j.workflow),
						],
						['Created', time(j.created_at, 'at')],
						['Run at', time(j.run_at, 'at')],
						['Started', time(j.started_at, 'at')],
						['Finished', time(j.finished_at, 'at')],
						['Node', j.node],
						['Worker', j.worker],
						[
							'Fingerprint',
							j.fingerprint &&
								h(
									'a',
									{ href: to('dead') + query({ fingerprint: j.fingerprint }) },
									j.fingerprint,
								),
						],
						['Reviewed', j.reviewed_by && [j.reviewed_by, ' ', time(j.reviewed_at)]],
						['Notes', j.notes],
					),
				),
				h('div', { class: 'sheet' }, timeline(j, attempts)),
			),
			section('Data', block(j.data)),
			!isEmpty(j.result) && section('Result', block(j.result)),
			section('Log', logText(log)),
		];
	},
};

function timeline(j, attempts) {
	const entry = (tone, ...text) => h('li', { class: tone }, text);
	const newest = attempts.reduce((n, a) => Math.max(n, a.attempt), 0);
	const waits = Date.parse(j.run_at) > Date.parse(j.created_at) + 999;
	return h(
		'ol',
		{ class: 'line', 'aria-label': 'What has happened' },
		entry('', 'created ', time(j.created_at)),
		waits && attempts.length === 0 && entry('', 'to run ', time(j.run_at)),
		[...attempts]
			.sort((a, b) => a.attempt - b.attempt)
			.map(a => {
				const took = Date.parse(a.finished_at) - Date.parse(a.started_at);
				return entry(
					tones[a.outcome] || 'warn',
					h('b', null, `Attempt ${a.attempt} ${a.outcome} `),
					time(a.finished_at),
					quiet([
						' · ',
						isNaN(took) ? '' : `${ms(took)} · `,
						[a.node, a.worker].filter(Boolean).join(' '),
						exists(a.exit_status) && ` · exit ${a.exit_status}`,
						exists(a.signal) && ` · signal ${a.signal}`,
						exists(a.cpu_ms) && ` · CPU ${ms(a.cpu_ms)}`,
						exists(a.max_rss_kb) && ` · ${size(a.max_rss_kb)}`,
					]),
					a.error && h('div', null, h('b', null, a.class ? `${a.class}: ` : ''), a.error),
				);
			}),
		j.state === 'running' &&
			entry(
				'busy',
				h('b', null, `Attempt ${Math.max(j.attempt, newest)} runs `),
				time(j.started_at),
				quiet(` · ${j.node ?? ''} ${j.worker ?? ''}`),
			),
		['retrying', 'scheduled'].includes(j.state) &&
			attempts.length > 0 &&
			entry('warn', 'next attempt ', time(j.run_at)),
		j.state === 'ready' && entry('', 'waits for a worker'),
		j.state === 'blocked' && entry('', 'waits for other jobs'),
	);
}

const logText = log =>
	log.problem
		? quiet(log.problem)
		: log.items.length === 0
			? quiet('It has written nothing.')
			: log.items.map(o => [
					h('p', { class: 'label' }, `Attempt ${o.attempt}`),
					block(o.text),
				]);

// Dead letters: by reason, and one by one.

const DEAD_FILTERS = ['queue', 'type', 'fingerprint', 'reviewed'];

views.dead = {
	wants: (kind, d) => kind === 'job' && (d.state === 'dead' || d.state === 'retrying'),
	head: at => [title('Dead letters'), filters(at, DEAD_FILTERS)],
	async load(at) {
		const filter = asked(at, DEAD_FILTERS);
		const [groups, letters] = await Promise.all([
			get('v1/dead-letters/groups' + query(asked(at, ['queue', 'type']))),
			get(
				'v1/dead-letters' + query({ ...filter, limit: 50, cursor: at.query.get('cursor') }),
			),
		]);
		// Groups are of all letters with a reason, reviewed or not.
		const of = at.query.get('fingerprint');
		return { groups: groups.items.filter(g => !of || g.fingerprint === of), letters };
	},
	draw({ groups, letters }, at) {
		return [
			section(
				'By reason',
				table(
					'Dead letters by reason',
					groups,
					[
						[
							'Reason',
							g =>
								h(
									'a',
									{
										href:
											to('dead') +
											query({ queue: g.queue, fingerprint: g.fingerprint }),
										class: 'clip',
									},
									g.error || g.error_class || 'no error was told',
								),
						],
						['Class', g => g.error_class],
						['Queue', g => queueLink(g.queue)],
						['Type', g => g.type],
						['Jobs', g => num(g.count), 'n'],
						['Reviewed', g => num(g.reviewed), 'n'],
						['First', g => time(g.first_died_at), 'w'],
						['Last', g => time(g.last_died_at), 'w'],
						may('operator') && [
							'',
							g =>
								h(
									'div',
									{ class: 'acts' },
									act('Retry all', {}, () => retryGroup(g)),
									act('Review all', {}, () => reviewGroup(g)),
								),
						],
					],
					{
						key: g => `${g.queue} ${g.fingerprint} ${g.error_class}`,
						empty: 'No job has died: there is nothing to do here.',
					},
				),
			),
			section(
				'One by one',
				table(
					'Dead letters',
					letters.items,
					[
						['Job', d => jobLink(d.job_id), 'w'],
						['Queue', d => queueLink(d.queue)],
						['Type', d => d.type],
						['Class', d => d.error_class],
						['Error', d => clip(d.error)],
						['Attempts', d => num(d.attempts), 'n'],
						['Died', d => time(d.died_at), 'w'],
						[
							'Review',
							d =>
								d.reviewed_at
									? [
											d.reviewed_by,
											' ',
											time(d.reviewed_at),
											exists(d.notes) &&
												h('div', { class: 'quiet' }, d.notes),
										]
									: quiet('not yet'),
						],
						may('operator') && [
							'',
							d =>
								h(
									'div',
									{ class: 'acts' },
									act('Retry', {}, () =>
										post(v1('dead-letters', d.job_id, 'retry')).then(
											() => `Job ${d.job_id} runs again.`,
										),
									),
									review(d),
								),
						],
					],
					{
						key: d => d.job_id,
						empty:
							at.query.size > 0
								? 'No dead letter is like that.'
								: 'There are no dead letters.',
					},
				),
				pager(letters, at),
			),
		];
	},
};

const reviewFields = d => [
	field('reviewed_by', 'By', { value: d.reviewed_by || session.name, required: true }),
	field('notes', 'Notes', { kind: 'area', value: d.notes }),
];

const review = d =>
	act('Review', {}, () =>
		ask(`Review of job ${d.job_id}`, {
			text: d.error,
			fields: reviewFields(d),
			label: 'Save',
			go: v => post(v1('dead-letters', d.job_id, 'review'), v),
		}).then(done => done && `Job ${d.job_id} is reviewed.`),
	);

// What is done to a group: to how many is asked again, since more may have come.
async function forGroup(g, verb, did, fields, past) {
	const path = v1('dead-letters', verb.toLowerCase()),
		body = { queue: g.queue, fingerprint: g.fingerprint };
	const found = (await post(path, { ...body, dry_run: true }))[did];
	return sure(found, n => ({
		heading: `${verb} ${jobs(n)}?`,
		text: [`All dead letters of ${g.queue} with this reason:`, g.error],
		fields,
		danger: false,
		label: `${verb} ${jobs(n)}`,
		go: v => post(path, { ...body, ...filled(v) }),
	})).then(
		done =>
			done &&
			`${jobs(done[did])} ${past}${done.refused ? `; ${jobs(done.refused)} refused` : ''}.`,
	);
}

const retryGroup = g => forGroup(g, 'Retry', 'retried', [], 'run again');
const reviewGroup = g => forGroup(g, 'Review', 'reviewed', reviewFields({}), 'reviewed');
