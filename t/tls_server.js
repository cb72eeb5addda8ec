// Servers with TLS for the tests of the driver http.
//
// tls_server.js DIR FILE PORT NAME[,OPTION]... [PORT ...]: on each port one with the
// certificate DIR/NAME.pem and key DIR/NAME.key; with "mutual" only for clients that
// show one by DIR/ca.pem, with "h2" HTTP/2 as well. Appends a JSON line a request to
// FILE: port, version, connection, how many of its connection are open, and who asked.
const fs = require("fs"), http2 = require("http2"), https = require("https");
const [dir, file, ...ports] = process.argv.slice(2);
let connections = 0;

for (let i = 0; i < ports.length; i += 2) {
	const [name, ...options] = ports[i + 1].split(",");
	const h2 = options.includes("h2"), mutual = options.includes("mutual");
	const settings = {
		cert: fs.readFileSync(`${dir}/${name}.pem`), key: fs.readFileSync(`${dir}/${name}.key`),
		ca: fs.readFileSync(`${dir}/ca.pem`), requestCert: mutual, rejectUnauthorized: mutual,
		allowHTTP1: true, settings: { maxConcurrentStreams: 100 },
	};
	const server = h2 ? http2.createSecureServer(settings) : https.createServer(settings);

	server.on("secureConnection", s => { s.number = ++connections; s.open = 0; });
	server.on("tlsClientError", () => {});
	server.on("clientError", () => {});
	server.on("error", e => { console.error(e); process.exit(1); });
	server.on("request", (q, r) => {
		const s = h2 && q.stream ? q.stream.session.socket : q.socket;
		const at = h2 && q.stream ? q.stream.session : s;
		at.open = (at.open || 0) + 1;
		fs.appendFileSync(file, JSON.stringify({
			port: +ports[i], path: q.url, version: q.httpVersion, connection: at.number || (at.number = ++connections), open: at.open,
			who: (s.getPeerCertificate && s.getPeerCertificate().subject || {}).CN || null,
		}) + "\n");
		q.resume();
		q.on("end", () => setTimeout(() => { at.open--; r.writeHead(200); r.end("{}"); }, 50));
	});
	server.listen(+ports[i], "127.0.0.1");
}
