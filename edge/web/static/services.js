// <headcount-services>: whether the cloud works, and what runs: its parts, hubs, and services
// from outside that have registered.
import { html, nothing, repeat } from './vendor/lit/lit.js';
import { age, join } from './format.js';
import { Screen } from './screen.js';

const every = 10_000; // ms
const tone = { UP: 'ok', DEGRADED: 'warn', DOWN: 'bad' };

class HeadcountServices extends Screen {
  static properties = { health: { state: true }, services: { state: true } };

  connectedCallback() {
    super.connectedCallback();
    this.ticking = setInterval(() => this.load(), every);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.ticking);
  }

  async fetch() {
    const [health, list] = await Promise.all([fetch('health', { cache: 'no-store' }).then((r) => r.json()), this.get('v1/services')]); // who is ill answers 503, with the reasons
    [this.health, this.services] = [health, list.services];
  }

  render() {
    const h = this.health;
    if (!h) return html`${this.said()}${this.waiting()}`;
    return html`${this.said()}<section><div class="head"><h2>Health</h2>${this.badge(h.status)}</div>
        <div class="panel scroll"><table><tbody>${h.checks.map((c) => html`<tr><th scope="row">${c.name}</th><td>${this.badge(c.status)}</td><td>${c.detail}</td></tr>`)}</tbody></table></div></section>
      <section><h2>Services</h2>${this.services.length ? html`<div class="panel scroll"><table><thead><tr><th>Name</th><th>Kind</th><th>Where</th><th>Version</th><th>State</th><th>Heard</th></tr></thead>
        <tbody>${repeat(this.services, (s) => s.id, (s) => html`<tr><th scope="row">${s.name}</th><td>${s.kind}</td><td>${join(s.org, s.site, s.url)}</td><td>${s.version}</td><td>${this.badge(s.status)}</td>
          <td>${s.last_heartbeat ? `${age(s.last_heartbeat)} ago` : ''}</td></tr>`)}</tbody></table></div>` : html`<p class="empty">Nothing runs that you may see.</p>`}</section>`;
  }

  badge(status) { return status ? html`<span class="badge ${tone[status] ?? ''}">${status}</span>` : nothing; }
}

customElements.define('headcount-services', HeadcountServices);
