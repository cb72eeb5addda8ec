// What there is to look at, where we are, and how it is kept up to date.

// In the order of the navigation: [name, title, key of g, least role, shared].
const places = [
	['overview', 'Overview', 'o', 'viewer'],
	['queues', 'Queues', 'q', 'viewer'],
	['jobs', 'Jobs', 'j', 'viewer'],
	['history', 'History', 'h', 'viewer'],
	['dead', 'Dead letters', 'd', 'viewer'],
	['schedules', 'Schedules', 's', 'viewer'],
	['workflows', 'Workflows', 'f', 'viewer'],
	['workers', 'Workers', 'w', 'viewer', true],
	['alerts', 'Alerts', 'a', 'viewer', true],
	['audit', 'Audit', 'u', 'admin', true],
];

const open = () => places.filter(([, , , role, shared]) => may(role, shared));

let here = null; // {view, args, query, text of its data, took, at}
let visits = 0;

// '#/jobs/42?x=1': the view 'jobs/*' with the argument '42'. What follows that
// is part of the view's name, as in 'schedules/*/edit'.
function where() {
	const [path, search] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
	let [name, ...args] = (path || 'overview').split('/');
	try {
		args = args.map(decodeURIComponent);
	} catch {
		args = [];
	}
	return {
		place: name,
		view: views[[name, ...args.map((a, i) => (i === 0 ? '*' : a))].join('/')],
		args,
		query: new URLSearchParams(search || ''),
	};
}

// What is open or has the focus, by the key of its row, to be so again.
function keep(main) {
	const focus = document.activeElement,
		row = focus?.closest?.('[data-key]');
	const key = row && main.contains(row) && row.dataset.key;
	const nth = key && $$('a, button, summary, input', row).indexOf(focus);
	const opened = $$('details[open][data-key]', main).map(e => e.dataset.key);
	return () => {
		for (const e of $$('details[data-key]', main))
			if (opened.includes(e.dataset.key)) e.open = true;
		if (key) {
			const again = $$('[data-key]', main).find(e => e.dataset.key === key);
			if (again)
				($$('a, button, summary, input', again)[nth] || again).focus({
					preventScroll: true,
				});
		}
	};
}

async function visit() {
	const mine = ++visits;
	const place = where();
	const main = $('#main');
	for (const a of $$('#nav a')) a.ariaCurrent = a.hash === '#/' + place.place ? 'page' : null;
	for (const dialog of $$('dialog')) dialog.close();
	if (!place.view) {
		here = null;
		main.removeAttribute('aria-busy');
		main.replaceChildren(
			title('There is no such page'),
			h('p', null, h('a', { href: to('overview') }, 'To the overview')),
		);
		return;
	}
	document.title = `${[place.place, ...place.args].join(' ')} · jobqd`;
	main.setAttribute('aria-busy', 'true');
	const late = setTimeout(() => {
		if (mine === visits) main.replaceChildren(h('p', { class: 'quiet' }, 'Loading …'));
	}, 250);
	here = { ...place, head: h('div'), body: h('div', { 'aria-live': 'off' }), text: null };
	try {
		await load(here);
		if (mine !== visits) return;
		here.head.append(...[here.view.head?.(here)].flat().filter(Boolean));
		main.replaceChildren(here.head, here.body);
	} catch (problem) {
		if (mine !== visits || session === null) return;
		main.replaceChildren(
			title(place.place),
			h('div', { class: 'banner', role: 'alert' }, problem.message),
			h('button', { type: 'button', onclick: visit }, 'Try again'),
		);
		if (problem.status !== 0 && problem.status !== 503) here = null;
	} finally {
		clearTimeout(late);
		if (mine === visits) {
			main.removeAttribute('aria-busy');
			scrollTo(0, 0);
			if (
				document.activeElement === document.body ||
				!document.activeElement?.isConnected ||
				$('#nav').contains(document.activeElement)
			)
				main.focus({ preventScroll: true });
		}
	}
}

async function load(at) {
	const began = performance.now();
	const data = await at.view.load(at);
	at.took = performance.now() - began;
	at.asked = performance.now();
	const text = JSON.stringify(data);
	linked(true);
	if (text === at.text) return;
	at.text = text;
	const restore = keep(at.body);
	at.body.replaceChildren(...[at.view.draw(data, at)].flat(9).filter(Boolean));
	restore();
}

let loading = false,
	again = false;

