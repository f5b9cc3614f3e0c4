// What socket.io-client does against the server that serves socketio_test's echo. Called with its URL.
import { io } from "socket.io-client";
import assert from "node:assert";

const url = process.argv[2];
const once = (s, name) => new Promise((resolve) => s.once(name, (...args) => resolve(args)));
const open = (options = {}, path = "") => io(url + path, { forceNew: true, reconnection: false, ...options });
const connected = async (s) => { await once(s, "connect"); return s; };
const checks = [];
const check = (name, f) => checks.push([name, f]);

for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
	const on = transports.join(" then ");
	check(`${on}: events, Unicode, acks`, async () => {
		const s = await connected(open({ transports }));
		s.emit("x", "Grüße 人 🙂", { a: [1, null] });
		assert.deepEqual(await once(s, "back"), ["Grüße 人 🙂", { a: [1, null] }]);
		assert.deepEqual(await s.timeout(5000).emitWithAck("ask", 7), 7);
		s.close();
	});
	check(`${on}: binary both ways`, async () => {
		const s = await connected(open({ transports }));
		s.emit("x", Buffer.from([1, 2, 3]), { deep: [Buffer.from("four")] });
		const [a, b] = await once(s, "back");
		assert.deepEqual([...a], [1, 2, 3]);
		assert.equal(b.deep[0].toString(), "four");
		s.close();
	});
	check(`${on}: 200 kB`, async () => {
		const s = await connected(open({ transports }));
		const big = "ä".repeat(100_000);
		assert.equal(await s.timeout(5000).emitWithAck("ask", big), big);
		s.close();
	});
	check(`${on}: burst of 50 in order`, async () => {
		const s = await connected(open({ transports }));
		const got = [];
		const done = new Promise((resolve) => s.on("n", (i) => { got.push(i); if (got.length === 50) resolve(); }));
		s.emit("flood", 50);
		await done;
		assert.deepEqual(got, [...Array(50).keys()]);
		s.close();
	});
	check(`${on}: the server asks`, async () => {
		const s = await connected(open({ transports }));
		s.on("asked", (bin, n, answer) => answer([...bin], n + 1));
		s.emit("question");
		assert.deepEqual((await once(s, "answered"))[1], [[98, 105, 110], 8]);
		s.close();
	});
}
check("upgrade under load loses nothing", async () => {
	const s = open();
	const got = [];
	const done = new Promise((resolve) => s.on("n", (i) => { got.push(i); if (got.length === 2000) resolve(); }));
	await connected(s);
	s.emit("flood", 2000);
	await done;
	assert.deepEqual(got, [...Array(2000).keys()]);
	if (s.io.engine.transport.name !== "websocket") await once(s.io.engine, "upgrade");
	s.close();
});
check("refusal with data", async () => {
	const s = open({ auth: { token: "wrong" } });
	const [err] = await once(s, "connect_error");
	assert.equal(err.message, "no");
	assert.deepEqual(err.data, { code: "wrong" });
	s.close();
});
check("namespaces on one connection, and one that is unknown", async () => {
	const a = open({ forceNew: false }), b = open({ forceNew: false }, "/admin"), c = open({ forceNew: false }, "/none");
	const [err] = await once(c, "connect_error");
	assert.equal(err.message, "Invalid namespace");
	for (const s of [a, b]) if (!s.connected) await connected(s);
	b.emit("x", "b");
	assert.deepEqual(await once(b, "back"), ["b"]);
	b.close();
	assert.equal(await a.timeout(5000).emitWithAck("ask", 1), 1);
	a.close();
});
check("1000 clients x 10 messages", async () => {
	const all = [];
	for (let i = 0; i < 10; i++) all.push(...await Promise.all([...Array(100)].map(() => connected(open({ transports: ["websocket"] })))));
	let n = 0;
	const done = new Promise((resolve) => all.forEach((s) => s.on("n", () => { if (++n === 10_000) resolve(); })));
	const start = performance.now();
	all.forEach((s) => s.emit("flood", 10));
	await done;
	console.log(`  10,000 of 10,000 in ${Math.round(performance.now() - start)} ms`);
	all.forEach((s) => s.close());
});

let good = 0;
for (const [name, f] of checks) {
	const late = new Promise((_, reject) => setTimeout(() => reject(new Error("took more than 20 s")), 20_000).unref());
	try { await Promise.race([f(), late]); good++; console.log("ok", name); } catch (e) { console.log("FAILED", name, e.message); }
}
console.log(`${good} of ${checks.length}`);
process.exit(good === checks.length ? 0 : 1);
