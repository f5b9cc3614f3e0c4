// What the views of a cloud have in common: they load, follow what happens, do what they are
// told to, and say what went wrong.
import { LitElement, html, nothing } from './vendor/lit/lit.js';
import { request } from './client.js';
import { listen } from './notices.js';
import { session, told } from './session.js';
import { base, controls, screens } from './styles.js';

const gather = 300; // ms; several events make one request

/** A view. It has fetch(), which gets what it shows, and may name the events after which that is old. */
export class Screen extends LitElement {
  static properties = { error: { state: true }, stale: { state: true }, done: { state: true }, busy: { state: true } };

  static styles = [base, controls, screens];

  // error is why what was to be done was not, stale why what is shown may be old.
  follows = ''; // how the types of those events begin

  connectedCallback() {
    super.connectedCallback();
    this.stopped = new AbortController();
    session.addEventListener('change', () => session.who && this.load(), { signal: this.stopped.signal });
    if (this.follows) this.unlisten = listen(this.follows, (e) => this.happened(e));
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stopped.abort();
    this.unlisten?.();
  }

  /** Something happened; without an event something may have. */
  happened() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.stopped.signal.aborted || this.load(), gather);
  }

  async load() {
    try {
      await this.fetch();
      this.stale = '';
    } catch (err) {
      if (err.name !== 'AbortError') this.stale = told(err);
    }
    this.requestUpdate();
  }

  get(path) { return request(path, { signal: this.stopped.signal }); }

  /** Does something and loads again; true when it succeeded. */
  async act(f, done = '') {
    this.busy = true;
    this.error = this.done = '';
    let good = false;
    try {
      const text = await f();
      good = true;
      await this.load();
      this.done = typeof text === 'string' ? text : done;
    } catch (err) {
      this.error = told(err);
    }
    this.busy = false;
    return good;
  }

  post(path, body = {}) { return request(path, { method: 'POST', body }); }

  /** Sends a form's fields by f, and empties it when that succeeded. */
  async submit(e, f, done) {
    e.preventDefault();
    const form = e.target;
    if (await this.act(() => f(Object.fromEntries(new FormData(form)), form), done)) form.reset();
  }

  /** What stands where nothing is known yet; said() tells why, when it will not come. */
  waiting() { return this.stale ? nothing : html`<p class="empty">Loading…</p>`; }

  said() {
    return html`${this.stale ? html`<p class="error" role="alert">${this.stale}</p>` : nothing}${this.error ? html`<p class="error" role="alert">${this.error}</p>` : nothing}${this.done ? html`<p class="done" role="status">${this.done}</p>` : nothing}`;
  }
}

/** The people of an organisation by id, as far as the caller may know them. */
export async function members(org) {
  const byID = new Map([[session.id, { id: session.id, name: session.name }]]);
  if (!org || !session.mayHere('operator')) return byID;
  for (let cursor = ''; ;) {
    const page = await request(`v1/orgs/${encodeURIComponent(org)}/users?limit=200${cursor && `&cursor=${cursor}`}`);
    for (const u of page.users) byID.set(u.id, u);
    cursor = page.next ?? '';
    if (!cursor) return byID;
  }
}
