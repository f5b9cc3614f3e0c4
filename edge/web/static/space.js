// <headcount-space>: one space as a card. The page gives it its space; elsewhere it can stand
// alone: <headcount-space src="v1/spaces/lobby"></headcount-space> fetches and follows it.
import { LitElement, css, html, nothing } from './vendor/lit/lit.js';
import { follow, request } from './client.js';
import { age, interval, known, sentence, timed, title } from './format.js';
import { base } from './styles.js';

export class HeadcountSpace extends LitElement {
  static properties = {
    space: { attribute: false },
    truth: { attribute: false }, // people really there, where the server knows (demo)
    src: {},
    alerting: { type: Boolean, reflect: true },
    stale: { type: Boolean, reflect: true },
    error: { state: true },
  };

  static styles = [base, css`
    :host { container-type: inline-size; }
    .card { position: relative; height: 100%; padding: .8rem .95rem .9rem; display: flex; flex-direction: column; gap: .1rem; text-align: left; width: 100%; font: inherit; color: inherit; }
    button.card { cursor: pointer; transition: border-color .15s; }
    button.card:hover { border-color: var(--accent); }
    :host([alerting]) .card { border-color: var(--bad); box-shadow: inset 3px 0 0 var(--bad), var(--shadow); }
    :host([stale]) :is(.count, .interval, svg) { opacity: .5; }
    .name { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .now { display: flex; align-items: baseline; gap: .5rem; flex-wrap: wrap; }
    .count { font-size: 2.5rem; line-height: 1.15; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
    .vacant .count, .unknown .count { color: var(--muted); font-weight: 500; }
    .interval { color: var(--muted); font-variant-numeric: tabular-nums; }
    .marks { margin-left: auto; align-self: center; display: flex; gap: .3rem; flex-wrap: wrap; justify-content: end; font-variant-numeric: tabular-nums; }
    .foot { margin-top: auto; display: grid; grid-template-columns: minmax(0, 1fr); gap: .3rem; }
    .line { display: flex; justify-content: space-between; gap: .5rem; color: var(--muted); font-size: .8rem; white-space: nowrap; }
    .line span:first-child { min-width: 0; overflow: hidden; text-overflow: ellipsis; }
    @container (max-width: 11rem) {
      .card { padding: .65rem .75rem .7rem; }
      .count { font-size: 2.1rem; }
      .word { display: none; }
    }
    svg { display: block; width: 100%; height: 6px; border-radius: 3px; background: var(--surface-2); }
    .fill { fill: var(--accent); }
    .over .fill { fill: var(--bad); }
    .range { fill: var(--accent); opacity: .28; }
    .over .range { fill: var(--bad); }
  `];

  connectedCallback() {
    super.connectedCallback();
    if (!this.src) return;
    this.stop = new AbortController();
    const load = async () => {
      try {
        this.space = await request(this.src);
        this.error = '';
      } catch (err) {
        this.error = err.message;
      }
    };
    load();
    const [, root, id] = /^(.*?)spaces\/([^/]+)$/.exec(this.src) ?? [];
    if (!id) return;
    follow([`${root}stream?type=snapshot,occupancy.changed,correction&space=${id}`], {
      signal: this.stop.signal,
      onEvent: (e) => (e.type === 'occupancy.changed' && this.space ? (this.space = { ...this.space, occupancy: e.data.data }) : load()),
      onState: (up) => { this.stale = !up; },
      onUnauthorised: () => { this.error = 'a token is needed'; },
    });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stop?.abort();
  }

  render() {
    if (!this.space) return html`<div class="card panel muted" role="status">${this.error || 'loading…'}</div>`;
    const s = this.space, o = s.occupancy;
    const body = html`
      <span class="name">${title(s)}</span>
      <span class="now" aria-hidden="true">
        <span class="count">${known(o) ? o.count : '?'}</span>
        <span class="interval">${interval(o)}</span>
        <span class="marks">${this.badge(o)}${this.truth === undefined ? nothing : html`<span class="badge" title="people really there (simulation)">truth ${this.truth}</span>`}</span>
      </span>
      <span class="foot" aria-hidden="true">${this.bar(s)}
        <span class="line"><span>${this.state(o)}</span><span>${s.capacity ? `of ${s.capacity}` : ''}</span></span>
      </span>
      <span class="visually-hidden">${sentence(s)}${this.truth === undefined ? '' : `, truth ${this.truth}`}</span>`;
    const kind = known(o) ? o.state : 'unknown';
    if (this.src) return html`<div class="card panel ${kind}">${body}</div>`;
    return html`<button class="card panel ${kind}" part="card" @click=${this.open}>${body}</button>`;
  }

  state(o) {
    if (!known(o)) return 'unknown';
    return html`${o.state}${timed(o.since) ? html`<span class="word"> for</span> ${age(o.since)}` : nothing}`;
  }

  badge(o) {
    if (!known(o)) return html`<span class="badge">${o.quality === 'stale' ? 'stale' : 'no data'}</span>`;
    if (o.quality === 'good') return nothing;
    return html`<span class="badge warn">${o.quality}</span>`;
  }

  /** Count against capacity with the interval behind it; SVG, as styles in markup are refused. */
  bar(s) {
    const o = s.occupancy;
    if (!s.capacity || !known(o)) return nothing;
    const x = (n) => Math.min(100, (100 * n) / s.capacity);
    const over = o.count > s.capacity;
    return html`<svg class=${over ? 'over' : ''} viewBox="0 0 100 6" preserveAspectRatio="none">
      <rect class="range" x=${x(o.low ?? o.count)} width=${x(o.high ?? o.count) - x(o.low ?? o.count)} height="6"></rect>
      <rect class="fill" width=${x(o.count)} height="6"></rect></svg>`;
  }

  open() { this.dispatchEvent(new CustomEvent('open-space', { detail: this.space.id, bubbles: true, composed: true })); }
}

customElements.define('headcount-space', HeadcountSpace);
