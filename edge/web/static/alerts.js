// <headcount-alerts>: open alerts with acknowledge, and those that cleared lately.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { age } from './format.js';
import { base, controls } from './styles.js';

const rank = { critical: 0, warning: 1, info: 2 };
const shownCleared = 5;

/** Those that somebody should see: raised and not cleared. */
export const open = (alerts) => alerts.filter((a) => a.state === 'firing' || a.state === 'acknowledged');

export class HeadcountAlerts extends LitElement {
  static properties = { site: { attribute: false }, alerts: { attribute: false }, may: { attribute: false }, busy: { state: true }, error: { state: true } };

  static styles = [base, controls, css`
    ul { display: grid; gap: .5rem; }
    li { display: flex; gap: .3rem .9rem; align-items: center; flex-wrap: wrap; padding: .6rem .8rem; border-radius: 11px; border: 1px solid var(--line); background: var(--surface); }
    li.critical.firing { background: var(--bad-soft); border-color: var(--bad); }
    li.warning.firing { background: var(--warn-soft); border-color: var(--warn); }
    .text { flex: 1 1 14rem; min-width: 0; overflow-wrap: anywhere; }
    .message { font-weight: 600; }
    .none { color: var(--muted); }
    details { margin-top: .6rem; }
    summary { cursor: pointer; color: var(--muted); font-size: .85rem; }
    details ul { margin-top: .4rem; }
  `];

  render() {
    const list = open(this.alerts ?? []).sort((a, b) => (a.state === 'firing' ? 0 : 1) - (b.state === 'firing' ? 0 : 1)
      || rank[a.severity] - rank[b.severity] || b.since.localeCompare(a.since));
    const cleared = (this.alerts ?? []).filter((a) => a.state === 'cleared').slice(0, shownCleared);
    return html`
      <div role="status" aria-live="polite" class="visually-hidden">${list.length} open alerts</div>
      ${this.error ? html`<p role="alert">${this.error}</p>` : nothing}
      ${list.length ? html`<ul>${list.map((a) => this.item(a))}</ul>` : html`<p class="none">No open alerts.</p>`}
      ${cleared.length ? html`<details><summary>${cleared.length} cleared lately</summary><ul>${cleared.map((a) => this.item(a))}</ul></details>` : nothing}`;
  }

  item(a) {
    return html`<li class="${a.severity} ${a.state}">
      <span class="badge ${a.severity === 'critical' ? 'bad' : a.severity === 'warning' ? 'warn' : ''}">${a.severity}</span>
      <div class="text"><div class="message">${a.message || `${a.rule}: ${a.subject}`}</div><div class="muted small">${this.when(a)}</div></div>
      ${this.site.id && this.may && a.state !== 'cleared' ? html`<button ?disabled=${this.busy === a.id} @click=${() => this.workOrder(a)}
        aria-label="Work order for: ${a.message || a.rule}">Work order</button>` : nothing}
      ${this.may && a.state === 'firing' ? html`<button ?disabled=${this.busy === a.id} @click=${() => this.acknowledge(a)}
        aria-label="Acknowledge: ${a.message || a.rule}">Acknowledge</button>` : nothing}
    </li>`;
  }

  /** Opens the order of an alert, or shows the one that it has. */
  async workOrder(a) {
    this.busy = a.id;
    try {
      const order = await this.site.post(`alerts/${encodeURIComponent(a.id)}/work-order`, {});
      location.hash = `#/orders/${order.id}`;
    } catch (err) {
      this.error = `No work order was opened: ${err.message}`;
    }
    this.busy = '';
  }

  when(a) {
    if (a.state === 'cleared') return `cleared ${age(a.cleared_at)} ago`;
    const since = `for ${age(a.since)}`;
    return a.state === 'acknowledged' ? `${since} · acknowledged by ${a.acknowledged_by || 'somebody'} ${age(a.acknowledged_at)} ago` : since;
  }

  async acknowledge(a) {
    this.busy = a.id;
    try {
      await this.site.post(`alerts/${encodeURIComponent(a.id)}/acknowledge`, {});
      this.error = '';
      this.site.fetch('alerts');
    } catch (err) {
      this.error = `Not acknowledged: ${err.message}`;
    }
    this.busy = '';
  }
}

customElements.define('headcount-alerts', HeadcountAlerts);
