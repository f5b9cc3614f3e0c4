// Who uses the page of a cloud. The tokens are cookies that scripts cannot read; what is known
// here is who they stand for. Fires "change" when somebody else is logged in, or nobody.
import { Refused, Unauthorised, renewBy, request, token } from './client.js';

const ranks = { viewer: 10, operator: 60, manager: 80, admin: 100 };
const chosenKey = 'headcount-organisation';

/** Tells whether a role in one domain holds in another: there, or above it. */
const covers = (m, domain) => m.domain === domain || (m.subs !== false && domain.startsWith(`${m.domain}/`));

const organisation = (domain) => domain.split('/')[0];

class Session extends EventTarget {
  constructor() {
    super();
    this.who = undefined; // the answer of auth/me; null = nobody, undefined = not known yet
    this.domains = []; // where the caller has a role
    this.ended = ''; // why nobody is logged in any more
    this.chosen = sessionStorage.getItem(chosenKey) ?? '';
    this.tabs = new BroadcastChannel('headcount-session');
    this.tabs.onmessage = () => location.reload(); // another tab logged in or out
    renewBy(() => this.renew());
  }

  /** Finds out who is logged in; throws when the server is not reached. */
  async start() {
    try {
      this.who = await request('auth/me');
      this.domains = (await request('v1/orgs')).domains;
    } catch (err) {
      if (!(err instanceof Unauthorised)) throw err;
      this.who = null;
      this.domains = [];
    }
    this.dispatchEvent(new Event('change'));
  }

  async enter(path, body) {
    token.set('');
    await request(path, { method: 'POST', body, guest: true });
    this.ended = '';
    await this.start();
    this.tabs.postMessage('login');
  }

  login(email, password) { return this.enter('auth/login?cookie=1', { email, password }); }

  /** Makes the first account. */
  claim(body) { return this.enter('auth/claim?cookie=1', body); }

  /** Uses a token of the server's token file, until the tab is closed. */
  async useToken(secret) {
    token.set(secret);
    await this.start();
    if (this.who) return;
    token.set('');
    throw new Error('The server does not take this token.');
  }

  async logout() {
    if (!token.get()) await request('auth/logout', { method: 'POST', guest: true });
    token.set('');
    this.end('');
    this.tabs.postMessage('logout');
  }

  /** Nobody is logged in any more. */
  end(why) {
    if (!this.who) return;
    this.who = null;
    this.domains = [];
    this.ended = why;
    this.dispatchEvent(new Event('change'));
  }

  /** Takes the refresh token for new tokens, for all requests and tabs that want it at once: it is good once. */
  renew() {
    if (token.get()) return Promise.resolve(false);
    this.renewing ??= this.alone(async () => {
      if ((await fetch('auth/me', { cache: 'no-store' })).ok) return true; // another tab was faster
      return (await fetch('auth/refresh', { method: 'POST' })).ok;
    }).finally(() => { this.renewing = null; });
    return this.renewing;
  }

  /** Runs f while no other tab does; browsers have no locks on plain HTTP beyond this machine. */
  alone(f) { return navigator.locks ? navigator.locks.request('headcount-refresh', f) : f(); }

  get name() { return this.who?.user?.name || this.who?.user?.email || this.who?.name || ''; }

  /** Whether the caller has an account here: whoever uses an open server on its own machine, or a token, has none. */
  get person() { return this.who?.kind === 'user'; }

  get id() { return this.who?.subject ?? ''; }

  get orgs() { return [...new Set(this.domains.map((d) => organisation(d.domain)))].sort(); }

  /** The organisation that pages are about; empty = there is none. */
  get org() { return this.orgs.includes(this.chosen) ? this.chosen : this.orgs[0] ?? ''; }

  choose(org) {
    this.chosen = org;
    sessionStorage.setItem(chosenKey, org);
    this.dispatchEvent(new Event('change'));
  }

  /** The domains of the chosen organisation where the caller has at least a role. */
  within(least = 'viewer') { return this.domains.filter((d) => organisation(d.domain) === this.org && this.may(least, d.domain)); }

  /** Tells whether the caller has at least a role in a domain; what may not be, the server refuses anyway. */
  may(least, domain) {
    const roles = (this.who?.memberships ?? []).filter((m) => covers(m, domain)).map((m) => ranks[m.role] ?? 0);
    return Math.max(ranks[this.who?.everywhere] ?? 0, ...roles) >= ranks[least];
  }

  /** Tells whether the caller has at least a role in any domain of the chosen organisation. */
  mayHere(least) { return (ranks[this.who?.everywhere] ?? 0) >= ranks[least] || this.within(least).length > 0; }
}

export const session = new Session();

/** What an error says to people; a login that has ended sends them to the login. */
export function told(err) {
  if (err instanceof Unauthorised) {
    session.end('This login has ended. Log in again.');
    return '';
  }
  if (err instanceof Refused) return err.message;
  if (err instanceof TypeError) return 'The server does not answer.';
  return err.message;
}
