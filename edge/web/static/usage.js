// <headcount-usage>: how the spaces of a site were used: shares and utilisation per space, a
// trend, the typical week, and reports to download.
import { css, html, nothing } from './vendor/lit/lit.js';
import { clock, title } from './format.js';
import { Screen } from './screen.js';
import { session } from './session.js';
import './chart.js';

const spans = [[7, '7 days'], [28, '4 weeks'], [91, '3 months'], [365, 'a year']];
const reports = { summary: 'use per space', days: 'per space and day', hours: 'per space and hour', access: 'access at doors', availability: 'hub and sensors', events: 'events' };
const percent = (share) => (share == null ? '?' : share > 0 && share < 0.005 ? 'under 1 %' : `${Math.round(share * 100)} %`);
const number = (n) => (n == null ? '?' : String(Math.round(n * 10) / 10));

class HeadcountUsage extends Screen {
  static properties = {
    sites: { state: true }, site: { state: true }, space: { state: true }, days: { state: true }, group: { state: true },
    summary: { state: true }, trends: { state: true }, reports: { state: true },
  };

  static styles = [Screen.styles, css`
    .nums td:not(:first-child), .nums th:not(:first-child) { text-align: right; }
    meter { width: 5rem; height: .7rem; vertical-align: middle; margin-right: .4rem; }
    .heat { border-collapse: separate; border-spacing: 2px; }
    .heat th, .heat td { border: none; padding: 0; text-align: center; font-size: .72rem; font-weight: 400; color: var(--muted); }
    .heat td { min-width: 1.7rem; height: 1.7rem; border-radius: 5px; background: var(--surface-2); color: var(--text); }
    .heat th:first-child { padding-right: .4rem; }
    .heat .h1 { background: color-mix(in srgb, var(--accent) 15%, var(--surface)); } .heat .h2 { background: color-mix(in srgb, var(--accent) 32%, var(--surface)); }
    .heat .h3 { background: color-mix(in srgb, var(--accent) 50%, var(--surface)); } .heat .h4 { background: color-mix(in srgb, var(--accent) 70%, var(--surface)); }
    .heat .h5 { background: var(--accent); color: var(--on-accent); }
  `];

  constructor() {
    super();
    this.days = 7;
    this.space = '';
    this.group = 'space';
  }

  get path() { return `v1/sites/${encodeURIComponent(this.site)}`; }

  async fetch() {
    const all = (await this.get(`v1/sites${session.orgs.length > 1 ? `?org=${encodeURIComponent(session.org)}` : ''}`)).sites ?? [];
    this.sites = all;
    if (!all.some((s) => s.id === this.site)) [this.site, this.space] = [all[0]?.id, ''];
    if (!this.site) return;
    const from = `from=${encodeURIComponent(new Date(Date.now() - this.days * 86400e3).toISOString())}`, space = this.space && `&space=${encodeURIComponent(this.space)}`;
    const every = this.days <= 7 ? '1h' : this.days <= 91 ? '1d' : '1w';
    const [summary, trends, list] = await Promise.all([
      this.get(`${this.path}/analytics/summary?${from}&group=${this.group}`),
      this.get(`${this.path}/analytics/trends?${from}&every=${every}${space}`).catch((err) => { if (err.status !== 400 || this.space) throw err; return null; }), // there is no space around all others
      this.get(`${this.path}/reports`)]);
    [this.summary, this.trends, this.reports] = [summary, trends, list.reports ?? []];
    if (this.group === 'space') this.spaces = summary.groups;
    if (this.reports.some((r) => r.state === 'queued' || r.state === 'running')) this.happened();
  }

  set(change) {
    Object.assign(this, change);
    this.load();
  }

  render() {
    const s = this.summary;
    if (this.sites && !this.sites.length) return html`${this.said()}<p class="empty">There is no site whose use could be shown.</p>`;
    return html`<div class="head"><h2>Use</h2>
        ${(this.sites?.length ?? 0) > 1 ? html`<select aria-label="Site" @change=${(e) => this.set({ site: e.target.value, space: '' })}>${this.sites.map((x) => html`<option value=${x.id} ?selected=${x.id === this.site}>${title(x)}</option>`)}</select>` : nothing}
        <select aria-label="Time" @change=${(e) => this.set({ days: Number(e.target.value) })}>${spans.map(([d, text]) => html`<option value=${d} ?selected=${d === this.days}>${text}</option>`)}</select></div>
      ${this.said()}${s ? html`${this.table(s)}${this.trend()}${this.week()}${this.files()}` : this.waiting()}`;
  }

