// <headcount-routing>: who is told of which alerts, by which channels, and where it is quiet.
import { css, html, nothing, repeat } from './vendor/lit/lit.js';
import { request } from './client.js';
import { clock, join, title } from './format.js';
import { Screen } from './screen.js';
import { session } from './session.js';
import './channels.js';

const severities = ['info', 'warning', 'critical'];
const list = (text) => text.split(',').map((x) => x.trim()).filter(Boolean);
const plain = (d) => d.replace(/(?<=[hm])0s$/, '').replace(/(?<=h)0m$/, ''); // "15m0s" as "15m"

/** What a route or silence is about, in words. */
function about(m) {
  const parts = [['site', m.sites], ['rule', m.rules], ['kind', m.space_kinds], ['of', m.subjects]].filter(([, v]) => v?.length).map(([k, v]) => `${k} ${v.join(', ')}`);
  return join(m.min_severity ? `${m.min_severity} and worse` : 'all alerts', ...parts);
}

function step(s) {
  const whom = [...(s.channels ?? []), ...(s.roles ?? []).map((r) => `every ${r}`), ...(s.users?.length ? [`${s.users.length} people`] : [])].join(', ');
  return `${s.after && s.after !== '0s' ? `after ${plain(s.after)}` : 'at once'}: ${whom}${s.repeat && s.repeat !== '0s' ? `, again every ${plain(s.repeat)}` : ''}`;
}

class HeadcountRouting extends Screen {
  static properties = { routes: { state: true }, silences: { state: true }, channels: { state: true }, sites: { state: true } };

  static styles = [Screen.styles, css`
    fieldset { border: 1px solid var(--line); border-radius: 9px; padding: .6rem .8rem; margin: 0; display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); grid-column: 1 / -1; }
    legend { font-size: .8rem; font-weight: 600; color: var(--muted); }
    .steps li { margin: .1rem 0; }
  `];

  get manages() { return session.mayHere('manager'); }

  async fetch() {
    if (!session.org) return;
    const org = encodeURIComponent(session.org);
    const [routes, silences, sites, channels] = await Promise.all([
      this.get(`v1/orgs/${org}/routes`), this.get(`v1/silences?org=${org}`), this.get(`v1/sites?org=${org}`), this.manages ? this.get(`v1/orgs/${org}/channels`) : { channels: [] }]);
    [this.routes, this.silences, this.sites, this.channels] = [routes.routes ?? [], silences.silences ?? [], sites.sites ?? [], channels.channels ?? []];
  }

  render() {
    if (!session.org) return html`<p class="empty">There is no organisation with accounts yet.</p>`;
    if (!this.routes) return html`${this.said()}${this.waiting()}`;
    return html`${this.said()}<section><h2>Routes</h2><p class="muted small">Which alerts are told to whom. All routes that match count; steps after the first are taken while nobody acknowledges.</p>
        ${this.manages ? this.routeForm() : nothing}${this.routeTable()}</section>
      <section><h2>Silences</h2>${session.mayHere('operator') ? this.silenceForm() : nothing}${this.silenceTable()}</section>
      ${this.manages ? html`<section><headcount-channels></headcount-channels></section><section><headcount-letters></headcount-letters></section>` : nothing}`;
  }

  sitePicker() { return html`<label>Site<select name="site"><option value="">every site</option>${this.sites.map((s) => html`<option value=${s.id}>${title(s)}</option>`)}</select></label>`; }

  routeForm() {
    const whom = (n) => html`<label>Channel<select name="channel${n}"><option value="">none</option>${this.channels.map((c) => html`<option>${c.name}</option>`)}</select></label>
      <label>People<select name="role${n}"><option value="">nobody</option>${['viewer', 'operator', 'manager', 'admin'].map((r) => html`<option value=${r} ?selected=${n === 1 && r === 'operator'}>every ${r}</option>`)}</select></label>`;
    return html`<details class="panel"><summary>Add a route</summary><form class="fields" aria-label="Add a route" @submit=${(e) => this.submit(e, (f) => this.addRoute(f))}>
      <label>Name<input name="name" required maxlength="100" placeholder="day"></label>${this.sitePicker()}
      <label>Rule, empty for all<input name="rules" placeholder="over-capacity"></label>
      <label>At least<select name="severity">${severities.map((s) => html`<option ?selected=${s === 'warning'}>${s}</option>`)}</select></label>
      <fieldset><legend>At once</legend>${whom(1)}</fieldset>
      <fieldset><legend>If nobody acknowledges</legend><label>After<input name="after" placeholder="15m" pattern="([0-9]+(h|m|s))+"></label>${whom(2)}</fieldset>
      <button class="primary" ?disabled=${this.busy}>Add</button></form></details>`;
  }

