// Talks to the server: requests with the token, and the live stream with resume.

const tokenKey = 'headcount-token';
const silence = 40_000; // ms without a byte, more than two heartbeats, before a stream counts as dead
const longestWait = 15_000; // ms between attempts to connect

/** The server said no token, or a wrong one. */
export class Unauthorised extends Error {}

/** An answer that is not 2xx; the message is the problem's detail. */
export class Refused extends Error {
  constructor(status, problem) {
    const fields = (problem.errors ?? []).map((e) => `${(e.location ?? '').replace(/^(body|query)\./, '')} ${e.message}`.trim());
    super(fields.length ? fields.join('; ') : problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(tokenKey) ?? '',
  set: (t) => (t ? sessionStorage.setItem(tokenKey, t) : sessionStorage.removeItem(tokenKey)),
};

function headers(more = {}) {
  const t = token.get();
  return t ? { ...more, Authorization: `Bearer ${t}` } : more;
}

/** How a login is renewed that has run out: true when it is worth asking again. A hub has none. */
let renew = async () => false;
export const renewBy = (f) => { renew = f; };

/** Fetches, and once more when the login had to be renewed. */
async function ask(path, init, guest) {
  const attempt = () => fetch(path, { ...init, headers: headers(init.headers), cache: 'no-store' });
  const res = await attempt();
  return res.status === 401 && !guest && await renew() ? attempt() : res;
}

/**
 * Fetches JSON; throws Unauthorised, Refused, or TypeError when the server is not reached. A body
 * that is a Blob or FormData is sent as it is. guest: the answer 401 is no lack of a login.
 * whole: {body, etag} instead of the body.
 */
export async function request(path, { method = 'GET', body, signal, guest = false, match, type, whole = false } = {}) {
  const init = { method, headers: { Accept: 'application/json' }, signal };
  if (match) init.headers['If-Match'] = match;
  if (type) init.headers['Content-Type'] = type;
  if (body instanceof Blob || body instanceof FormData) {
    init.body = body;
  } else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers['Content-Type'] = type ?? 'application/json';
  }
  const res = await ask(path, init, guest);
  if (res.status === 401 && !guest) throw new Unauthorised();
  const json = await res.json().catch(() => ({}));
  if (!res.ok) throw new Refused(res.status, json);
  return whole ? { body: json, etag: res.headers.get('ETag') } : json;
}

/**
 * Follows the live stream until signal aborts. onEvent gets {id, type, data}; onState gets
 * true when events flow and false when the connection is lost. It reads the stream by fetch,
 * not EventSource, because that cannot send the token.
 */
export async function follow(paths, { onEvent, onState, onUnauthorised, signal }) {
  let lastID = '', failures = 0, which = 0;
  while (!signal.aborted) {
    try {
      const more = { Accept: 'text/event-stream' };
      if (lastID) more['Last-Event-ID'] = lastID;
      const attempt = new AbortController();
      const res = await ask(paths[which], { headers: more, signal: AbortSignal.any([signal, attempt.signal]) });
      if (res.status === 401) return onUnauthorised();
      if (res.status === 404 && which + 1 < paths.length) { which++; continue; }
      if (!res.ok) throw new Refused(res.status, await res.json().catch(() => ({})));
      onState(true);
      failures = 0;
      await read(res.body, attempt, (e) => {
        if (e.id) lastID = e.id;
        if (e.data) onEvent(e);
      });
    } catch (err) {
      if (signal.aborted) return;
      if (!(err instanceof TypeError || err instanceof Refused || err.name === 'AbortError')) console.error(err);
    }
    onState(false);
    await pause(Math.min(longestWait, 500 * 2 ** failures++) * (0.75 + Math.random() / 2), signal);
  }
}

/** Reads one stream to its end; aborts it when nothing comes for too long. */
async function read(body, attempt, onMessage) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', watchdog;
  try {
    for (;;) {
      watchdog = setTimeout(() => attempt.abort(), silence);
      const { done, value } = await reader.read();
      clearTimeout(watchdog);
      if (done) return;
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop();
      for (const b of blocks) onMessage(parse(b));
    }
  } finally {
    clearTimeout(watchdog);
    attempt.abort();
  }
}

function parse(block) {
  const e = { id: '', type: 'message', data: null };
  let data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('id: ')) e.id = line.slice(4);
    else if (line.startsWith('event: ')) e.type = line.slice(7);
    else if (line.startsWith('data: ')) data += line.slice(6);
  }
  if (data) e.data = JSON.parse(data);
  return e;
}

/** Waits, but not longer than until the network or the reader is back. */
export function pause(ms, signal) {
  return new Promise((done) => {
    const clear = () => {
      clearTimeout(timer);
      for (const [target, type] of wakers) target.removeEventListener(type, clear);
      done();
    };
    const wakers = [[window, 'online'], [window, 'focus'], [signal, 'abort']];
    const timer = setTimeout(clear, ms);
    for (const [target, type] of wakers) target.addEventListener(type, clear);
  });
}
