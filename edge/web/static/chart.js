// <headcount-chart>: occupancy over time, a step with its interval as a band. Times in which
// nothing was known are gaps.
import uPlot from './vendor/uplot/uPlot.esm.js';
import { LitElement, css, html } from './vendor/lit/lit.js';
import { clock, interval, known, people } from './format.js';
import { base } from './styles.js';

export class HeadcountChart extends LitElement {
  static properties = { points: { attribute: false }, from: { attribute: false }, to: { attribute: false }, reads: {}, pointed: { state: true } };

  static styles = [base, css`
    .plot { min-height: 240px; }
    .at { min-height: 1.5em; font-size: .85rem; color: var(--muted); padding-left: 38px; }
    .empty { display: grid; place-items: center; min-height: 240px; color: var(--muted); }
  `];

  constructor() {
    super();
    this.reads = 'line: best count, band: 90 % interval'; // how to read it
  }

  render() {
    const some = this.points?.some(known);
    return html`<link rel="stylesheet" href=${new URL('vendor/uplot/uPlot.min.css', import.meta.url)}>
      <p class="visually-hidden">${this.summary()}</p>
      <div class="plot" ?hidden=${!some} aria-hidden="true"></div>
      ${some ? html`<p class="at nums" aria-hidden="true">${this.pointedAt()}</p>` : ''}
      ${some ? '' : html`<div class="empty">nothing was known in this time</div>`}`;
  }

  summary() {
    const seen = (this.points ?? []).filter(known);
    if (!seen.length) return 'Nothing was known in this time.';
    const peak = seen.reduce((a, b) => (b.count > a.count ? b : a));
    return `Chart: at most ${people(peak.count)} at ${clock(peak.as_of)}; at the end ${people(seen.at(-1).count)}.`;
  }

  /** What was known where the pointer is; how to read the chart while it is elsewhere. */
  pointedAt() {
    const p = this.points.findLast((x) => Date.parse(x.as_of) / 1000 <= this.pointed);
    if (!p) return this.reads;
    return known(p) ? `${clock(this.pointed * 1000)}: ${people(p.count)}${interval(p) && ` (${interval(p)})`}` : `${clock(this.pointed * 1000)}: unknown`;
  }

  firstUpdated() {
    this.size = new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: 240 }));
    this.size.observe(this.box);
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    this.dark.addEventListener('change', this.redraw);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.size?.disconnect();
    this.dark?.removeEventListener('change', this.redraw);
    this.plot?.destroy();
    this.plot = null;
  }

  get box() { return this.renderRoot.querySelector('.plot'); }

  redraw = () => { this.plot?.destroy(); this.plot = null; this.draw(); };

  updated(changed) { if (!this.plot || ['points', 'from', 'to'].some((p) => changed.has(p))) this.draw(); }

  draw() {
    if (!this.points?.some(known) || !this.box.clientWidth) return;
    const data = columns(this.points, this.to);
    if (this.plot) {
      this.plot.setData(data, false);
      this.plot.setScale('x', { min: this.from, max: this.to });
      return;
    }
    this.plot = new uPlot(this.options(), data, this.box);
  }

  options() {
    const style = getComputedStyle(this), color = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: color('--muted'), grid: { stroke: color('--line'), width: 1 }, ticks: { stroke: color('--line'), width: 1 }, font: '12px system-ui, sans-serif' };
    const stepped = uPlot.paths.stepped({ align: 1 });
    return {
      width: this.box.clientWidth, height: 240,
      scales: { x: { min: this.from, max: this.to, auto: false }, y: { range: (u, lo, hi) => [0, Math.max(4, Math.ceil((hi ?? 0) * 1.1))] } },
      axes: [
        { ...axis, values: [[86400, '{D} {MMM}', null, null, null, null, null, null, 1], ...[3600, 60].map((incr) => [incr, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1])] },
        { ...axis, size: 38, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
      ],
      series: [
        {},
        { paths: stepped, points: { show: false }, stroke: 'transparent' },
        { paths: stepped, points: { show: false }, stroke: 'transparent' },
        { paths: stepped, points: { show: false }, stroke: color('--accent'), width: 2 },
      ],
      bands: [{ series: [1, 2], fill: color('--accent-soft') }],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      legend: { show: false },
      hooks: { setCursor: [(u) => { this.pointed = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, 'x') : undefined; }] },
    };
  }
}

/** Points as uPlot's columns; the last one holds until the end. */
function columns(points, to) {
  const last = points.at(-1);
  const all = Date.parse(last.as_of) / 1000 < to ? [...points, { ...last, as_of: new Date(to * 1000).toISOString() }] : points;
  const column = (f) => all.map((p) => (known(p) ? f(p) : null));
  return [all.map((p) => Date.parse(p.as_of) / 1000), column((p) => p.high ?? p.count), column((p) => p.low ?? p.count), column((p) => p.count)];
}

customElements.define('headcount-chart', HeadcountChart);
