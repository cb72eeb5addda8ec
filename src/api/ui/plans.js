// Schedules and workflows.

const scheduleState = s =>
	!s.enabled ? 'disabled' : s.paused ? 'paused' : s.served === false ? 'not served' : 'active';

const scheduleActs = s => [
	act('Run now', { shared: true }, () =>
		ask(`Run ${s.name} now?`, {
			text: `One job more in the queue ${s.queue}; the next run by the clock stays as it is.`,
			label: 'Run now',
			go: () => post(v1('schedules', s.name, 'run')),
		}).then(done => done && `${s.name} has been started.`),
	),
	s.paused
		? act('Resume', { shared: true }, () =>
				post(v1('schedules', s.name, 'resume')).then(() => `${s.name} goes on.`),
			)
		: act('Pause', { shared: true }, () =>
				post(v1('schedules', s.name, 'pause')).then(() => `${s.name} is paused.`),
			),
];

const specWords = s =>
	typeof s.spec === 'object' && s.spec !== null
		? Object.entries(s.spec)
				.map(([k, v]) => `${k} ${v}`)
				.join(' ')
		: s.spec;

views.schedules = paged({
	path: 'v1/schedules',
	names: ['queue', 'type'],
	limit: 200,
	wants: kind => kind === 'schedule',
	head: at => [
		title(
			'Schedules',
			may('admin', true) && h('a', { class: 'button', href: to('new-schedule') }, 'New …'),
		),
		filters(at, ['queue', 'type']),
	],
	draw: items =>
		table(
			'Schedules',
			items,
			[
				[
					'Schedule',
					s => [
						h('a', { href: to('schedules', s.name) }, s.name),
						s.description && h('div', { class: 'quiet' }, s.description),
					],
				],
				['State', s => state(scheduleState(s))],
				[
					'When',
					s => [h('span', { class: 'nowrap' }, specWords(s)), ' ', quiet(s.timezone)],
				],
				['Queue', s => queueLink(s.queue)],
				['Next', s => time(s.next_run), 'w'],
				[
					'Last',
					s =>
						exists(s.last_run)
							? [
									time(s.last_run),
									' ',
									state(s.last_outcome),
									' ',
									exists(s.last_job_id) &&
										h(
											'span',
											{ class: 'nowrap' },
											'job ',
											jobLink(s.last_job_id),
										),
								]
							: quiet('never'),
				],
				['Missed', s => num(s.missed), 'n'],
				may('operator', true) && ['', s => h('div', { class: 'acts' }, scheduleActs(s))],
			],
			{ key: s => s.name, empty: 'There are no schedules.' },
		),
});

views['schedules/*'] = {
	wants: (kind, d, at) => kind === 'schedule' && d.name === at.args[0],
	load: at => get(v1('schedules', at.args[0])),
	draw(s) {
		const own = s.origin === 'sql';
		const runs = [...(s.runs || [])].reverse();
		return [
			title(
				[s.name, ' ', state(scheduleState(s))],
				scheduleActs(s),
				own &&
					may('admin', true) &&
					h('a', { class: 'button', href: to('schedules', s.name, 'edit') }, 'Edit'),
				own &&
					act('Delete', { role: 'admin', shared: true, danger: true }, () =>
						ask(`Delete the schedule ${s.name}?`, {
							text: 'It runs no more. Jobs that it has made stay.',
							label: 'Delete',
							danger: true,
							go: () => call('DELETE', v1('schedules', s.name)),
						}).then(done => {
							if (done) location.hash = to('schedules');
							return done && `${s.name} is deleted.`;
						}),
					),
			),
			exists(s.last_error) &&
				h(
					'div',
					{ class: 'banner' },
					'Last trouble ',
					time(s.last_error_at),
					': ',
					s.last_error,
				),
			exists(s.error) && h('div', { class: 'banner' }, s.error),
			h(
				'div',
				{ class: 'columns' },
				h(
					'div',
					{ class: 'sheet' },
					facts(
						['Description', s.description],
						['When', specWords(s)],
						['Time zone', s.timezone],
						['Queue', queueLink(s.queue)],
						['Type', s.type],
						['Made by', own ? 'a person or a program' : 'the configuration'],
						['Overlap', s.overlap],
						['Only if', s.only_if],
						['For each', s.for_each],
						['Tenant', s.tenant],
						['Last run', time(s.last_run, 'at')],
						[
							'Last outcome',
							exists(s.last_outcome) && [
								state(s.last_outcome),
								' job ',
								jobLink(s.last_job_id),
							],
						],
						['Late by', exists(s.lateness_ms) && ms(s.lateness_ms)],
						['Fired', num(s.fired)],
						['Skipped', num(s.skipped)],
						['Failed', num(s.failed)],
						['Missed', num(s.missed)],
					),
				),
				h(
					'div',
					{ class: 'sheet' },
					h('h2', null, 'Next runs'),
					times(s.next_runs ?? (s.next_run ? [s.next_run] : [])),
				),
			),
			runs.length > 0 &&
				section(
					'Last runs',
					table(
						'Last runs',
						runs,
						[
							['Job', r => jobLink(r.job_id)],
							['State', r => state(r.state)],
							['Run at', r => time(r.run_at), 'w'],
							['Started', r => time(r.started_at), 'w'],
							['Finished', r => time(r.finished_at), 'w'],
							['Error', r => clip(r.error)],
						],
						{ key: r => r.job_id },
					),
				),
			!isEmpty(s.data) && section('Data', block(s.data)),
		];
	},
};