  addRoute(f) {
    const to = (n) => ({ ...(f[`channel${n}`] && { channels: [f[`channel${n}`]] }), ...(f[`role${n}`] && { roles: [f[`role${n}`]] }) });
    const steps = [to(1)];
    if (f.after || Object.keys(to(2)).length) steps.push({ after: f.after, ...to(2) });
    return this.post(`v1/orgs/${session.org}/routes`, { name: f.name, match: this.matchers(f), steps: steps.filter((s) => s.channels || s.roles) });
  }

  matchers(f) { return { ...(f.site && { sites: [f.site] }), ...(f.rules && { rules: list(f.rules) }), ...(f.severity && f.severity !== 'info' && { min_severity: f.severity }) }; }

  routeTable() {
    if (!this.routes.length) return html`<p class="empty">No route: nobody is told of alerts, they are only shown.</p>`;
    const at = (r) => `v1/orgs/${session.org}/routes/${r.id}`;
    return html`<div class="panel scroll"><table><thead><tr><th>Name</th><th>Which alerts</th><th>Whom</th><th></th></tr></thead><tbody>${repeat(this.routes, (r) => r.id, (r) => html`<tr><th scope="row">${r.name}${r.disabled ? html` <span class="badge warn">off</span>` : nothing}</th>
      <td>${about(r.match)}${r.domain && r.domain !== r.org ? html` <span class="muted">in ${r.domain}</span>` : nothing}${r.hours ? html` <span class="muted">${r.hours.outside ? 'outside' : 'within'} ${r.hours.from}–${r.hours.to}</span>` : nothing}</td>
      <td><ul class="steps">${r.steps.map((s) => html`<li>${step(s)}</li>`)}</ul></td>
      <td class="end">${session.may('manager', r.domain) ? html`<button ?disabled=${this.busy} aria-label="Delete ${r.name}" @click=${() => this.act(() => request(at(r), { method: 'DELETE' }), `${r.name} is deleted.`)}>Delete</button>` : nothing}</td></tr>`)}</tbody></table></div>`;
  }

  silenceForm() {
    return html`<details class="panel"><summary>Keep quiet for a while</summary><form class="fields" aria-label="Keep quiet for a while" @submit=${(e) => this.submit(e, (f) => this.addSilence(f))}>
      ${this.sitePicker()}<label>Rule, empty for all<input name="rules"></label><label>Until<input type="datetime-local" name="until" required></label><label>Reason<input name="reason" required maxlength="500"></label>
      <button class="primary" ?disabled=${this.busy}>Silence</button></form></details>`;
  }

  addSilence(f) { return this.post('v1/silences', { domain: session.within('operator')[0]?.domain ?? session.org, match: this.matchers(f), until: new Date(f.until).toISOString(), reason: f.reason }); }

  silenceTable() {
    if (!this.silences.length) return html`<p class="empty">Nothing is silenced.</p>`;
    return html`<div class="panel scroll"><table><thead><tr><th>Which alerts</th><th>Until</th><th>Reason</th><th>By</th><th></th></tr></thead><tbody>${repeat(this.silences, (s) => s.id, (s) => html`<tr><td>${about(s.match)}</td>
      <td>${s.until_cleared ? 'it clears' : clock(s.until)}</td><td>${s.reason}</td><td>${s.author}</td>
      <td class="end">${session.may('operator', s.domain) ? html`<button ?disabled=${this.busy} @click=${() => this.act(() => request(`v1/silences/${s.id}`, { method: 'DELETE' }), 'The silence has ended.')}>End</button>` : nothing}</td></tr>`)}</tbody></table></div>`;
  }
}

customElements.define('headcount-routing', HeadcountRouting);
