// <headcount-sites>: the sites of a cloud; each leads to its own view.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { Unauthorised, request } from './client.js';
import { age, join, people, some, title } from './format.js';
import { base } from './styles.js';

const every = 5_000; // ms

export class HeadcountSites extends LitElement {
  static properties = { organisation: {}, sites: { state: true }, error: { state: true } };

  static styles = [base, css`
    h2 { font-size: 1.05rem; margin-bottom: .6rem; }
    ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .7rem; }
    a { display: grid; gap: .2rem; padding: .9rem 1rem; color: inherit; text-decoration: none; }
    a:hover { border-color: var(--accent); }
    .name { display: flex; justify-content: space-between; gap: .6rem; font-weight: 600; font-size: 1.05rem; }
  `];

  connectedCallback() {
    super.connectedCallback();
    this.poll(this.stop = new AbortController());
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stop.abort();
  }

  async poll({ signal }) {
    while (!signal.aborted) {
      try {
        this.sites = (await request(`v1/sites${this.organisation ? `?org=${encodeURIComponent(this.organisation)}` : ''}`, { signal })).sites ?? [];
        this.error = '';
      } catch (err) {
        if (err instanceof Unauthorised) return this.dispatchEvent(new Event('unauthorised'));
        this.error = 'The server does not answer.';
      }
      await new Promise((done) => setTimeout(done, every));
    }
  }

  render() {
    return html`<h2>Sites</h2>
      ${this.error ? html`<p role="alert">${this.error}</p>` : nothing}
      ${this.sites?.length === 0 ? html`<p class="muted">No site has reported yet.</p>` : nothing}
      <ul>${(this.sites ?? []).map((s) => html`<li><a class="panel" href="#/site/${encodeURIComponent(s.id)}">
        <span class="name">${title(s)}${this.state(s)}</span><span class=${s.stale ? 'muted' : ''}>${this.about(s)}</span><span class="muted small">${this.heard(s)}</span></a></li>`)}</ul>`;
  }

  /** Clouds tell staleness themselves: an old number must not look like a new one. */
  state(s) {
    if (s.stale) return html`<span class="badge warn">stale</span>`;
    return html`<span class="badge ok">live</span>`;
  }

  about(s) {
    return join(
      s.people == null ? 'people unknown' : people(s.people), some(s.spaces, 'space'),
      s.open_alerts ? some(s.open_alerts, 'open alert') : '', s.backlog ? `${some(s.backlog, 'record')} behind` : '');
  }

  heard(s) { return s.last_heartbeat ? `hub heard ${age(s.last_heartbeat)} ago` : 'hub never heard'; }
}

customElements.define('headcount-sites', HeadcountSites);