const times = list =>
	list.length === 0
		? quiet('It does not run any more.')
		: h(
				'ol',
				{ class: 'line' },
				list.map(t => h('li', null, time(t, 'at'), ' ', quiet(time(t)))),
			);

// To make or change one. The next times are shown while the rule is typed.
function scheduleForm(s, name) {
	const kind = ['cron', 'every', 'at'].find(k => exists(s[k])) || 'cron';
	const next = h('div', { class: 'sheet', 'aria-live': 'polite' });
	const trouble = h('p', { class: 'bad', role: 'alert' });
	let timer,
		asking = 0;
	const zones = Intl.supportedValuesOf?.('timeZone') || [];
	const preview = async () => {
		const mine = ++asking;
		const v = values(form);
		let shown;
		try {
			const answer =
				v.kind === 'at'
					? { items: [v.rule] }
					: await get(
							'v1/schedules/explain' +
								query({ [v.kind]: v.rule, timezone: v.timezone, count: 5 }),
						);
			shown = times(answer.items);
		} catch (problem) {
			shown = h('p', { class: 'bad' }, problem.message);
		}
		if (mine === asking) next.replaceChildren(h('h2', null, 'Next runs'), shown);
	};
	const later = event => {
		if (['kind', 'rule', 'timezone'].includes(event.target.name)) {
			clearTimeout(timer);
			timer = setTimeout(preview, 250);
		}
	};
	const form = h(
		'form',
		{
			oninput: later,
			async onsubmit(event) {
				event.preventDefault();
				trouble.textContent = '';
				try {
					const { name: own, kind: which, rule, data, enabled, ...rest } = values(form);
					// What the form does not have stays as it was; SQL is not sent.
					const { cron, every, at, only_if, for_each, ...body } = s.definition ?? {};
					for (const key of Object.keys(rest)) delete body[key];
					Object.assign(body, filled(rest), {
						[which]: rule,
						enabled,
						data: parsed(data, 'The data'),
					});
					if (name === undefined) await post('v1/schedules', { name: own, ...body });
					else await call('PUT', v1('schedules', name), body);
					say(`The schedule ${name ?? own} is saved.`);
					location.hash = to('schedules', name ?? own);
				} catch (problem) {
					trouble.textContent = problem.message;
				}
			},
		},
		h(
			'div',
			{ class: 'columns' },
			h(
				'div',
				{ class: 'sheet' },
				name === undefined && field('name', 'Name', { required: true }),
				h(
					'div',
					{ class: 'two' },
					field('kind', 'Kind', {
						kind: [
							['cron', 'cron: by the calendar'],
							['every', 'every: at an interval'],
							['at', 'at: once'],
						],
						value: kind,
					}),
					field('rule', 'When', {
						value: s[kind] ?? '0 9 * * 1-5',
						required: true,
						hint: '30 2 * * *, or 5m, or 2026-12-01T10:00:00Z',
					}),
					field('timezone', 'Time zone', { value: s.timezone || 'UTC', list: 'zones' }),
					field('queue', 'Queue', {
						value: s.queue,
						required: true,
						list: 'queue-names',
					}),
					field('type', 'Type', { value: s.type }),
					field('priority', 'Priority', { value: s.priority }),
					field('overlap', 'When the last run still lives', {
						kind: [
							['allow', 'run beside it'],
							['skip', 'leave this one out'],
							['replace', 'cancel that one'],
						],
						value: s.overlap,
					}),
					field('catch_up', 'Missed runs', {
						kind: [
							['last', 'run the last one'],
							['none', 'leave them out'],
							['all', 'run all of them'],
						],
						value: s.catch_up,
					}),
					field('starts', 'Starts', {
						value: s.starts,
						placeholder: '2026-12-01T00:00:00Z',
					}),
					field('ends', 'Ends', { value: s.ends }),
					field('tenant', 'Tenant', { value: s.tenant }),
				),
				field('description', 'Description', { value: s.description }),
				field('data', 'Data, as JSON', { kind: 'area', value: json(s.data ?? {}) }),
				field('enabled', 'Enabled', { kind: 'tick', value: s.enabled ?? true }),
				trouble,
				h(
					'div',
					{ class: 'acts' },
					h('button', { class: 'main' }, 'Save'),
					h(
						'a',
						{
							class: 'button',
							href: to('schedules', ...(name === undefined ? [] : [name])),
						},
						'Cancel',
					),
				),
			),
			next,
		),
		h(
			'datalist',
			{ id: 'zones' },
			zones.map(z => h('option', { value: z })),
		),
	);
	preview();
	return form;
}

