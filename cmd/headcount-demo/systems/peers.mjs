// The other ends of what Headcount talks to, for make systems: a mail server, a virus scanner, a language model
// with a script, a collector of traces and a receiver of webhooks and text messages. Each takes what comes
// and shows it by HTTP; none answers more than its protocol asks.
//
//   node peers.mjs HTTP_PORT SMTP_PORT CLAMAV_PORT
import { createServer as http } from "node:http";
import { createServer as tcp } from "node:net";
import { SMTPServer } from "smtp-server";

const [httpPort, smtpPort, clamPort] = process.argv.slice(2).map(Number);
const got = { mails: [], hooks: [], sms: [], asked: [], traces: [] };
let failing = false; // whether /hook answers 500

new SMTPServer({
	disabledCommands: ["AUTH", "STARTTLS"],
	onData(stream, session, done) {
		let text = "";
		stream.on("data", (b) => (text += b));
		stream.on("end", () => {
			const unfolded = text.replace(/=\r?\n/g, "").replace(/=3D/g, "=");
			const subject = /^Subject: (.*(?:\r?\n[ \t].*)*)/m.exec(text)?.[1].replace(/\r?\n[ \t]/g, " ") ?? "";
			got.mails.push({ to: session.envelope.rcptTo.map((r) => r.address), subject, text: unfolded });
			done();
		});
	},
}).listen(smtpPort, "127.0.0.1");

// A peer of clamd: zINSTREAM, then pieces with their length before them, an empty one at the end.
const eicar = "EICAR-STANDARD-ANTIVIRUS-TEST-FILE";
tcp((socket) => {
	let buffer = Buffer.alloc(0), body = "", streaming = false;
	socket.on("error", () => {});
	socket.on("data", (b) => {
		buffer = Buffer.concat([buffer, b]);
		if (!streaming) {
			const end = buffer.findIndex((c) => c === 0 || c === 10);
			if (end < 0) return;
			const command = buffer.subarray(0, end).toString();
			buffer = buffer.subarray(end + 1);
			if (/PING/.test(command)) return void socket.end("PONG\0");
			if (!/INSTREAM/.test(command)) return void socket.end("UNKNOWN COMMAND\0");
			streaming = true;
		}
		while (buffer.length >= 4) {
			const n = buffer.readUInt32BE(0);
			if (n === 0) return void socket.end(body.includes(eicar) ? "stream: Eicar-Signature FOUND\0" : "stream: OK\0");
			if (buffer.length < 4 + n) return;
			body += buffer.subarray(4, 4 + n).toString("latin1");
			buffer = buffer.subarray(4 + n);
		}
	});
}).listen(clamPort, "127.0.0.1");

// The model: asked for the first time it calls the tool of its script, then it repeats what the tool said.
function model(body) {
	const last = body.messages.at(-1);
	if (last.role === "tool") return { role: "assistant", content: `According to the tool: ${last.content}` };
	const wanted = /^use (\w+) (.*)$/s.exec(typeof last.content === "string" ? last.content : last.content.map((c) => c.text).join(""));
	if (!wanted || !body.tools) return { role: "assistant", content: "I was given no script." };
	return {
		role: "assistant", content: null,
		tool_calls: [{ id: "call-1", type: "function", function: { name: wanted[1], arguments: wanted[2] } }],
	};
}

const read = async (request) => {
	const parts = [];
	for await (const b of request) parts.push(b);
	return Buffer.concat(parts);
};

http(async (request, response) => {
	const url = new URL(request.url, "http://peers");
	const body = await read(request);
	const json = (v, status = 200) => {
		response.writeHead(status, { "Content-Type": "application/json" });
		response.end(JSON.stringify(v));
	};
	const list = url.pathname.slice(1);
	if (request.method === "GET" && list in got) return json(got[list]);
	switch (url.pathname) {
		case "/fail": failing = true; return json({ failing });
		case "/mend": failing = false; return json({ failing });
		case "/hook":
			got.hooks.push({ headers: request.headers, body: body.toString(), failed: failing });
			return failing ? json({ error: "told to fail" }, 500) : json({});
		case "/text":
			got.sms.push(Object.fromEntries(url.searchParams));
			return json({});
		case "/v1/traces":
			got.traces.push(body.toString("hex"));
			response.writeHead(200, { "Content-Type": "application/x-protobuf" });
			return response.end();
		case "/v1/chat/completions": {
			const question = JSON.parse(body);
			got.asked.push(question);
			const message = model(question);
			const finish_reason = message.tool_calls ? "tool_calls" : "stop";
			return json({ id: "c-1", object: "chat.completion", created: 1, model: question.model, choices: [{ index: 0, message, finish_reason }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } });
		}
	}
	json({ error: "not here" }, 404);
}).listen(httpPort, "127.0.0.1", () => console.log("ready"));