// Show what is new, unless that comes anyhow. What somebody is writing in, or has
// marked, is left alone unless it is because of what he did.
async function refresh(must) {
	const at = here;
	if (
		at === null ||
		session === null ||
		$('#main').ariaBusy === 'true' ||
		(!must &&
			(at.view.still ||
				document.hidden ||
				getSelection().type === 'Range' ||
				performance.now() - at.asked < at.took * 10))
	)
		return;
	if (loading) {
		again = again || must;
		return;
	}
	loading = true;
	try {
		if (at.text === null) {
			await visit();
		} else {
			await load(at);
		}
	} catch (problem) {
		if (session !== null && at === here) {
			if (problem.status === 404 && must) await visit();
			else if (problem.status === 0 || problem.status === 503) linked(false, problem.message);
			else say(problem.message, true);
		}
	}
	loading = false;
	if (again) {
		again = false;
		refresh(true);
	}
}

// Live: events make a view that wants them load again, at most once in two
// seconds, and less often the longer that takes. Without them it does so every
// ten, as it does with them in case that one was missed.

const EVENTS = ['job', 'queue', 'alert', 'schedule', 'worker', 'workflow', 'skipped', 'reset'];
let source = null,
	soon = null,
	reached = true,
	why = '';

function linked(ok, reason) {
	reached = ok;
	why = reason || '';
	const live = source !== null && source.readyState === EventSource.OPEN;
	const e = $('#link');
	const text = session === null ? '' : !reached ? 'not connected' : live ? 'live' : 'every 10 s';
	e.className = !reached ? 'lost' : live ? 'live' : '';
	if (e.textContent !== text) e.textContent = text;
	e.title = !reached
		? why
		: live
			? 'Changes are shown as they happen.'
			: 'There is no stream of events: what is shown is loaded anew every 10 seconds.';
}

const pause = at => Math.max(2000, (at?.took ?? 0) * 10);

function listen() {
	clearTimeout(listen.timer);
	if (source !== null || session === null || document.hidden) return;
	source = new EventSource('v1/events');
	source.onopen = () => {
		linked(true);
		refresh();
	};
	source.onerror = () => {
		if (source?.readyState === EventSource.CLOSED) {
			source = null;
			listen.timer = setTimeout(listen, 30000);
		}
		linked(reached, why);
	};
	for (const kind of EVENTS)
		source.addEventListener(kind, event => {
			let data;
			try {
				data = JSON.parse(event.data);
			} catch {
				data = {};
			}
			const wanted =
				kind === 'reset' || kind === 'skipped' || here?.view.wants?.(kind, data, here);
			if (wanted && soon === null)
				soon = setTimeout(
					() => {
						soon = null;
						refresh();
					},
					Math.max(100, pause(here) - (performance.now() - (here?.asked ?? 0))),
				);
		});
}

function deaf() {
	source?.close();
	source = null;
}

// Who is there

function login() {
	deaf();
	document.body.className = 'alone';
	$('#nav').hidden = $('#search').hidden = true;
	$('#tools').replaceChildren(theme);
	linked(true);
	const trouble = h('p', { class: 'bad', role: 'alert' });
	const input = h('input', {
		type: 'password',
		name: 'token',
		required: true,
		autocomplete: 'current-password',
		maxlength: 4096,
	});
	const send = h('button', { class: 'main' }, 'Log in');
	$('#main').replaceChildren(
		h(
			'form',
			{
				class: 'login sheet',
				async onsubmit(event) {
					event.preventDefault();
					send.disabled = true;
					try {
						await post('v1/session', { token: input.value.trim() });
						await start();
					} catch (problem) {
						trouble.textContent = problem.message;
						input.select();
					}
					send.disabled = false;
				},
			},
			h('h1', null, 'Log in'),
			h('input', {
				name: 'username',
				autocomplete: 'username',
				value: 'jobqd',
				hidden: true,
			}),
			h('label', { class: 'field' }, h('span', null, 'Token'), input),
			trouble,
			send,
			h(
				'p',
				{ class: 'hint' },
				'Tokens are in the file that api.tokens_file names; jobqctl token new makes one.',
			),
		),
	);
	input.focus();
}

async function start() {
	try {
		session = await get('v1/session');
	} catch (problem) {
		session = null;
		here = null;
		if (problem.status === 401) return login();
		$('#main').replaceChildren(
			h('div', { class: 'banner', role: 'alert' }, problem.message),
			h('button', { type: 'button', onclick: start }, 'Try again'),
		);
		return;
	}
	document.body.className = '';
	$('#search').hidden = false;
	$('#nav').hidden = false;
	$('#nav').replaceChildren(
		...open().map(([name, label, key]) => h('a', { href: to(name), title: `g ${key}` }, label)),
	);
	$('#tools').replaceChildren(
		h(
			'span',
			{ class: 'who quiet' },
			`${session.name} · ${session.role}${exists(session.tenant) ? ` · ${session.tenant}` : ''}`,
		),
		theme,
		h(
			'button',
			{ type: 'button', title: 'Keys (?)', 'aria-label': 'Help: the keys', onclick: help },
			'?',
		),
		h(
			'button',
			{
				type: 'button',
				async onclick() {
					await call('DELETE', 'v1/session').catch(() => null);
					session = null;
					start();
				},
			},
			'Log out',
		),
	);
	linked(true);
	listen();
	$('#queue-names')?.remove();
	visit();
}

