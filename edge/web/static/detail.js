// <headcount-detail>: one space in a dialog: what is known now, its history, its sensors.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { age, clock, interval, known, likely, people, timed, title } from './format.js';
import { base, controls } from './styles.js';
import './chart.js';
import './sensors.js';

const day = 86400;
const ranges = [['10 min', 600], ['1 h', 3600], ['6 h', 6 * 3600], ['24 h', day], ['7 d', 7 * day]];
const mostPoints = 600; // longer times are asked for in steps

export class HeadcountDetail extends LitElement {
  static properties = {
    site: { attribute: false }, space: { attribute: false }, truth: { attribute: false },
    range: { state: true }, history: { state: true }, error: { state: true },
  };

  static styles = [base, controls, css`
    dialog {
      width: min(820px, calc(100vw - 1.5rem)); max-height: calc(100dvh - 1.5rem); border: 1px solid var(--line); border-radius: 18px;
      background: var(--surface); color: var(--text); padding: 0; box-shadow: 0 12px 48px #0005; overflow: auto;
    }
    dialog::backdrop { background: #0009; }
    header { position: sticky; top: 0; z-index: 2; background: var(--surface); display: flex; justify-content: space-between; align-items: center; gap: 1rem; padding: .9rem 1.2rem .5rem; }
    h2 { font-size: 1.25rem; }
    h2:focus-visible { outline: none; }
    .content { padding: 0 1.2rem 1.2rem; display: grid; gap: 1rem; }
    .now { display: flex; gap: .3rem 1rem; align-items: baseline; flex-wrap: wrap; }
    .count { font-size: 3rem; line-height: 1; font-weight: 650; font-variant-numeric: tabular-nums; }
    .ranges { display: flex; gap: .3rem; flex-wrap: wrap; }
    .ranges button { min-height: 2rem; padding: .1rem .7rem; font-size: .85rem; }
    .ranges [aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
    dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; }
    dt { color: var(--muted); }
    h3 { font-size: 1rem; margin-bottom: .4rem; }
    .close { border: none; background: none; font-size: 1.4rem; line-height: 1; padding: .2rem .6rem; }
  `];

  constructor() {
    super();
    this.range = day;
  }

  firstUpdated() { this.renderRoot.querySelector('dialog').showModal(); }

  willUpdate() {
    if (this.range !== this.asked) this.load();
    const o = this.space?.occupancy;
    const version = `${o?.as_of}|${this.site?.revisions}`;
    if (this.version && version !== this.version) this.extend(o);
    this.version = version;
  }

  /** A new occupancy continues the history; revisions and steps are fetched again. */
  extend(o) {
    if (!this.history || this.revisions !== this.site.revisions) return this.load();
    const now = Date.now() / 1000;
    const points = this.history.points.at(-1)?.as_of < o.as_of ? [...this.history.points, o] : this.history.points;
    this.history = { points, to: now, from: now - this.range };
  }

  async load() {
    const asked = this.asked = this.range, now = Date.now() / 1000;
    this.revisions = this.site.revisions;
    const step = Math.ceil(asked / mostPoints);
    const every = step > 150 ? `&every=${step}s` : '';
    const from = new Date((now - asked) * 1000).toISOString();
    try {
      const h = await this.site.get(`spaces/${encodeURIComponent(this.space.id)}/history?from=${from}${every}`);
      if (asked !== this.range) return;
      if (!this.chosen) this.range = this.asked = fitting(h.points, now);
      this.history = { points: h.points, from: now - this.range, to: now };
      this.error = '';
    } catch (err) {
      this.error = err.message;
    }
  }

  choose(seconds) {
    this.chosen = true;
    this.range = seconds;
  }

  render() {
    const s = this.space, o = s.occupancy;
    return html`<dialog aria-labelledby="title" @close=${this.closed} @click=${this.clicked}>
      <header><h2 id="title" tabindex="-1" autofocus>${title(s)}</h2><button class="close" aria-label="Close" @click=${this.close}>×</button></header>
      <div class="content">
        <div class="now" role="status">
          <span class="count">${known(o) ? o.count : '?'}</span>
          <span class="nums">${known(o) ? (interval(o) ? `${interval(o)} with 90 % certainty` : people(o.count).replace(/^\d+ /, '')) : 'unknown: there is no evidence now'}</span>
          ${this.truth === undefined ? nothing : html`<span class="badge">truth ${this.truth}</span>`}
        </div>
        <div>
          <div class="ranges" role="group" aria-label="Time shown">
            ${ranges.map(([name, seconds]) => html`<button aria-pressed=${seconds === this.range} @click=${() => this.choose(seconds)}>${name}</button>`)}
          </div>
          ${this.error ? html`<p class="muted" role="alert">History: ${this.error}</p>` : nothing}
          ${this.history ? html`<headcount-chart .points=${this.history.points} .from=${this.history.from} .to=${this.history.to}></headcount-chart>` : html`<p class="muted">loading…</p>`}
        </div>
        <dl>
          <dt>State</dt><dd>${known(o) ? o.state : 'unknown'}${timed(o.since) ? ` since ${clock(o.since)} (${age(o.since)})` : ''}</dd>
          <dt>Quality</dt><dd>${o.quality}${quality[o.quality] ? html` <span class="muted">${quality[o.quality]}</span>` : nothing}</dd>
          <dt>As of</dt><dd>${clock(o.as_of)}</dd>
          ${s.capacity ? html`<dt>Capacity</dt><dd>${people(s.capacity)}${o.utilisation == null ? '' : `, ${Math.round(100 * o.utilisation)} % used`}</dd>` : nothing}
          ${o.p_occupied == null ? nothing : html`<dt>Somebody there</dt><dd>${likely(o.p_occupied)}</dd>`}
          ${s.hours ? html`<dt>Hours</dt><dd>${s.hours}</dd>` : nothing}
        </dl>
        ${this.sensors(s, o)}
      </div></dialog>`;
  }

  sensors(s, o) {
    const doors = new Set(this.site.doors.filter((d) => d.between.includes(s.id)).map((d) => d.id)), sources = new Set(o.sources ?? []);
    const of = this.site.sensors.filter((x) => x.space === s.id || doors.has(x.door) || sources.has(x.id));
    if (!of.length) return nothing;
    return html`<section><h3>Sensors</h3><headcount-sensors .sensors=${of}></headcount-sensors></section>`;
  }

  /** A click beside the dialog closes it. */
  clicked(e) { if (e.target === e.currentTarget) this.close(); }

  close() { this.renderRoot.querySelector('dialog').close(); }

  closed() { this.dispatchEvent(new CustomEvent('close-space')); }
}

/** The shortest range that has all of the day's points at which something was known. */
function fitting(points, now) {
  const first = points.find(known);
  return first ? ranges.find(([, seconds]) => seconds >= now - Date.parse(first.as_of) / 1000)?.[1] ?? day : day;
}

const quality = {
  degraded: 'some of its sensors give no evidence',
  stale: 'its sensors are silent; the truth may have moved on',
  none: 'there never was evidence',
};

customElements.define('headcount-detail', HeadcountDetail);
