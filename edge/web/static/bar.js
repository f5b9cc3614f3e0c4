// <headcount-bar>: the menu of a cloud's page, the bell, and who is logged in.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { request } from './client.js';
import { listen } from './notices.js';
import { session, told } from './session.js';
import { base, controls } from './styles.js';
import { menu } from './views.js';

export class HeadcountBar extends LitElement {
  static properties = { view: {}, unread: { state: true }, error: { state: true } };

  static styles = [base, controls, css`
    :host { flex: 1 1 20rem; min-width: 0; }
    .bar { display: flex; align-items: center; gap: .4rem 1rem; flex-wrap: wrap; }
    nav { display: flex; gap: .2rem; overflow-x: auto; scrollbar-width: none; min-width: 0; }
    nav a { padding: .35rem .7rem; border-radius: 9px; text-decoration: none; color: var(--muted); font-weight: 600; white-space: nowrap; font-size: .9rem; }
    nav a:hover { background: var(--surface-2); }
    nav a[aria-current] { background: var(--accent-soft); color: var(--accent); }
    .me { margin-left: auto; display: flex; align-items: center; gap: .6rem; font-size: .9rem; min-width: 0; }
    .me select { width: auto; min-height: 2rem; padding: .15rem .5rem; }
    .me button { min-height: 2rem; padding: .15rem .7rem; }
    .who { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 12rem; color: inherit; }
    .bell { position: relative; color: inherit; display: inline-flex; padding: .3rem; border-radius: 9px; }
    .bell:hover { background: var(--surface-2); }
    .bell svg { width: 1.35rem; height: 1.35rem; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
    .bell b { position: absolute; top: -.15rem; right: -.25rem; background: var(--bad); color: var(--surface); border-radius: 99px; font-size: .68rem; line-height: 1.1rem; min-width: 1.1rem; padding: 0 .25rem; text-align: center; }
    .error { color: var(--bad); }
    @media (max-width: 700px) {
      :host, .bar { display: contents; }
      nav { order: 2; width: 100%; }
    }
  `];

  connectedCallback() {
    super.connectedCallback();
    this.stopped = new AbortController();
    session.addEventListener('change', () => this.requestUpdate(), { signal: this.stopped.signal });
    if (session.person) {
      this.unlisten = listen('inbox.', () => this.count());
      this.count();
    }
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stopped.abort();
    this.unlisten?.();
  }

  async count() {
    try {
      this.unread = (await request('v1/inbox/unread')).unread;
    } catch (err) {
      told(err); // the number stays as it was
    }
  }

  updated() { this.renderRoot.querySelector('[aria-current]')?.scrollIntoView({ inline: 'nearest', block: 'nearest' }); }

  render() {
    if (!session.who) return nothing;
    return html`<div class="bar">
      <nav aria-label="Main">${menu().map(([path, name]) => html`<a href="#/${path}" aria-current=${(this.view === 'site' ? '' : this.view) === path ? 'page' : nothing}>${name}</a>`)}</nav>
      <div class="me">${this.error ? html`<span class="error" role="alert">${this.error}</span>` : nothing}
        ${session.orgs.length > 1 ? html`<select aria-label="Organisation" @change=${(e) => session.choose(e.target.value)}>
          ${session.orgs.map((o) => html`<option ?selected=${o === session.org}>${o}</option>`)}</select>` : nothing}
        ${session.person ? html`${this.bell()}<a class="who" href="#/account" title="Your account">${session.name}</a>` : nothing}
        ${session.person || session.who.name !== 'local' ? html`<button @click=${this.logout}>Log out</button>` : html`<a href="#/claim">Make the first account</a>`}
      </div></div>`;
  }

  bell() {
    const text = this.unread ? `Inbox, ${this.unread} unread` : 'Inbox';
    return html`<a class="bell" href="#/inbox" aria-label=${text} title=${text}>
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 10a6 6 0 0 1 12 0c0 5 2 6 2 6H4s2-1 2-6M10 20a2 2 0 0 0 4 0"></path></svg>
      ${this.unread ? html`<b>${this.unread > 99 ? '99+' : this.unread}</b>` : nothing}</a>`;
  }

  async logout() {
    try {
      await session.logout();
    } catch (err) {
      this.error = told(err);
    }
  }
}

customElements.define('headcount-bar', HeadcountBar);
