// Charts, as SVG by hand. What a chart shows is told by its label, by the
// legend as the pointer or the arrow keys move, and by a table.

// A round number not below v, for the top of an axis.
function roundUp(v) {
	const unit = 10 ** Math.floor(Math.log10(v || 1));
	return [1, 2, 2.5, 5, 10].map(k => k * unit).find(k => k >= v * 0.999) || 1;
}

// points: [{at, …}], by time. series: [{name, value of a point, area}].
function chart(name, points, series, { format = num, from, until, step, least = 0 } = {}) {
	const times = points.map(p => Date.parse(p.at));
	const first = from ?? times[0],
		last = until ?? times[times.length - 1];
	const range = last - first;
	const lines = series.map(s => points.map(s.value));
	const all = lines.flat().filter(exists);
	const top = roundUp(Math.max(least, ...all));
	const x = t => (last > first ? ((t - first) / (last - first)) * 1000 : 0);
	const y = v => 100 - (v / top) * 100;
	// A gap in the data is a gap in the line.
	const path = (line, area) => {
		let d = '',
			begun = null;
		const end = i => {
			if (begun !== null && area)
				d += `L${x(times[i]).toFixed(1)} 100L${x(times[begun]).toFixed(1)} 100Z`;
			else if (begun === i && begun !== null)
				d += `h${Math.max(6, (step / range) * 1000).toFixed(1)}`;
			begun = null;
		};
		line.forEach((v, i) => {
			if (begun !== null && (!exists(v) || times[i] - times[i - 1] > step * 1.9)) end(i - 1);
			if (!exists(v)) return;
			d += `${begun === null ? 'M' : 'L'}${x(times[i]).toFixed(1)} ${y(v).toFixed(2)}`;
			begun ??= i;
		});
		end(line.length - 1);
		return d;
	};
	const clock = new Intl.DateTimeFormat(
		undefined,
		range > 86400000 * 1.5
			? { weekday: 'short', day: 'numeric', hour: '2-digit' }
			: { hour: '2-digit', minute: '2-digit' },
	);
	const newest = line => line.findLast(exists);
	const told = series
		.map(
			(s, i) =>
				`${s.name} ${
					exists(newest(lines[i]))
						? `${format(newest(lines[i]))}, at most ${format(Math.max(...lines[i].filter(exists)))}`
						: 'none'
				}`,
		)
		.join('; ');
	const legends = series.map((s, i) => h('span', { class: `legend c${s.color || i + 1}` }));
	const when = quiet();
	const mark = h('line', { y1: 0, y2: 100, visibility: 'hidden' });
	let shown = null;
	// The values of one point; null: the newest.
	const show = i => {
		shown = i;
		series.forEach((s, k) => {
			const v = i === null ? newest(lines[k]) : lines[k][i];
			legends[k].textContent = `${s.name} ${exists(v) ? format(v) : '–'}`;
		});
		when.textContent = i === null ? '' : stampShort.format(times[i]);
		mark.setAttribute('visibility', i === null ? 'hidden' : 'visible');
		if (i !== null) {
			mark.setAttribute('x1', x(times[i]));
			mark.setAttribute('x2', x(times[i]));
		}
	};
	show(null);
	const svg = h(
		'svg',
		{
			viewBox: '0 0 1000 100',
			preserveAspectRatio: 'none',
			role: 'img',
			tabindex: all.length > 0 ? 0 : null,
			'aria-label': `${name}: ${told}`,
			onpointermove(event) {
				const box = svg.getBoundingClientRect();
				const t = first + ((event.clientX - box.left) / box.width) * range;
				let best = 0;
				times.forEach((v, i) => {
					if (Math.abs(v - t) < Math.abs(times[best] - t)) best = i;
				});
				if (times.length > 0) show(best);
			},
			onpointerleave: () => show(null),
			onblur: () => show(null),
			onkeydown(event) {
				const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
				if (step) {
					show(Math.min(times.length - 1, Math.max(0, (shown ?? times.length) + step)));
					event.preventDefault();
				}
			},
		},
		h('line', { x1: 0, x2: 1000, y1: 50, y2: 50, 'stroke-dasharray': '2 4', opacity: '.5' }),
		series.map((s, i) => {
			const color = `c${s.color || i + 1}`;
			return [
				s.area && h('path', { class: `area ${color}`, d: path(lines[i], true) }),
				h('path', { class: color, d: path(lines[i]) }),
			];
		}),
		mark,
	);
	const details = h(
		'details',
		{
			'data-key': `chart ${name}`,
			ontoggle() {
				if (details.open && details.children.length === 1)
					details.append(
						table(name, points.slice(-500).reverse(), [
							['Time', p => time(p.at, 'at')],
							...series.map(s => [
								s.name,
								p => (exists(s.value(p)) ? format(s.value(p)) : ''),
								'n',
							]),
						]),
					);
			},
		},
		h('summary', null, 'as a table'),
	);
	return h(
		'figure',
		{ class: 'sheet' },
		h('figcaption', null, h('h2', null, name), legends, when),
		h(
			'div',
			{ class: 'plot' },
			h(
				'div',
				{ class: 'y' },
				[1, 0.5, 0].map(k => h('span', null, format(top * k))),
			),
			svg,
			all.length === 0 && h('div', { class: 'none' }, 'nothing to show yet'),
			h(
				'div',
				{ class: 'x' },
				[0, 0.5, 1].map(k =>
					h('span', null, exists(first) ? clock.format(first + range * k) : ''),
				),
			),
		),
		details,
	);
}