  table(s) {
    return html`<section><div class="head"><h3>Per ${this.group}</h3><select aria-label="Grouped by" @change=${(e) => this.set({ group: e.target.value })}>${['space', 'floor', 'kind'].map((g) => html`<option ?selected=${g === this.group}>${g}</option>`)}</select></div>
      ${s.groups.length ? html`<div class="panel scroll"><table class="nums"><thead><tr><th>${this.group}</th><th>occupied</th><th>people on average</th><th>at most</th><th>capacity</th><th>utilisation</th><th>peak</th><th>known</th></tr></thead>
        <tbody>${s.groups.map((g) => html`<tr><th scope="row">${g.name || g.group}</th><td>${g.occupied_share == null ? '' : html`<meter max="1" value=${g.occupied_share} aria-hidden="true"></meter>`}${percent(g.occupied_share)}</td><td>${number(g.average)}</td><td>${g.max ?? '?'}</td>
          <td>${g.capacity || ''}</td><td>${g.capacity ? percent(g.utilisation) : ''}</td><td>${g.capacity ? percent(g.peak_utilisation) : ''}</td><td>${percent(g.coverage)}</td></tr>`)}</tbody></table></div>
        <p class="muted small">Shares are of the time in which the number of people was known${s.as_of ? `; as of ${clock(s.as_of)}` : ''}. ? is not known.</p>` : html`<p class="empty">Nothing was heard of this site in this time.</p>`}</section>`;
  }

  trend() {
    const points = (this.trends?.points ?? []).map((p) => ({ as_of: p.from, state: p.average == null ? 'unknown' : 'occupied', count: p.average == null ? null : Math.round(p.average * 10) / 10, low: p.min, high: p.max }));
    return html`<section><div class="head"><h3>Over time</h3><select aria-label="Space" @change=${(e) => this.set({ space: e.target.value })}><option value="">the whole site</option>
        ${(this.spaces ?? []).map((g) => html`<option value=${g.group} ?selected=${g.group === this.space}>${g.name || g.group}</option>`)}</select></div>
      ${this.trends ? html`<div class="panel box"><headcount-chart .points=${points} .from=${Date.parse(this.trends.from) / 1000} .to=${Date.parse(this.trends.to) / 1000} reads="line: average, band: least and most"></headcount-chart></div>`
        : html`<p class="empty">No space is around all others: choose one.</p>`}</section>`;
  }

  week() {
    const map = this.trends?.heat_map;
    if (!map) return nothing;
    const most = Math.max(...map.cells.flat().map((c) => c.average ?? 0));
    const shade = (n) => (n && most ? Math.max(1, Math.ceil((n / most) * 5)) : 0);
    const hours = [...Array(24).keys()];
    return html`<section><h3>By hour of the week</h3><div class="panel box scroll"><table class="heat"><caption class="visually-hidden">People on average by day and hour</caption>
      <thead><tr><th></th>${hours.map((h) => html`<th scope="col">${h}</th>`)}</tr></thead>
      <tbody>${map.cells.map((row, d) => html`<tr><th scope="row">${map.days[d]}</th>${row.map((c) => html`<td class="h${shade(c.average)}">${c.average == null ? '' : c.average < 10 ? number(c.average) : Math.round(c.average)}</td>`)}</tr>`)}</tbody></table></div>
      <p class="muted small">People on average, in the site's zone ${this.trends.timezone}; empty is not known.</p></section>`;
  }

  files() {
    return html`<section><h3>Reports</h3><form class="fields panel box" aria-label="Make a report" @submit=${(e) => { e.preventDefault(); this.make(Object.fromEntries(new FormData(e.target))); }}>
        <label>What<select name="kind">${Object.entries(reports).map(([k, text]) => html`<option value=${k}>${text}</option>`)}</select></label>
        <label>As<select name="format"><option value="xlsx">Excel</option><option value="csv">CSV</option><option value="html">page to print</option></select></label>
        <button class="primary" ?disabled=${this.busy}>Make</button></form>
      ${this.reports.length ? html`<div class="panel scroll"><table><thead><tr><th>Report</th><th>Time</th><th>Made</th><th></th></tr></thead><tbody>${this.reports.map((r) => html`<tr><th scope="row">${reports[r.report.kind] ?? r.report.kind}</th>
        <td>${clock(r.report.from)} – ${clock(r.report.to)}</td><td>${clock(r.created_at)}</td>
        <td class="end">${r.state === 'done' ? html`<a href=${r.download.replace(/^\//, '')} download>${r.report.format.toUpperCase()}</a>` : html`${r.state} ${r.reason ?? ''}`}</td></tr>`)}</tbody></table></div>` : html`<p class="empty">No report has been made yet.</p>`}</section>`;
  }

  make(f) { return this.act(() => this.post(`${this.path}/reports`, { ...f, from: new Date(Date.now() - this.days * 86400e3).toISOString(), to: new Date().toISOString() })); }
}

customElements.define('headcount-usage', HeadcountUsage);
