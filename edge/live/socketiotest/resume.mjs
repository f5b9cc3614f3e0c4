// A wallboard with the stock client: prints what it gets, one JSON object per line, and goes on
// over restarts of the server. Called with the URL and a domain.
import { io } from "socket.io-client";

const [, , url, domain] = process.argv;
const s = io(url, { reconnectionDelay: 100, reconnectionDelayMax: 300 });
const say = (o) => console.log(JSON.stringify(o));
s.on("connect", async () => {
	say({ connected: true, recovered: s.recovered });
	if (!s.recovered) say({ subscribed: await s.emitWithAck("subscribe_domain", domain) });
});
s.on("correction", (e) => say({ count: e.data.after }));
s.on("backfill", (e) => e.type === "correction" && say({ count: e.data.after })); // made while the cloud was away
