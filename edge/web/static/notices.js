// What happens, told to every part of a cloud's page: one WebSocket for all of them, resumed
// where it was lost. Browsers allow few streams of the other kind to one server.
import { Unauthorised, pause, request } from './client.js';
import { session } from './session.js';

const types = ['snapshot', 'inbox.*', 'workorder.*', 'twin.*', 'user.*', 'membership.*', 'alert.*'];
const longestWait = 15_000; // ms between attempts

/** Fires "event" with detail {id, type, data}, and "missed" when events may have been missed. */
class Notices extends EventTarget {
  constructor() {
    super();
    session.addEventListener('change', () => this.restart());
  }

  restart() {
    const who = session.who ? `${session.id} ${session.org}` : '';
    if (who === this.whose) return;
    this.whose = who;
    this.stop?.abort();
    this.stop = new AbortController();
    if (who) this.run(this.stop.signal);
  }

  async run(signal) {
    let failures = 0;
    this.last = '';
    while (!signal.aborted) {
      if (await this.once(signal)) failures = 0;
      if (signal.aborted) return;
      await pause(Math.min(longestWait, 500 * 2 ** failures++) * (0.75 + Math.random() / 2), signal);
      try {
        await request('auth/me', { signal }); // a WebSocket does not say why it was refused; this renews the login
      } catch (err) {
        if (err instanceof Unauthorised) return session.end('This login has ended. Log in again.');
      }
    }
  }

  /** One connection until its end; true when it was taken. */
  once(signal) {
    const url = new URL('v1/stream/ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    url.searchParams.set('type', types.join(','));
    if (this.last) url.searchParams.set('last_event_id', this.last);
    return new Promise((done) => {
      const ws = new WebSocket(url);
      let taken = false;
      const close = () => ws.close();
      signal.addEventListener('abort', close, { once: true });
      ws.onmessage = (m) => {
        taken = true;
        if (!signal.aborted) this.take(JSON.parse(m.data));
      };
      ws.onclose = () => {
        signal.removeEventListener('abort', close);
        done(taken);
      };
    });
  }

  take(e) {
    if (e.id) this.last = e.id;
    if (e.type === 'snapshot') this.dispatchEvent(new Event('missed'));
    else if (e.type !== 'heartbeat') this.dispatchEvent(new CustomEvent('event', { detail: e }));
  }
}

export const notices = new Notices();

/** Calls f with each event whose type begins so, and without one when some may have been missed. */
export function listen(prefix, f) {
  const take = (e) => { if (e.detail.type.startsWith(prefix)) f(e.detail); };
  const missed = () => f(null);
  notices.addEventListener('event', take);
  notices.addEventListener('missed', missed);
  return () => {
    notices.removeEventListener('event', take);
    notices.removeEventListener('missed', missed);
  };
}
