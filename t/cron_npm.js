// When cron expressions fire, as npm's cron-parser or croner says, in the form
// of t/unit/cron_next: lines AFTER COUNT ZONE RULE EXPRESSION to instants.
//
//	node cron_npm.js cron-parser|croner <cases
"use strict";
const library = process.argv[2];

function next(library) {
	if (library === "croner") {
		const {Cron} = require("croner");
		return (text, tz, after, count) => new Cron(text, {timezone: tz, paused: true})
		    .nextRuns(count, new Date(after * 1000)).map(d => d.getTime() / 1000);
	}
	const {CronExpressionParser} = require("cron-parser");
	return (text, tz, after, count) => {
		const it = CronExpressionParser.parse(text, {tz, currentDate: new Date(after * 1000)});
		const times = [];
		while (times.length < count) {
			try {
				times.push(it.next().toDate().getTime() / 1000);
			} catch (e) {
				break;		// it looks some thousands of steps ahead
			}
		}
		return times;
	};
}

const ask = next(library);
for (const line of require("fs").readFileSync(0, "utf8").trimEnd().split("\n")) {
	const [, after, count, tz, text] = line.match(/^(\S+) (\S+) (\S+) \S+ (.*)$/);
	try {
		console.log(ask(text, tz, Number(after), Number(count)).join(" "));
	} catch (e) {
		console.log("error: " + e.message);
	}
}
