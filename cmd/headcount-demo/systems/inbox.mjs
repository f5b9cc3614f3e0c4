// A person's Socket.IO client gets inbox.added within 3 s of a message: node inbox.mjs URL TOKEN
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
const s = io(url, { auth: { token }, reconnection: false });
s.on("connect_error", (e) => { console.error(e.message); process.exit(1); });
await new Promise((done) => s.on("connect", done));
const me = await (await fetch(`${url}/auth/me`, { headers })).json();
const begun = Date.now();
const told = new Promise((done) => s.on("inbox.added", done));
setTimeout(() => { console.error("no inbox.added within 3 s"); process.exit(1); }, 3000);
const sent = await fetch(`${url}/v1/notifications/send`, { method: "POST", headers, body: JSON.stringify({ org: "demo", title: "Ring", text: "bell", users: [me.subject] }) });
if (!sent.ok) { console.error(await sent.text()); process.exit(1); }
await told;
console.log(`after ${Date.now() - begun} ms`);
process.exit(0);