views['new-schedule'] = {
	still: true,
	load: async () => ({}),
	draw: () => [title('New schedule'), scheduleForm({})],
};

views['schedules/*/edit'] = {
	still: true,
	load: at => get(v1('schedules', at.args[0])),
	draw: (s, at) => [
		title(`Schedule ${at.args[0]}`),
		scheduleForm({ ...s, ...s.definition }, at.args[0]),
	],
};

// Workflows

views.workflows = paged({
	path: 'v1/workflows',
	names: ['name', 'state'],
	wants: kind => kind === 'workflow' || kind === 'job',
	head: at => [
		title('Workflows'),
		filters(at, ['name', 'state'], ['running', 'completed', 'failed', 'cancelled']),
	],
	draw: items =>
		table(
			'Workflows',
			items,
			[
				['Run', w => h('a', { href: to('workflows', w.id) }, w.id)],
				['Workflow', w => w.name],
				['State', w => state(w.state)],
				['Tenant', w => w.tenant],
				['Started', w => time(w.created_at), 'w'],
				['Finished', w => time(w.finished_at), 'w'],
				['Failed', w => w.failed_step && [h('b', null, w.failed_step), clip(w.error)]],
			],
			{ key: w => w.id, empty: 'No workflow has been started.' },
		),
});

const steps = w => Object.entries(w.steps || {}).map(([name, s]) => [name, { name, ...s }]);

views['workflows/*'] = {
	wants: kind => kind === 'workflow' || kind === 'job',
	load: at => get(v1('workflows', at.args[0])),
	draw: w => [
		title(
			[`${w.name} ${w.id} `, state(w.state)],
			w.state === 'running' &&
				act('Cancel', { danger: true }, () =>
					ask(`Cancel the workflow ${w.id}?`, {
						text: `${steps(w).filter(([, s]) => !['completed', 'skipped', 'cancelled', 'failed', 'dead'].includes(s.state)).length} of its ${steps(w).length} steps are not done yet; they are cancelled.`,
						label: 'Cancel the workflow',
						danger: true,
						go: () => post(v1('workflows', w.id, 'cancel')),
					}).then(done => done && `Workflow ${w.id} is cancelled.`),
				),
			['failed', 'cancelled'].includes(w.state) &&
				act('Retry', { kind: 'main' }, () =>
					post(v1('workflows', w.id, 'retry')).then(() => `Workflow ${w.id} goes on.`),
				),
		),
		w.error &&
			h(
				'div',
				{ class: 'banner' },
				w.failed_step && h('b', null, `${w.failed_step}: `),
				w.error,
			),
		table(
			'Steps',
			steps(w),
			[
				[
					'Step',
					([name, s]) =>
						exists(s.job_id)
							? h('a', { href: to('jobs', s.job_id) }, name)
							: h('span', null, name),
				],
				['State', ([, s]) => state(s.state)],
				['Job', ([, s]) => jobLink(s.job_id), 'n'],
				[
					'Jobs',
					([, s]) =>
						exists(s.jobs)
							? `${num(s.completed)} of ${num(s.jobs)}${s.failed ? `, ${num(s.failed)} failed` : ''}`
							: '',
					'n',
				],
			],
			{ key: ([name]) => name, empty: 'It has no steps.' },
		),
		h(
			'div',
			{ class: 'columns' },
			section(
				'Run',
				h(
					'div',
					{ class: 'sheet' },
					facts(
						['Started', time(w.created_at, 'at')],
						['Finished', time(w.finished_at, 'at')],
						['Tenant', w.tenant],
						['On failure', jobLink(w.on_failure_job)],
					),
				),
			),
			section('Data', block(w.data)),
		),
	],
};
