// <headcount-tokens>: the tokens of services of an organisation; each is shown once.
import { css, html, nothing, repeat } from './vendor/lit/lit.js';
import { request } from './client.js';
import { clock } from './format.js';
import { Screen } from './screen.js';
import { session } from './session.js';

const permissions = { read: 'read', write: 'change', readings: 'send readings', 'notifications:send': 'send notifications', metrics: 'read metrics', accounts: 'change accounts' };

class HeadcountTokens extends Screen {
  static properties = { services: { state: true }, fresh: { state: true } };

  static styles = [Screen.styles, css`
    fieldset { border: none; padding: 0; margin: 0; display: flex; gap: .3rem 1rem; flex-wrap: wrap; grid-column: 1 / -1; }
    legend { font-size: .8rem; font-weight: 600; color: var(--muted); padding: 0; }
    .off { opacity: .6; }
  `];

  async fetch() { this.services = (await this.get(`v1/orgs/${session.org}/services`)).services ?? []; }

  render() {
    return html`<h2>Services</h2>${this.said()}
      <details class="panel"><summary>Make a token</summary><form class="fields" aria-label="Make a token" @submit=${(e) => this.submit(e, (f, form) => this.make(f, form))}>
        <label>Name<input name="name" required pattern="[a-z0-9._\\-]{1,64}" title="a-z 0-9 . _ -" placeholder="wallboard"></label>
        <label>In<select name="domain">${session.within('admin').map((d) => html`<option value=${d.domain}>${d.domain}</option>`)}</select></label>
        <label>Role<select name="role">${['viewer', 'operator', 'manager', 'admin'].map((r) => html`<option>${r}</option>`)}</select></label>
        <label>Good for<select name="life"><option value="30d">30 days</option><option value="90d" selected>90 days</option><option value="365d">a year</option></select></label>
        <fieldset><legend>May</legend>${Object.entries(permissions).map(([p, text]) => html`<label class="check"><input type="checkbox" name="permission" value=${p} ?checked=${p === 'read'}>${text}</label>`)}</fieldset>
        <button class="primary" ?disabled=${this.busy}>Make</button></form></details>
      ${this.fresh ? html`<div class="panel box" role="status"><p><strong>The token of ${this.fresh.name}.</strong> It is not shown again.</p><code class="secret">${this.fresh.token}</code></div>` : nothing}
      ${this.services?.length ? this.table() : html`<p class="empty">${this.services ? 'No service has a token.' : 'Loading…'}</p>`}`;
  }

  table() {
    return html`<div class="panel scroll"><table><thead><tr><th>Name</th><th>Role</th><th>May</th><th>Good until</th><th></th></tr></thead>
      <tbody>${repeat(this.services, (s) => s.id, (s) => html`<tr class=${s.revoked ? 'off' : ''}><th scope="row">${s.name}</th><td>${s.role} in ${s.domain}</td><td>${s.permissions.map((p) => permissions[p] ?? p).join(', ')}</td><td>${clock(s.expires)}</td>
        <td class="end">${s.revoked ? 'revoked' : html`<button ?disabled=${this.busy} aria-label="Revoke ${s.name}" @click=${() => this.act(() => request(`v1/orgs/${session.org}/services/${s.id}`, { method: 'DELETE' }), `The token of ${s.name} is refused from now on.`)}>Revoke</button>`}</td></tr>`)}</tbody></table></div>`;
  }

  async make(f, form) {
    const { name, domain, role, life } = f;
    this.fresh = await this.post(`v1/orgs/${session.org}/services`, { name, domain, role, life, permissions: new FormData(form).getAll('permission') });
  }
}

customElements.define('headcount-tokens', HeadcountTokens);
