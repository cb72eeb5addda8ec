// The API, who is asking, and what may be done.

class Problem extends Error {
	constructor(status, detail) {
		super(detail);
		this.status = status;
	}
}

let session = null; // {name, role, tenant}

const roles = ['viewer', 'producer', 'operator', 'admin'];
// May we? shared: what belongs to no tenant, which a tenant's token leaves alone.
const may = (role, shared) =>
	session !== null &&
	roles.indexOf(session.role) >= roles.indexOf(role) &&
	!(shared && exists(session.tenant));

async function call(method, path, body) {
	let response, text;
	try {
		response = await fetch(path, {
			method,
			cache: 'no-store',
			credentials: 'same-origin',
			signal: AbortSignal.timeout(30000),
			headers: {
				'X-Requested-With': 'jobqd',
				...(body !== undefined && { 'Content-Type': 'application/json' }),
			},
			body: body === undefined ? undefined : JSON.stringify(body),
		});
		text = await response.text();
	} catch (e) {
		throw new Problem(
			0,
			e.name === 'TimeoutError'
				? 'jobqd takes too long to answer.'
				: 'jobqd does not answer.',
		);
	}
	let answer = null;
	try {
		answer = text === '' ? null : JSON.parse(text);
	} catch {
		if (response.ok)
			throw new Problem(
				response.status,
				'The answer is not JSON: is there something between here and jobqd?',
			);
	}
	if (response.ok) return answer;
	if (response.status === 401 && session !== null) {
		session = null;
		start();
	}
	throw new Problem(
		response.status,
		answer?.detail || answer?.title || `The answer is ${response.status}.`,
	);
}

const get = path => call('GET', path);
const post = (path, body = {}) => call('POST', path, body);
const v1 = (...path) => 'v1/' + path.map(encodeURIComponent).join('/');

// What is said at the bottom for a while.
function say(text, bad) {
	const e = h('div', { class: bad && 'bad', role: bad && 'alert' }, text);
	$('#says').append(e);
	setTimeout(() => e.remove(), bad ? 12000 : 5000);
}

// A button; null for who may not. go() may return what to say when it is done.
function act(label, { role = 'operator', shared = false, danger, kind, hint } = {}, go) {
	if (!may(role, shared)) return null;
	return h(
		'button',
		{
			type: 'button',
			class: danger ? 'danger' : kind,
			title: hint,
			async onclick(event) {
				const button = event.currentTarget;
				button.disabled = true;
				try {
					const done = await go();
					if (done) say(done);
					refresh(true);
				} catch (problem) {
					say(problem.message, true);
				}
				button.disabled = false;
			},
		},
		label,
	);
}

// An input with its label. kind: text, area, number, tick, time or a list of
// options, each a word or [value, words].
function field(name, label, { kind = 'text', value = '', hint, list, required, placeholder } = {}) {
	const common = { name, required, placeholder, 'aria-describedby': hint && `hint-${name}` };
	const input = Array.isArray(kind)
		? h(
				'select',
				common,
				kind.map(o => {
					const [v, words] = Array.isArray(o) ? o : [o, o];
					return h(
						'option',
						{ value: v, selected: String(v) === String(value ?? '') },
						words,
					);
				}),
			)
		: kind === 'area'
			? h('textarea', { ...common, spellcheck: 'false', value })
			: kind === 'tick'
				? h('input', { ...common, type: 'checkbox', checked: Boolean(value) })
				: h('input', {
						...common,
						type: kind,
						list,
						value,
						autocomplete: 'off',
						step: kind === 'number' ? 'any' : null,
					});
	const after = hint && h('span', { class: 'hint', id: `hint-${name}` }, hint);
	return kind === 'tick'
		? h('label', { class: 'tick' }, input, h('span', null, label), after)
		: h('label', { class: 'field' }, h('span', null, label), input, after);
}

const values = form =>
	Object.fromEntries(
		$$('[name]', form).map(e => [e.name, e.type === 'checkbox' ? e.checked : e.value.trim()]),
	);

// A dialog with fields and two ways out. go(values) acts; when it fails, its
// reason is shown and the dialog stays. What go() returned, or true; false: no.
function ask(heading, { text, fields = [], label = 'OK', danger, go }) {
	return new Promise(resolve => {
		const from = document.activeElement;
		let done = false;
		const trouble = h('p', { class: 'bad', role: 'alert' });
		const send = h('button', { class: danger ? 'danger' : 'main' }, label);
		const dialog = h(
			'dialog',
			{
				'aria-labelledby': 'asked',
				onclose() {
					dialog.remove();
					if (from?.isConnected) from.focus();
					resolve(done);
				},
			},
			h(
				'form',
				{
					async onsubmit(event) {
						event.preventDefault();
						send.disabled = true;
						trouble.textContent = '';
						try {
							done = (await go(values(dialog))) ?? true;
							dialog.close();
						} catch (problem) {
							trouble.textContent = problem.message;
						}
						send.disabled = false;
					},
				},
				h('h2', { id: 'asked' }, heading),
				[text].flat().map(t => t && h('p', null, t)),
				fields,
				trouble,
				h(
					'div',
					{ class: 'acts' },
					h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'),
					send,
				),
			),
		);
		document.body.append(dialog);
		dialog.showModal();
	});
}

// Ask whether it is meant for so many: words(n) is what ask() takes, with heading.
async function sure(n, words) {
	if (n > 0) {
		const { heading, ...rest } = words(n);
		return ask(heading, { danger: true, ...rest });
	}
	say('There are none.');
	return false;
}

// JSON that somebody typed.
function parsed(text, what) {
	try {
		return JSON.parse(text === '' ? '{}' : text);
	} catch (e) {
		throw new Problem(0, `${what} is no JSON: ${e.message}`);
	}
}
