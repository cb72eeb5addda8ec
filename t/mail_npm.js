// Mails as npm's mailparser reads them, as JSON lines.
//
//	node mail_npm.js parse <mails     each line a mail, as a JSON string
//	node mail_npm.js serve PORT       what comes to npm's smtp-server, with its envelope
"use strict";
const {simpleParser} = require("mailparser");

const libmime = require("libmime");	// decodes the headers that mailparser knows

const people = list => [].concat(list || []).flatMap(l => l.value).map(p => [p.name, p.address]);

async function read(raw) {
	const mail = await simpleParser(raw, {
		skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true, skipImageLinks: true});
	return {
		headers: mail.headerLines.map(h => h.key), subject: mail.subject, from: people(mail.from),
		to: people(mail.to), cc: people(mail.cc), reply_to: people(mail.replyTo),
		id: mail.messageId, plain: mail.text, html: mail.html,
		random: libmime.decodeWords(mail.headers.get("x-random") || ""), case: mail.headers.get("x-case"),
		attachments: mail.attachments.map(a => [a.filename, a.contentType, a.content.toString("base64"),
			a.cid || null, a.contentDisposition]),
	};
}

async function parse() {
	for await (const line of require("readline").createInterface({input: process.stdin}))
		console.log(JSON.stringify(await read(JSON.parse(line))));
}

function serve(port) {
	const {SMTPServer} = require("smtp-server");

	new SMTPServer({
		authOptional: true, disabledCommands: ["STARTTLS"], disableReverseLookup: true,
		onData(stream, session, done) {
			const parts = [];
			stream.on("data", part => parts.push(part));
			stream.on("end", async () => {
				const {mailFrom, rcptTo} = session.envelope;
				const mail = await read(Buffer.concat(parts));
				console.log(JSON.stringify({...mail, sender: mailFrom.address, envelope: rcptTo.map(r => r.address)}));
				done();
			});
		},
	}).listen(port, "127.0.0.1");
}

if (process.argv[2] === "serve")
	serve(Number(process.argv[3]));
else
	parse();
