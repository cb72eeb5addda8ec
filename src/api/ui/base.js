'use strict';
// What every part uses: elements, numbers, times. Whatever comes from the
// server becomes a text node or an attribute, never markup.

const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

const SVG = new Set(['svg', 'path', 'line']);

// An element. Attributes that are null or false are left out; on… is a listener.
function h(tag, attributes, ...children) {
	const e = SVG.has(tag)
		? document.createElementNS('http://www.w3.org/2000/svg', tag)
		: document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {})) {
		if (value === null || value === undefined || value === false) continue;
		if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
		else if (name === 'value') e.value = value;
		else e.setAttribute(name, value === true ? '' : value);
	}
	e.append(...children.flat(9).filter(c => c !== null && c !== undefined && c !== false));
	return e;
}

const to = (...path) => '#/' + path.map(encodeURIComponent).join('/');
const query = o => {
	const q = new URLSearchParams();
	for (const [name, value] of Object.entries(o))
		if (value !== null && value !== undefined && value !== '') q.append(name, value);
	const text = q.toString();
	return text && '?' + text;
};

// Numbers and durations

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const exists = v => v !== null && v !== undefined && v !== '' && v !== false;
const num = v => (exists(v) ? (Math.abs(v) < 100 ? short : whole).format(v) : '');
const percent = v => (exists(v) ? short.format(v * 100) + ' %' : '');
const jobs = n => `${num(n)} job${n === 1 ? '' : 's'}`;

function ms(v) {
	if (!exists(v)) return '';
	const s = v / 1000;
	return v < 1000
		? `${Math.round(v)} ms`
		: s < 100
			? `${short.format(s)} s`
			: s < 6000
				? `${Math.round(s / 60)} min`
				: s < 172800
					? `${Math.round(s / 3600)} h`
					: `${whole.format(s / 86400)} days`;
}

const size = kb => (!exists(kb) ? '' : kb < 1024 ? `${num(kb)} KiB` : `${num(kb / 1024)} MiB`);
const json = v => JSON.stringify(v, null, 2);
const isEmpty = v => !exists(v) || (typeof v === 'object' && Object.keys(v).length === 0);

// Times: local, UTC in the title; relative ones are kept fresh by tick().

const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const stampShort = new Intl.DateTimeFormat(undefined, {
	weekday: 'short',
	day: 'numeric',
	month: 'short',
	hour: '2-digit',
	minute: '2-digit',
	second: '2-digit',
});
const utc = d =>
	d
		.toISOString()
		.replace('T', ' ')
		.replace(/\.000Z$|Z$/, ' UTC');

function told(d, kind) {
	const away = Date.now() - d.getTime();
	const text = ms(
		Math.abs(away) < 100000 ? Math.floor(Math.abs(away) / 1000) * 1000 : Math.abs(away),
	);
	return kind === 'at'
		? stamp.format(d)
		: kind === 'age'
			? text
			: Math.abs(away) < 1000
				? 'now'
				: away > 0
					? `${text} ago`
					: `in ${text}`;
}

// kind: how long ago, how old ('age'), or the instant itself ('at').
function time(v, kind = 'ago') {
	const d = new Date(v);
	if (!exists(v) || isNaN(d)) return exists(v) ? String(v) : '';
	return h(
		'time',
		{ datetime: d.toISOString(), title: `${stamp.format(d)} · ${utc(d)}`, 'data-kind': kind },
		told(d, kind),
	);
}

function tick() {
	for (const e of $$('time:not([data-kind=at])')) {
		const text = told(new Date(e.dateTime), e.dataset.kind);
		if (e.textContent !== text) e.textContent = text;
	}
}

// Words of states

const tones = {
	completed: 'good',
	running: 'busy',
	busy: 'busy',
	idle: 'good',
	dead: 'bad',
	failed: 'bad',
	firing: 'bad',
	retrying: 'warn',
	paused: 'warn',
	cancelled: 'warn',
	acknowledged: 'warn',
	lost: 'warn',
	'not served': 'bad',
	alive: 'good',
	gone: 'bad',
	blocked: 'warn',
	error: 'bad',
	late: 'warn',
	disabled: '',
	silenced: '',
	ended: 'good',
	active: 'good',
	draining: 'warn',
};
const state = word =>
	exists(word) ? h('span', { class: `state ${tones[word] || ''}` }, word) : '';
const quiet = (...text) => h('span', { class: 'quiet' }, text);
const clip = text =>
	exists(text) ? h('span', { class: 'clip', title: String(text).slice(0, 2000) }, text) : '';
const jobLink = id => (exists(id) ? h('a', { href: to('jobs', id) }, id) : '');
const queueLink = name => (exists(name) ? h('a', { href: to('queues', name) }, name) : '');
const block = v => h('pre', { tabindex: 0 }, typeof v === 'string' ? v : json(v));

// A list of terms: pairs whose value is empty are left out.
function facts(...pairs) {
	return h(
		'dl',
		null,
		pairs
			.filter(([, v]) => exists(v) && !(Array.isArray(v) && v.length === 0))
			.map(([name, v]) => [h('dt', null, name), h('dd', null, v)]),
	);
}

// A table. A column is [label, value of a row, class]; a row's first cell is
// what j, k and Enter go by.
function table(label, rows, columns, { key, empty = 'There is nothing here.' } = {}) {
	columns = columns.filter(Boolean);
	if (rows.length === 0) return h('div', { class: 'sheet empty' }, h('p', null, empty));
	return h(
		'div',
		{ class: 'scroll' },
		h(
			'table',
			{ class: 'cards', role: 'table', 'aria-label': label },
			h(
				'thead',
				{ role: 'rowgroup' },
				h(
					'tr',
					{ role: 'row' },
					columns.map(([name, , kind]) =>
						h(
							'th',
							{ scope: 'col', role: 'columnheader', class: kind },
							name || h('span', { class: 'skip' }, 'Actions'),
						),
					),
				),
			),
			h(
				'tbody',
				{ role: 'rowgroup' },
				rows.map(row =>
					h(
						'tr',
						{ role: 'row', 'data-key': key && String(key(row)) },
						columns.map(([name, value, kind]) =>
							h(
								'td',
								{
									role: 'cell',
									class: name ? kind : 'acts-cell',
									'data-label': name,
								},
								value(row),
							),
						),
					),
				),
			),
		),
	);
}

const title = (text, ...acts) =>
	h(
		'div',
		{ class: 'title' },
		h('h1', null, text),
		acts.length > 0 && h('div', { class: 'acts' }, acts),
	);
const section = (name, ...children) => h('section', null, h('h2', null, name), children);
const tile = (label, value, href, tone) =>
	h(href ? 'a' : 'div', { href }, quiet(label), h('b', { class: tone }, value));
