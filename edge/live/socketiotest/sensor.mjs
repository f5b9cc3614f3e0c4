// Many virtual sensors on one connection with the stock client: sends N readings, says when all are
// acknowledged, and stays. Called with the URL and N.
import { io } from "socket.io-client";

const [, , url, n] = process.argv;
const s = io(url, { transports: ["websocket"] });
s.on("connect", async () => {
	const answers = await Promise.all([...Array(Number(n)).keys()].map((i) =>
		s.timeout(10_000).emitWithAck(i % 2 ? "reading" : "peopleCount", i % 2
			? { device: `virtual-${i}`, seq: i, count_in: i, count_out: 0 }
			: { roomId: `room-${i}`, peopleCount: i, seq: i })));
	console.log(JSON.stringify({ accepted: answers.reduce((sum, a) => sum + a.accepted + a.pending, 0) }));
});
