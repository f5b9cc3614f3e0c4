// <headcount-sensors>: sensors and how they are doing, those with trouble first.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { age, title, value } from './format.js';
import { base } from './styles.js';

const order = ['offline', 'silent', 'waiting', 'ok'];
const tone = { ok: 'ok', silent: 'warn', offline: 'bad' };

export class HeadcountSensors extends LitElement {
  static properties = { sensors: { attribute: false } };

  static styles = [base, css`
    table { border-collapse: collapse; width: 100%; font-size: .9rem; }
    th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-top: 1px solid var(--line); vertical-align: top; }
    thead th { border: none; color: var(--muted); font-weight: 500; font-size: .8rem; padding-top: 0; }
    tbody th { font-weight: 600; overflow-wrap: anywhere; }
    td:last-child { padding-right: 0; }
    .where { white-space: nowrap; }
    @media (max-width: 640px) {
      thead { position: absolute; clip-path: inset(50%); }
      tr { display: grid; grid-template-columns: 1fr max-content; border-top: 1px solid var(--line); padding: .45rem 0; gap: .1rem .6rem; }
      th, td { display: block; border: none; padding: 0; }
      .where, .values { color: var(--muted); font-size: .85rem; }
      .seen { text-align: right; color: var(--muted); font-size: .85rem; }
      .values { grid-column: 1 / -1; }
    }
  `];

  render() {
    const list = [...(this.sensors ?? [])].sort((a, b) => order.indexOf(a.status) - order.indexOf(b.status) || a.id.localeCompare(b.id));
    return html`<table>
      <thead><tr><th scope="col">Sensor</th><th scope="col">Status</th><th scope="col">Observes</th><th scope="col">Heard</th><th scope="col">Says</th></tr></thead>
      <tbody>${list.map((s) => html`<tr>
        <th scope="row">${title(s)}</th>
        <td><span class="badge ${tone[s.status] ?? ''}">${s.status}</span></td>
        <td class="where">${s.space || s.door}</td>
        <td class="seen nums">${s.last_seen ? `${age(s.last_seen)} ago` : 'never'}</td>
        <td class="values">${s.reason ? html`<div>${s.reason}</div>` : nothing}${(s.last ?? []).map(value).join(', ')}</td>
      </tr>`)}</tbody></table>`;
  }
}

customElements.define('headcount-sensors', HeadcountSensors);
