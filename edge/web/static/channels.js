// <headcount-channels> and <headcount-letters>: by which ways an organisation tells, and what
// could not be delivered.
import { html, nothing, repeat } from './vendor/lit/lit.js';
import { request } from './client.js';
import { clock, join } from './format.js';
import { Screen } from './screen.js';
import { session } from './session.js';

const kinds = { webhook: 'webhook', mail: 'mail', ntfy: 'ntfy topic', chat: 'chat service', sms: 'text messages' };
const needsURL = { webhook: 'https://example.org/hook', ntfy: 'https://ntfy.example.org/topic', chat: 'https://hooks.slack.com/services/…', sms: 'https://sms.example.org/send?to={to}&text={text}' };
const needsTo = { mail: 'desk@example.org, guard@example.org', sms: '+4790000000' };
const needsSecret = { webhook: 'Signing secret, if wanted', ntfy: 'Access token, if wanted', sms: 'What {secret} stands for' };

class HeadcountChannels extends Screen {
  static properties = { channels: { state: true }, kind: { state: true } };

  constructor() {
    super();
    this.kind = 'webhook';
  }

  get path() { return `v1/orgs/${session.org}/channels`; }

  async fetch() { this.channels = (await this.get(this.path)).channels ?? []; }

  render() {
    const k = this.kind;
    return html`<h2>Channels</h2>${this.said()}
      <details class="panel"><summary>Add a channel</summary><form class="fields" aria-label="Add a channel" @submit=${(e) => this.submit(e, (f) => this.add(f))}>
        <label>Name<input name="name" required pattern="[a-z0-9][a-z0-9_\\-]{0,63}" title="a-z 0-9 _ -" placeholder="pager"></label>
        <label>Kind<select name="kind" @change=${(e) => { this.kind = e.target.value; }}>${Object.entries(kinds).map(([v, text]) => html`<option value=${v} ?selected=${v === k}>${text}</option>`)}</select></label>
        ${needsURL[k] ? html`<label>Address<input name="url" required placeholder=${needsURL[k]}></label>` : nothing}
        ${needsTo[k] ? html`<label>To, with commas between<input name="to" required placeholder=${needsTo[k]}></label>` : nothing}
        ${needsSecret[k] ? html`<label>${needsSecret[k]}<input name="secret" type="password" autocomplete="off"></label>` : nothing}
        ${k === 'webhook' ? html`<label>Body<select name="format"><option value="">CloudEvents</option><option value="alertmanager">Alertmanager</option></select></label>` : nothing}
        <button class="primary" ?disabled=${this.busy}>Add</button></form></details>
      ${this.channels?.length ? html`<div class="panel scroll"><table><thead><tr><th>Name</th><th>Kind</th><th>Where</th><th>State</th><th></th></tr></thead><tbody>${repeat(this.channels, (c) => c.name, (c) => this.row(c))}</tbody></table></div>`
        : html`<p class="empty">${this.channels ? 'There is no channel yet; people still have their inbox.' : 'Loading…'}</p>`}`;
  }

  row(c) {
    const s = c.status, at = `${this.path}/${encodeURIComponent(c.name)}`;
    return html`<tr><th scope="row">${c.name}</th><td>${kinds[c.spec.kind] ?? c.spec.kind}</td><td>${join(c.spec.url, (c.spec.to ?? []).join(', '), c.configured ? 'from the configuration file' : '')}</td>
      <td>${s ? html`<span class="badge ${s.failures ? 'warn' : 'ok'}">${s.failures ? `${s.failures} failed` : 'works'}</span> <span class="small muted">${s.last_error}</span>` : html`<span class="muted small">not used yet</span>`}</td>
      <td class="end"><button ?disabled=${this.busy} aria-label="Test ${c.name}" @click=${() => this.act(() => this.post(`${at}/test`), `${c.name} has taken the test message.`)}>Test</button>
        ${c.configured ? nothing : html`<button ?disabled=${this.busy} aria-label="Delete ${c.name}" @click=${() => this.act(() => request(at, { method: 'DELETE' }), `${c.name} is deleted.`)}>Delete</button>`}</td></tr>`;
  }

  add({ name, kind, url, to, secret, format }) {
    const spec = Object.fromEntries(Object.entries({ kind, url, secret, format }).filter(([, v]) => v));
    if (to) spec.to = to.split(',').map((x) => x.trim()).filter(Boolean);
    return this.post(this.path, { name, spec });
  }
}

customElements.define('headcount-channels', HeadcountChannels);

class HeadcountLetters extends Screen {
  static properties = { letters: { state: true }, held: { state: true } };

  async fetch() {
    const q = `v1/dead-letters?org=${encodeURIComponent(session.org)}&limit=100`;
    const [dead, held] = await Promise.all([this.get(q), this.get(`${q}&state=held`)]);
    [this.letters, this.held] = [dead.dead_letters ?? [], held.dead_letters ?? []];
  }

  render() {
    return html`<h2>Not delivered</h2>${this.said()}
      ${this.held?.length ? html`<p><span class="badge warn">${this.held.length} kept</span> mails wait, because no mail server is configured: <code>mail:</code> in the cloud's configuration.</p>` : nothing}
      ${this.letters?.length ? html`<div class="panel scroll"><table><thead><tr><th>What</th><th>Channel</th><th>Why not</th><th>When</th><th></th></tr></thead><tbody>${repeat(this.letters, (l) => l.id, (l) => html`<tr><th scope="row">${l.title || l.type}</th>
        <td>${join(l.webhook || l.channel, l.target)}</td><td>${l.reason} <span class="muted small">after ${l.attempts} ${l.attempts === 1 ? 'attempt' : 'attempts'}</span></td><td>${clock(l.at)}</td>
        <td class="end"><button ?disabled=${this.busy} aria-label="Retry ${l.title}" @click=${() => this.act(() => this.post(`v1/dead-letters/${l.id}/retry`), 'It is tried again.')}>Retry</button>
          <button ?disabled=${this.busy} aria-label="Drop ${l.title}" @click=${() => this.act(() => request(`v1/dead-letters/${l.id}`, { method: 'DELETE' }), 'It is dropped.')}>Drop</button></td></tr>`)}</tbody></table></div>`
        : html`<p class="empty">${this.letters ? 'Everything was delivered or is under way.' : 'Loading…'}</p>`}`;
  }
}

customElements.define('headcount-letters', HeadcountLetters);
