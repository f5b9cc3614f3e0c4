// <headcount-inbox>: what the person who is logged in was told, newest first.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { request } from './client.js';
import { clock, join } from './format.js';
import { listen, notices } from './notices.js';
import { session, told } from './session.js';
import { base, controls, screens } from './styles.js';

const tone = { critical: 'bad', warning: 'warn' };

/** Where a link of a notice leads on this page: links to the API of an order show the order. */
export function target(link) {
  const order = /\/v1\/work-orders\/([0-9a-f-]{36})|#\/orders\/([0-9a-f-]{36})/.exec(link);
  if (order) return `#/orders/${order[1] ?? order[2]}`;
  try {
    const url = new URL(link, location.href);
    return /^https?:$/.test(url.protocol) ? url.href : '';
  } catch {
    return '';
  }
}

export class HeadcountInbox extends LitElement {
  static properties = { items: { state: true }, unread: { state: true }, onlyUnread: { state: true }, cursor: { state: true }, error: { state: true } };

  static styles = [base, controls, screens, css`
    li { display: flex; gap: .3rem .9rem; padding: .7rem .9rem; align-items: center; flex-wrap: wrap; border-top: 1px solid var(--line); }
    li:first-child { border-top: none; }
    li.unread { box-shadow: inset 3px 0 0 var(--accent); }
    .what { flex: 1 1 15rem; min-width: 0; overflow-wrap: anywhere; }
    .unread .title { font-weight: 650; }
    .text { white-space: pre-line; }
    .more { margin-top: .7rem; }
  `];

  connectedCallback() {
    super.connectedCallback();
    this.unlisten = listen('inbox.added', () => this.load());
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.unlisten();
  }

  async load(cursor = '') {
    try {
      const page = await request(`v1/inbox?limit=50${this.onlyUnread ? '&unread=true' : ''}${cursor && `&cursor=${cursor}`}`);
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.unread = page.unread;
      this.cursor = page.cursor;
      this.error = '';
    } catch (err) {
      this.error = told(err);
    }
  }

  render() {
    if (!session.person) return html`<p class="empty">An inbox belongs to a person: log in with an account.</p>`;
    return html`<div class="head"><h2>Inbox ${this.unread ? html`<span class="badge warn">${this.unread} unread</span>` : nothing}</h2>
        <label class="check"><input type="checkbox" @change=${(e) => { this.onlyUnread = e.target.checked; this.load(); }}>only unread</label>
        <button ?disabled=${!this.unread} @click=${this.readAll}>Mark all read</button>
        <a class="button" href="#/account">Preferences</a></div>
      ${this.error ? html`<p class="error" role="alert">${this.error}</p>` : nothing}
      ${this.items?.length ? html`<ul class="panel">${this.items.map((i) => this.item(i))}</ul>`
        : html`<p class="empty">${this.items ? (this.onlyUnread ? 'Nothing unread.' : 'Nobody has told you anything yet.') : 'Loading…'}</p>`}
      ${this.cursor ? html`<button class="more" @click=${() => this.load(this.cursor)}>Older</button>` : nothing}`;
  }

  item(i) {
    const link = i.link && target(i.link);
    return html`<li class=${i.read_at ? '' : 'unread'}>
      <div class="what"><div class="title">${i.severity && tone[i.severity] ? html`<span class="badge ${tone[i.severity]}">${i.severity}</span> ` : nothing}${link
        ? html`<a href=${link} @click=${() => i.read_at || this.read(i, true)}>${i.title}</a>` : i.title}</div>
        ${i.text ? html`<div class="text small">${i.text}</div>` : nothing}
        <div class="muted small">${join(clock(i.at), i.org, i.kind)}</div></div>
      <button @click=${() => this.read(i, !i.read_at)} aria-label="${i.read_at ? 'Mark unread' : 'Mark read'}: ${i.title}">${i.read_at ? 'Unread' : 'Read'}</button></li>`;
  }

  async read(i, read) { await this.send(`v1/inbox/${encodeURIComponent(i.id)}/read`, { read }); }

  async readAll() { await this.send('v1/inbox/read', {}); }

  async send(path, body) {
    try {
      await request(path, { method: 'POST', body });
      await this.load();
      notices.dispatchEvent(new CustomEvent('event', { detail: { type: 'inbox.read' } })); // for the bell
    } catch (err) {
      this.error = told(err);
    }
  }
}

customElements.define('headcount-inbox', HeadcountInbox);
