// <headcount-desired>: names and capacities of a site's spaces as they are to be; the hub applies
// them and says so.
import { css, html, nothing, repeat } from './vendor/lit/lit.js';
import { request } from './client.js';
import { clock, join } from './format.js';
import { Screen } from './screen.js';

const states = {
  unknown: ['', 'the hub has never said what it runs'], pending: ['', 'the hub does not run it yet'], trial: ['', 'the hub tries it out'], applied: ['ok', 'applied'], refused: ['bad', 'the hub refused it'],
};

class HeadcountDesired extends Screen {
  static properties = { site: {}, desired: { state: true }, spaces: { state: true }, changed: { state: true } };

  static styles = [Screen.styles, css`
    td input { min-height: 2rem; padding: .15rem .5rem; min-width: 6rem; }
    td input[type=number] { max-width: 7rem; }
    .spaces { max-height: 26rem; overflow: auto; }
  `];

  follows = 'twin.';

  constructor() {
    super();
    this.changed = new Map(); // id to the space as it is to be
  }

  get path() { return `v1/sites/${encodeURIComponent(this.site)}`; }

  async fetch() {
    const [desired, running] = await Promise.all([request(`${this.path}/twin/desired`, { signal: this.stopped.signal, whole: true }), this.get(`${this.path}/export`)]);
    [this.desired, this.etag, this.spaces] = [desired.body, desired.etag, running.spaces ?? []];
    if (this.desired.state === 'pending' || this.desired.state === 'trial') setTimeout(() => this.happened(), 2_000);
  }

  render() {
    const d = this.desired;
    if (!d) return html`${this.said()}${this.waiting()}`;
    const [tone, text] = states[d.state] ?? ['', d.state];
    return html`${this.said()}<p role="status"><span class="badge ${tone}">${text}</span> ${d.desired_rev ? html`revision ${d.desired_rev} is desired` : 'the hub’s own file alone decides'}${d.applied_rev == null ? nothing : html`, the hub runs ${d.applied_rev || 'its file'}`}
        <span class="muted small">${join(d.author, d.at && clock(d.at), d.note)}</span></p>
      ${d.state === 'refused' ? html`<ul class="error">${(d.reasons ?? []).map((r) => html`<li>${r}</li>`)}</ul>` : nothing}
      ${this.spaces.length ? this.table() : html`<p class="empty">The hub has not told its spaces yet.</p>`}`;
  }

  table() {
    return html`<div class="scroll spaces"><table><thead><tr><th>Space</th><th>Kind</th><th>Name</th><th>Capacity</th></tr></thead><tbody>${repeat(this.spaces, (s) => s.id, (s) => html`<tr><th scope="row">${s.id}</th><td>${s.kind}</td>
        <td><input aria-label="Name of ${s.id}" maxlength="120" .value=${(this.changed.get(s.id) ?? s).name ?? ''} @change=${(e) => this.set(s, { name: e.target.value.trim() || undefined })}></td>
        <td><input aria-label="Capacity of ${s.id}" type="number" min="0" max="100000" .value=${String((this.changed.get(s.id) ?? s).capacity ?? '')} @change=${(e) => this.set(s, { capacity: e.target.value === '' ? undefined : Number(e.target.value) })}></td></tr>`)}</tbody></table></div>
      <div class="head"><button class="primary" ?disabled=${this.busy || !this.changed.size} @click=${() => this.apply()}>Send to the hub</button>
        <button ?disabled=${!this.changed.size} @click=${() => { this.changed = new Map(); }}>Discard</button></div>`;
  }

  set(space, change) { this.changed = new Map(this.changed).set(space.id, { ...space, ...this.changed.get(space.id), ...change }); }

  apply() {
    return this.act(async () => {
      await request(`${this.path}/twin/desired`, { method: 'PATCH', body: { spaces: [...this.changed.values()] }, match: this.etag });
      this.changed = new Map();
    });
  }
}

customElements.define('headcount-desired', HeadcountDesired);