// Names of queues, for who is about to type one.
document.addEventListener('focusin', async event => {
	if (event.target.getAttribute('list') !== 'queue-names' || $('#queue-names')) return;
	const answer = await get('v1/queues' + query({ limit: 1000 })).catch(() => ({ items: [] }));
	$('#queue-names')?.remove();
	document.body.append(
		h(
			'datalist',
			{ id: 'queue-names' },
			answer.items.map(q => h('option', { value: q.name })),
		),
	);
});

// Light or dark: the system's, until somebody says otherwise.
const theme = (() => {
	const words = { '': 'Auto', light: 'Light', dark: 'Dark' };
	const set = to => {
		document.documentElement.dataset.theme = to;
		button.textContent = words[to];
		button.setAttribute('aria-label', `Colours: ${words[to]}`);
	};
	const stored = () => {
		try {
			return localStorage.getItem('theme') || '';
		} catch {
			return '';
		}
	};
	const button = h('button', {
		type: 'button',
		title: 'Colours: as the system has them, light or dark',
		onclick() {
			const next = { '': 'light', light: 'dark', dark: '' }[
				document.documentElement.dataset.theme || ''
			];
			try {
				localStorage.setItem('theme', next);
			} catch {
				// not kept, then
			}
			set(next);
		},
	});
	set(Object.hasOwn(words, stored()) ? stored() : '');
	return button;
})();

// Keys

function help() {
	const keys = [
		['/', 'find jobs'],
		['j k', 'next row, previous row'],
		['Enter', 'open the row'],
		['r', 'load anew'],
		['Esc', 'leave a field or a dialog'],
		['?', 'this help'],
		...open().map(([, label, key]) => [`g ${key}`, label]),
	];
	const dialog = h(
		'dialog',
		{ 'aria-labelledby': 'keys', onclose: () => dialog.remove() },
		h('h2', { id: 'keys' }, 'Keys'),
		h(
			'dl',
			null,
			keys.map(([key, text]) => [
				h(
					'dt',
					null,
					key.split(' ').map(k => [h('kbd', null, k), ' ']),
				),
				h('dd', null, text),
			]),
		),
		h(
			'p',
			{ class: 'hint' },
			'Find: a job’s id, or words like queue:mail state:dead type:welcome tenant:acme tag:urgent since:2h until:10m data.user=7',
		),
		h('form', { method: 'dialog', class: 'acts' }, h('button', { class: 'main' }, 'Close')),
	);
	document.body.append(dialog);
	dialog.showModal();
}

function step(by) {
	const rows = $$('#main tbody tr');
	if (rows.length === 0) return;
	const at = rows.indexOf(document.activeElement?.closest('tr'));
	const row =
		rows[
			at < 0
				? by > 0
					? 0
					: rows.length - 1
				: Math.min(rows.length - 1, Math.max(0, at + by))
		];
	let target = $('a, button, summary', row);
	if (!target) {
		row.tabIndex = -1;
		target = row;
	}
	target.focus();
	row.scrollIntoView({ block: 'nearest' });
}

let going = 0; // until when a letter says where to

document.addEventListener('keydown', event => {
	const typing = event.target.closest?.('input, select, textarea');
	if (typing && event.key === 'Escape' && !$('dialog')) typing.blur();
	if (session === null || typing || $('dialog') || event.ctrlKey || event.altKey || event.metaKey)
		return;
	if (performance.now() < going) {
		going = 0;
		const place = open().find(([, , key]) => key === event.key);
		if (place) {
			location.hash = to(place[0]);
			event.preventDefault();
		}
		return;
	}
	const go = {
		'/': () => $('#search input').select(),
		'?': help,
		j: () => step(1),
		k: () => step(-1),
		r: () => refresh(true),
		g: () => {
			going = performance.now() + 1500;
		},
	}[event.key];
	if (go) {
		event.preventDefault();
		go();
	}
});

$('#search').addEventListener('submit', event => {
	event.preventDefault();
	const input = $('#search input');
	const found = searched(input.value);
	if (found === null) return;
	input.value = '';
	input.blur();
	if (location.hash === found) visit();
	location.hash = found;
});

addEventListener('hashchange', () => session !== null && visit());
document.addEventListener('visibilitychange', () => {
	if (document.hidden) {
		deaf();
	} else {
		listen();
		refresh();
	}
	linked(reached, why);
});
setInterval(tick, 1000);
setInterval(refresh, 10000);
start();
