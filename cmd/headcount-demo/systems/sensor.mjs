// Sends readings of several sensors over one Socket.IO connection and prints the acknowledgements: node sensor.mjs URL SEQ
import { io } from "socket.io-client";

const [url, seq] = [process.argv[2], Number(process.argv[3])];
const s = io(url, { reconnection: false });
s.on("connect_error", (e) => { console.error(e.message, e.data); process.exit(1); });
await new Promise((done) => s.on("connect", done));
const ask = (event, data) => s.timeout(5000).emitWithAck(event, data);
console.log(JSON.stringify(await Promise.all([
	ask("peopleCount", { roomId: "hall", peopleCount: 2, seq }),
	ask("temperature", { roomId: "hall", temperature: 21.5, seq }),
	ask("reading", { sensor: "lobby-people", seq, count_abs: 2 }),
])));
process.exit(0);
