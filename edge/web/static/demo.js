// <headcount-demo>: the controls of a simulated building. Only the page of a simulation has
// them, and the truth beside each estimate.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { request } from './client.js';
import { base, controls } from './styles.js';

const every = 1_000; // ms

/** Follows the simulation: calls take with its state until stop aborts. */
export async function followDemo(stop, take) {
  while (!stop.aborted) {
    await request('demo/state', { signal: stop }).then(take, () => {}); // the page tells of a lost connection
    await new Promise((done) => setTimeout(done, every));
  }
}

const names = { 'cut-link': 'Cut the cloud link', 'restore-link': 'Restore the link', 'fail-sensor': 'Fail sensor', 'restore-sensor': 'Restore sensor', 'restart-hub': 'Restart the hub' };
const needsSensor = (action) => action.endsWith('-sensor');

export class HeadcountDemo extends LitElement {
  static properties = { state: { attribute: false }, sensors: { attribute: false }, error: { state: true }, busy: { state: true } };

  static styles = [base, controls, css`
    :host { padding: .8rem 1rem; border: 1px dashed var(--accent); border-radius: var(--radius); background: var(--surface); }
    .row { display: flex; gap: .5rem .6rem; align-items: center; flex-wrap: wrap; }
    h2 { font-size: 1rem; margin-right: auto; }
    select { width: auto; max-width: 14rem; }
    .error { color: var(--bad); }
    @media (max-width: 480px) {
      h2 { width: 100%; }
      .row > button { flex: 1 1 8rem; }
      .row .row { width: 100%; flex-wrap: nowrap; }
      .row .row > button { flex: none; }
      select { flex: 1; min-width: 0; max-width: none; }
    }
  `];

  render() {
    const s = this.state, failed = s.sensors_failed ?? [];
    const offered = (s.actions ?? []).filter((a) => !(a === 'cut-link' && !s.link_up) && !(a === 'restore-link' && s.link_up));
    const plain = offered.filter((a) => !needsSensor(a));
    return html`<div class="row">
        <h2>Simulated building <span class="badge">${s.speed}× speed</span> <span class="badge ${s.link_up ? 'ok' : 'warn'}">cloud link ${s.link_up ? 'up' : 'cut'}</span></h2>
        ${plain.map((a) => html`<button ?disabled=${this.busy} @click=${() => this.act(a)}>${names[a] ?? a}</button>`)}
        ${offered.includes('fail-sensor') ? this.picker('fail-sensor', (this.sensors ?? []).map((x) => x.id).filter((id) => !failed.includes(id))) : nothing}
        ${offered.includes('restore-sensor') && failed.length ? this.picker('restore-sensor', failed) : nothing}
      </div>
      ${this.error ? html`<p class="error" role="alert">${this.error}</p>` : nothing}`;
  }

  picker(action, ids) {
    return html`<span class="row"><select id=${action} aria-label="Sensor to ${action.split('-')[0]}">${ids.map((id) => html`<option>${id}</option>`)}</select>
      <button ?disabled=${this.busy || !ids.length} @click=${() => this.act(action, this.renderRoot.querySelector(`#${action}`).value)}>${names[action]}</button></span>`;
  }

  async act(action, sensor) {
    this.busy = true;
    try {
      await request(`demo/${action}`, { method: 'POST', body: sensor ? { sensor } : {} });
      this.error = '';
    } catch (err) {
      this.error = `${names[action] ?? action}: ${err.message}`;
    }
    this.busy = false;
  }
}

customElements.define('headcount-demo', HeadcountDemo);
